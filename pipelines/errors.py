"""What a user can put right, said in one line."""


class UserError(Exception):
    """A mistake that the user can mend.

    The message is one line: what is wrong, where (path, key or pair_id) and what to do.
    The command line prints it without a traceback and exits with 2.
    """


class NotFiniteError(UserError):
    """A model answered with NaN or infinite values, which makes no picture."""


class GateRefused(UserError):
    """The promotion gate decided against a model version. Exit code 3."""


class BusyError(UserError):
    """Another process is at the same work: wait for it. Exit code 4."""


class UnavailableError(UserError):
    """The machine or a service gives out: Ray, storage, MLflow, a full disk. Exit code 5."""


class AwayError(UnavailableError):
    """The same from another process, which tried for seconds: who may wait longer tries again."""
