"""Memory of this process, from /proc.

Not getrusage: a process inherits there the peak of the one that started it.
"""

from pathlib import Path


def now_mib() -> float:
    """Resident at present."""
    return _status_mib("VmRSS")


def peak_mib() -> float:
    """Most that ever was resident."""
    return _status_mib("VmHWM")


def _status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))
