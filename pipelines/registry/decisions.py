"""Who is champion: a log of decisions, from which the MLflow alias follows.

Setting an alias has no compare-and-set: two gates that both read "champion is v7" could both
win, and one decision would be lost. So a decision is an object ``decision-000008.json`` that is
written only if it is absent. Whoever writes number 8 decided knowing numbers 1 to 7; whoever
finds it taken looks again. No lock is held, so none is left behind by a process that is killed.

The alias is set after the decision is written, and then what MLflow shows of it: tags of the
version, and a run of its own with the decision and its rules as files. A process that dies in
between leaves that to whoever comes next: the registered model's tag ``k3dn.decision`` says which
number the alias and the records reflect. Nothing of a decision is overwritten by a later one but
``k3dn.gate``, which says the newest.

Who sets an alias may be overtaken between its look at the log and that, and then sets an older
outcome. It looks again, and mends that at once; if it is killed before, an object ``setting-...``,
written before the alias and deleted after the last look, tells this from a hand that moved it.
"""

import dataclasses
import json
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from pipelines.errors import UserError
from pipelines.mlflow_store import database_of, folder_tag, store_below
from pipelines.registry.decision import Decision, spoken
from pipelines.registry.decision_records import APPLIED_TAG, record, tag_key, tag_value
from pipelines.registry.registry import (
    CHAMPION,
    alias_target,
    client_of,
    is_there,
    set_despite_race,
)
from pipelines.storage import Location

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOG_TAG = "k3dn.decisions_at"

PATIENCE_S = 10.0
"""How long an alias must differ from the log before it counts as moved by hand."""
_LEFT_S = 3600.0
"""After which a process that was setting an alias is surely gone."""
_SETTING = "setting-"


def decisions_of(root: Location, name: str) -> list[Decision]:
    """Return the decisions about a model that a root keeps, in their order; changes nothing."""
    folder = _folder_of(root, name)
    names = [n for n in folder.list() if n.startswith("decision-")]
    return [Decision(**json.loads(folder.child(n).read_bytes())) for n in sorted(names)]


def _folder_of(root: Location, name: str) -> Location:
    return root.child("_locks", "models", name)


class DecisionLog:
    """The decisions about one registered model, in one storage folder.

    All who decide about a model must use one root: the folder is noted on the registered model,
    and another one is refused.
    """

    def __init__(
        self, root: Location, name: str, tracking_uri: str, *, accept_alias: bool = False
    ) -> None:
        """accept_alias: take an alias that was moved by hand, or a log that is gone, as it is."""
        self._root = root
        self._folder = _folder_of(root, name)
        self._name = name
        self._tracking_uri = tracking_uri
        self._accept_alias = accept_alias
        self._check_home(client_of(tracking_uri))

    def read(self) -> list[Decision]:
        """Return all decisions in their order."""
        return decisions_of(self._root, self._name)

    def append(self, decision: Decision) -> bool:
        """Write a decision if nobody has taken its number; tell whether it was written."""
        target = self._folder.child(f"decision-{decision.number:06d}.json")
        return target.put_if_absent(json.dumps(dataclasses.asdict(decision), indent=1).encode())

    def settle(self) -> list[Decision]:
        """Make the alias what the newest decision says, and return the decisions.

        Refusals alone leave the alias as it is. After setting it the log is read again, until
        nothing newer has come: so whichever of several processes sets the alias last sets the
        newest outcome.
        """
        client = client_of(self._tracking_uri)
        decisions = self.read()
        under_way: list[Location] = []
        while decisions and self._applied(client) < decisions[-1].number:
            newest = decisions[-1]
            pending = decisions[self._applied(client) :]
            if any(decision.kind != "refused" for decision in pending):
                under_way.append(self._announced(newest.champion_after))
                self._set_alias(client, newest.champion_after)
            for decision in pending:
                record(client, self._name, decision, self._tracking_uri)
            set_despite_race(
                client.set_registered_model_tag, self._name, APPLIED_TAG, str(newest.number)
            )
            decisions = self.read()
        for mark in under_way:
            mark.delete()
        return decisions

    def champion(self) -> tuple[list[Decision], str | None]:
        """Return the decisions and the champion they lead to, the alias settled.

        An alias that somebody moved by hand is not overwritten: it is an error that says so,
        or accepted becomes a decision of its own. An alias that is gone with its version, which
        somebody deleted, is recorded as that. A process that sets the alias at this moment
        may set an outcome that is no longer the newest, and mends it at once (see ``settle``):
        only an alias that stays different for ``PATIENCE_S`` was moved by hand.
        """
        differs_since_s: float | None = None
        while True:
            decisions = self.settle()
            alias = alias_target(self._name, CHAMPION, self._tracking_uri)
            if not decisions or decisions[-1].champion_after == alias:
                self._forget(older_than_s=_LEFT_S)
                return decisions, alias
            if len(self.read()) > len(decisions):
                differs_since_s = None
                continue  # decided meanwhile: the alias is of a decision that we had not read
            if differs_since_s is None:
                differs_since_s = time.monotonic()
            if time.monotonic() - differs_since_s < PATIENCE_S:
                time.sleep(0.1)
                continue
            known = decisions[-1].champion_after
            if alias in self._under_way().values():  # set by who was killed before it looked again
                mark = self._announced(known)
                self._set_alias(client_of(self._tracking_uri), known)
                mark.delete()
                self._forget(older_than_s=0)
                differs_since_s = None
                continue
            if alias is None and known and not is_there(self._name, known, self._tracking_uri):
                self.append(
                    Decision(
                        number=len(decisions) + 1,
                        kind="deleted",
                        candidate=known,
                        champion_before=known,
                        champion_after=None,
                        reason=f"v{known} is not in the registry any more",
                    )
                )
                differs_since_s = None
                continue
            if not self._accept_alias:
                raise UserError(
                    f"the champion of {self._name!r} was moved by hand to "
                    f"{spoken(alias)} (decision {len(decisions)} says {spoken(known)}); "
                    "move it back, or repeat with accept_alias=true"
                )
            self.append(
                Decision(
                    number=len(decisions) + 1,
                    kind="moved by hand",
                    candidate=alias or str(known),
                    champion_before=known,
                    champion_after=alias,
                    reason="alias found moved and accepted",
                )
            )

    def _announced(self, champion: str | None) -> Location:
        """Write down that an alias is being set; returns what to delete when that is over."""
        mark = self._folder.child(f"{_SETTING}{uuid.uuid4().hex}.json")
        mark.write_bytes(json.dumps({"champion": champion, "time": time.time()}).encode())
        return mark

    def _under_way(self) -> dict[str, str | None]:
        """By the name of its mark, what each process was setting that has not said it is done."""
        found: dict[str, str | None] = {}
        for name in self._folder.list():
            if name.startswith(_SETTING):
                with suppress(FileNotFoundError):  # it is done by now
                    found[name] = json.loads(self._folder.child(name).read_bytes())["champion"]
        return found

    def _forget(self, *, older_than_s: float) -> None:
        """Delete the marks of those who are gone, once the alias is what the log says."""
        for name in self._under_way():
            with suppress(FileNotFoundError):
                began_s = json.loads(self._folder.child(name).read_bytes())["time"]
                if time.time() - began_s >= older_than_s:
                    self._folder.child(name).delete()

    def _set_alias(self, client: "MlflowClient", version: str | None) -> None:
        # A version that was deleted since takes no alias: without one, ``champion`` says so.
        if version is None or not is_there(self._name, version, self._tracking_uri):
            client.delete_registered_model_alias(self._name, CHAMPION)
        else:
            set_despite_race(client.set_registered_model_alias, self._name, CHAMPION, version)

    def _applied(self, client: "MlflowClient") -> int:
        return int(client.get_registered_model(self._name).tags.get(APPLIED_TAG, "0"))

    def _check_home(self, client: "MlflowClient") -> None:
        decisions = self.read()  # before the store's tag, which comes before the first of them
        home = client.get_registered_model(self._name).tags.get(LOG_TAG)
        inside = self._tracking_uri == store_below(self._root)
        ours = folder_tag(self._root, self._folder) if inside else self._folder.url
        if home in (ours, self._folder.url):
            return
        there = self._kept_at(home) if home is not None else None
        if there is not None and self._knows_newest(client):
            if there == self._folder:  # the store behind a server
                return
            if inside or not there.exists():  # moved or copied, root and log
                set_despite_race(client.set_registered_model_tag, self._name, LOG_TAG, ours)
                return
        if there is not None and there.exists():
            raise UserError(
                f"decisions about {self._name!r} are kept in {there}, not under this root; use the "
                "root that it lies in, so that two gates cannot decide past each other"
            )
        foreign = home is None and bool(decisions)
        if foreign and not self._accept_alias:
            raise UserError(
                f"this root has decisions about {self._name!r} of another MLflow store; give each "
                "store a root of its own, or take them as they are with accept_alias=true"
            )
        lost = home is not None and self._applied(client) > 0
        if lost and not self._accept_alias:
            raise UserError(
                f"decisions about {self._name!r} were kept in {home}, which is not there; use the "
                "root that it lies in now, or go on from here with accept_alias=true"
            )
        if lost or foreign:
            applied = str(len(decisions))
            set_despite_race(client.set_registered_model_tag, self._name, APPLIED_TAG, applied)
        set_despite_race(client.set_registered_model_tag, self._name, LOG_TAG, ours)

    def _kept_at(self, home: str) -> Location:
        """Where a log lies that a store names; by a relative path below the root of the store."""
        if "://" in home or home.startswith("/"):
            return Location(home)
        path = database_of(self._tracking_uri)
        return Location(str(path.parent.parent / home)) if path else self._root.child(home)

    def _knows_newest(self, client: "MlflowClient") -> bool:
        """Tell whether the newest decision that the store reflects is one of this log."""
        from mlflow.exceptions import MlflowException

        number, decisions = self._applied(client), self.read()
        if not 0 < number <= len(decisions):
            return False
        decision = decisions[number - 1]
        try:
            tags = client.get_model_version(self._name, decision.candidate).tags
        except MlflowException:  # deleted since
            return True
        return tags.get(tag_key(number)) == tag_value(decision)
