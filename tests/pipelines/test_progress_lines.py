"""What is shown of work under way: lines in a log, a bar in a terminal."""

import sys

import pytest

from pipelines.progress import progress


@pytest.mark.parametrize("terminal", [False, True])
def test_a_log_gets_lines_and_a_terminal_a_bar(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert list(progress([1, 2, 3], label="pairs")) == [1, 2, 3]
    said = capsys.readouterr().err
    assert ("\r" in said) is terminal
    assert ("pairs: 0 of 3\n" in said) is not terminal
    assert "3/3" in said if terminal else "3 of 3" in said
