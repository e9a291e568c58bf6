"""Names of files as text: what is not UTF-8 is kept byte for byte and escaped where it is shown."""


def escaped(name: str) -> str:
    r"""Return a name that any text may hold: a byte that is not UTF-8 becomes ``\xNN``.

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
