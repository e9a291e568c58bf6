"""A SQLite store of MLflow that was moved or copied with its artifacts beside it.

MLflow notes for each experiment, run, model and version where its artifacts lie, by absolute path.
Those of our stores lie in ``artifacts`` beside the database, so of a store that was moved the
paths are known, and are put right by who opens it next.
"""

import atexit
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ARTIFACTS = "artifacts"
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
_CONTENT = ("runs", "logged_models")


def artifacts_beside(database: Path) -> str:
    """Return the URI of the folder that takes the artifacts of a store of ours."""
    return (database.absolute().parent / _ARTIFACTS).as_uri()


def follow_move(database: Path) -> None:
    """Put the places of artifacts right where the store was moved or copied; else do nothing.

    A store that may be read alone stays as it is (``readable_copy``).
    """
    if not _may_write(database):
        return
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        if old := _moved_from(connection, database):
            _put_right(connection, database, old)


def readable_copy(database: Path) -> Path | None:
    """Return a copy of this process with the right places, of a moved store that is read-only.

    None where the store can be used as it is.
    """
    if _may_write(database):
        return None
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        old = _moved_from(connection, database)
    if not old:
        return None
    folder = tempfile.mkdtemp(prefix="k3dn-store-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder, database.name)
    shutil.copyfile(database, copy)
    with closing(sqlite3.connect(copy)) as connection:
        _put_right(connection, database, old)
    return copy


def _moved_from(connection: sqlite3.Connection, database: Path) -> list[str]:
    """The URIs of artifact folders that the store notes and that are the one beside it now."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables.issuperset(table for table, _ in _PLACES):
        return []
    here = artifacts_beside(database)
    found = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
    others = [place for (place,) in found if place and place.startswith("file://")]
    return [
        place
        for place in others
        if place.endswith(f"/{_ARTIFACTS}")
        and place != here
        and _lies_here(connection, place, here)
    ]


def _lies_here(connection: sqlite3.Connection, old: str, here: str) -> bool:
    """Tell whether artifacts that are noted at the old place are at the new one.

    Where none are noted yet, whether the old place is gone.
    """
    noted = False
    for table in _CONTENT:
        column = dict(_PLACES)[table]
        rows = connection.execute(
            f"SELECT {column} FROM {table} WHERE {_below(column)}", {"old": old}
        )
        for (place,) in rows:
            noted = True
            if _path(here + place.removeprefix(old)).exists():
                return True
    return not noted and not _path(old).exists()


def _put_right(connection: sqlite3.Connection, database: Path, old: list[str]) -> None:
    here = artifacts_beside(database)
    with connection:
        for before in old:
            for table, column in _PLACES:
                connection.execute(
                    f"UPDATE {table} SET {column} = :here || substr({column}, length(:old) + 1) "
                    f"WHERE {column} = :old OR {_below(column)}",
                    {"here": here, "old": before},
                )


def _below(column: str) -> str:
    return f"substr({column}, 1, length(:old) + 1) = :old || '/'"


def _may_write(database: Path) -> bool:
    """SQLite writes a journal beside the file."""
    return os.access(database, os.W_OK) and os.access(database.absolute().parent, os.W_OK)


def _path(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))
