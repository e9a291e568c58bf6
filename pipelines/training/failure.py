"""Why a training failed: a mistake or a loss that one line explains, or a bug that needs more."""

from pipelines.errors import AwayError, BusyError, UnavailableError, UserError
from pipelines.failures import (
    EXIT_BUSY,
    EXIT_FAILURE,
    EXIT_USER,
    explain_failure,
    one_line,
    unwrap,
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
    lost = next((inner for inner in unwrap(error) if _is_lost(inner)), None)
    return None if lost is None else f"{type(lost).__name__}: {one_line(str(lost))}"


def kind_of(error: BaseException) -> type[UserError]:
    """As what a training is to fail that has a mendable reason: a mistake, another command that
    has the run, or the machine's."""
    code = explain_failure(error).exit_code
    if code == EXIT_BUSY:
        return BusyError
    if code == EXIT_USER:
        return UserError
    return UnavailableError


def is_final(error: BaseException) -> bool:
    """Tell whether another attempt would only fail again: a mistake, a run that another command
    has, a storage that was away for the whole patience."""
    found = unwrap(error)
    return any(isinstance(e, UserError) and not isinstance(e, AwayError) for e in found)


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
