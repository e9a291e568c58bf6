"""A private Ray cluster for tests, on a machine that may be busy with other things."""

import os

_TRIES = 3


def start_local_ray(num_cpus: int = 2) -> None:
    """Start a cluster of this process and connect to it.

    Ray gives a node 30 s to register and offers no setting for it; a machine that runs other
    jobs beside the tests may need longer, so it is tried again.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    for tries_left in reversed(range(_TRIES)):
        try:
            # "local", or Ray joins whatever cluster was last started on this machine.
            ray.init(
                address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False
            )
            return
        except Exception as error:  # it raises no class of its own here
            ray.shutdown()
            if not tries_left or "timed out during startup" not in str(error):
                raise
