"""No file holds what a merge leaves where two changes met."""

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MARKER = re.compile(rb"^(<{7}|>{7}|\|{7}) \S|^={7}$", re.MULTILINE)


def test_no_marks_of_a_merge_are_left() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True
    ).stdout
    files = [REPOSITORY / name.decode() for name in listed.split(b"\0") if name]
    assert len(files) > 300
    marked = [str(f) for f in files if f.is_file() and MARKER.search(f.read_bytes())]
    assert marked == []
