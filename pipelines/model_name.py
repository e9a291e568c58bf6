"""What a registered model may be called."""

_ELSEWHERE = "/:@"
"""Stand between the parts of models:/NAME/VERSION and models:/NAME@ALIAS."""


def check_model_name(key: str, name: str) -> None:
    """Raise ValueError for a name that MLflow refuses, or that no reference could tell apart.

    key: what it was given as.
    """
    if not name.strip() or name in (".", "..") or any(letter in name for letter in _ELSEWHERE):
        raise ValueError(
            f"{key} must be a name without {' '.join(_ELSEWHERE)}, such as k3dn, got {name!r}"
        )
