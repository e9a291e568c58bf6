"""What a dataset may be called; and names of files as text, those that are not UTF-8, too."""

import re

DATASET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
"""What names of datasets and versions are made of."""


def escaped(name: str) -> str:
    r"""Return a file's name as any text may hold it: a byte that is not UTF-8 becomes ``\xNN``.

    Python carries such bytes as lone surrogates, which neither Parquet nor a terminal takes. A name
    that has one gets its backslashes doubled, so that no two of them become one.
    """
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        data = name.replace("\\", "\\\\").encode("utf-8", "surrogateescape")
        return data.decode("utf-8", "backslashreplace")
    return name
