"""Why a training failed: a mistake or a loss that one line explains, or a bug that needs more."""

import re

from pipelines.errors import BusyError, UnavailableError, UserError
from pipelines.failures import (
    EXIT_BUSY,
    EXIT_FAILURE,
    EXIT_USER,
    explain_failure,
    one_line,
    unwrap,
)

# Ray Data passes what a reader raised on as the text of its traceback only.
_MISTAKE_IN_TEXT = re.compile(
    r"^(?:\x1b\[[\d;]*m)*pipelines\.errors\.(?:User|Busy|Unavailable)Error: (.+)$", re.MULTILINE
)


def mendable_reason(error: BaseException) -> str | None:
    """Return one line on what failed where the user can mend it or run the command again.

    That is a UserError, a full disk or a service that is away anywhere inside, or a node, worker
    or reader that was lost.
    None for all else, such as an exception in a network: its traceback is what helps.
    """
    failure = explain_failure(error)
    if failure.exit_code != EXIT_FAILURE:
        return failure.message
    for inner in unwrap(error):
        if told := _MISTAKE_IN_TEXT.search(str(inner)):
            return told[1]
    lost = next((inner for inner in unwrap(error) if _is_lost(inner)), None)
    return None if lost is None else f"{type(lost).__name__}: {one_line(str(lost))}"


def kind_of(error: BaseException) -> type[UserError]:
    """As what a training is to fail that has a mendable reason: a mistake, another command that
    has the run, or the machine's."""
    code = explain_failure(error).exit_code
    if code == EXIT_BUSY:
        return BusyError
    if code == EXIT_USER or _has_mistake_in_text(error):
        return UserError
    return UnavailableError


def is_final(error: BaseException) -> bool:
    """Tell whether another attempt would only fail again: a mistake, a run that another command
    has, a storage that was away for the whole patience."""
    # Ray's wrapping of a UserError is one, too, and says so by its text alone.
    return _has_mistake_in_text(error) or any(isinstance(e, UserError) for e in unwrap(error))


def _has_mistake_in_text(error: BaseException) -> bool:
    return any(_MISTAKE_IN_TEXT.search(str(inner)) for inner in unwrap(error))


def _is_lost(error: BaseException) -> bool:
    from ray.exceptions import (
        LocalRayletDiedError,
        NodeDiedError,
        ObjectLostError,
        OutOfMemoryError,
        RayActorError,
        WorkerCrashedError,
    )
    from ray.train.v2._internal.exceptions import (
        WorkerGroupStartupTimeoutError,
        WorkerHealthCheckTimeoutError,
    )
    from ray.train.v2.api.exceptions import PreemptionError

    if isinstance(error, RayActorError):
        return not error.actor_init_failed  # else its constructor raised: a bug
    kinds = (
        LocalRayletDiedError,
        NodeDiedError,
        ObjectLostError,
        OutOfMemoryError,
        WorkerCrashedError,
        WorkerGroupStartupTimeoutError,
        WorkerHealthCheckTimeoutError,
        PreemptionError,
    )
    return isinstance(error, kinds)
