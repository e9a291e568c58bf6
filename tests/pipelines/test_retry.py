"""What a service refuses for a moment is asked for again; a mistake is not."""

import errno

import pytest
from botocore.exceptions import EndpointConnectionError

from pipelines import retry
from pipelines.retry import retried

AWAY = [
    ConnectionRefusedError("nobody listens"),
    TimeoutError("too late"),
    OSError(errno.EBUSY, "SlowDown"),
    OSError(errno.EREMOTEIO, "InternalError"),
    EndpointConnectionError(endpoint_url="http://s3"),
]
MISTAKES = [
    FileNotFoundError("x"),
    PermissionError("AccessDenied"),
    OSError(errno.ENOSPC, "full"),
    OSError(errno.EINVAL, "InvalidArgument"),
    ValueError("x"),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_S", 1e-3)


@pytest.mark.parametrize("error", AWAY, ids=lambda e: type(e).__name__)
def test_a_service_that_is_away_is_asked_again(error: Exception) -> None:
    left = [error, error]

    @retried
    def call() -> str:
        if left:
            raise left.pop()
        return "done"

    assert call() == "done"


@pytest.mark.parametrize("error", MISTAKES, ids=lambda e: type(e).__name__)
def test_a_mistake_is_told_at_once(error: Exception) -> None:
    calls = []

    @retried
    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        call()
    assert len(calls) == 1


def test_it_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PATIENCE_S", 0.02)

    @retried
    def call() -> None:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        call()
