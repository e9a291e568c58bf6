"""Connect to Ray: the cluster of a job, a named address, or a private one on this machine."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.environment import prepare_environment
from pipelines.errors import UnavailableError
from pipelines.failures import Terminated


@contextmanager
def ray_cluster(address: str | None = None) -> Iterator[None]:
    """Be connected to a Ray cluster for the length of the block.

    address: ``None`` takes ``RAY_ADDRESS`` (set inside a Ray job) and else starts a private
    loopback cluster that ends with the block; an existing connection is used as it is.
    Raises UnavailableError when Ray does not start, or the named cluster does not answer.
    """
    prepare_environment()
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    if ray.is_initialized():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            # "local", or Ray would join whatever cluster was last started on this machine.
            ray.init(address="local", include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except Exception as error:  # Ray raises a bare Exception when a start takes too long
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if address is None:
            raise UnavailableError(
                f"Ray did not start on this machine: {reason}; free some memory and processor "
                "time, then run the same command again"
            ) from error
        raise UnavailableError(
            f"no Ray cluster answers at {address}: {reason}; start one with 'ray start --head', "
            "or leave ray_address and RAY_ADDRESS unset for a private one"
        ) from error
    except SystemExit as error:  # Ray's handler of SIGTERM while it starts, which takes seconds
        raise Terminated from error
    finally:
        if threading.current_thread() is threading.main_thread():
            # Ray's, which it sets on the way, ends the process with a dump of its stack.
            signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()
