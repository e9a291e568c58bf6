"""A layout that the user states: one pattern a role, ``left='l/*.png'``, ``{split}/r/*_R.png``.

``*`` stands for what the files of one pair have in common, which may hold slashes; ``{split}`` for
train, val or test, or what they are called elsewhere (``SPLIT_FOLDERS``).
"""

import re
from collections.abc import Mapping

from pipelines.errors import UserError
from pipelines.ingest.layouts.files import SPLIT_FOLDERS, Layout, Place, Role, Stems

_SPLITS = "|".join(SPLIT_FOLDERS)
_SUFFIX = re.compile(r"\.\w+$")


def pattern_layout(patterns: Mapping[Role, str]) -> Layout:
    """Return the layout of these patterns by role. Raises UserError for one that makes no sense."""
    rules: list[tuple[Role, re.Pattern[str]]] = []
    for role, text in patterns.items():
        if text.count("*") != 1 or text.count("{split}") > 1:
            raise UserError(
                f"{role}='{text}': a pattern has one * for what the files of a pair have in "
                "common, and at most one {split}"
            )
        if list(patterns.values()).count(text) > 1:
            raise UserError(f"{role}='{text}' is the pattern of two roles; each has its own")
        expression = re.escape(_SUFFIX.sub("", text))
        expression = expression.replace(r"\*", "(?P<key>.+)")
        expression = expression.replace(r"\{split\}", f"(?P<split>{_SPLITS})")
        rules.append((role, re.compile(expression)))

    def folder(folders: tuple[str, ...]) -> Stems:
        def place(stem: str) -> Place | None:
            path = "/".join((*folders, stem))
            for role, rule in rules:
                if (match := rule.fullmatch(path)) is not None:
                    split = match.groupdict().get("split")
                    return Place(
                        role, match["key"], None if split is None else SPLIT_FOLDERS[split]
                    )
            return None

        return place

    form = ", ".join(f"{role}='{text}'" for role, text in patterns.items())
    return Layout(name="pattern", form=form, folder=folder, by_number=True)
