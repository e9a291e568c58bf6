"""A bank of measured kernels from storage."""

import hashlib
import io
from dataclasses import dataclass

from pipelines.dataset.record import Source
from pipelines.errors import UserError
from pipelines.storage import locate
from pipelines.synthesis.lens_config import BankConfig
from synth.psf import MeasuredBank, load_measured_bank


@dataclass(frozen=True, slots=True)
class LoadedBank:
    """Measured kernels, and the file that they came from."""

    bank: MeasuredBank
    source: Source


def load_bank(config: BankConfig) -> LoadedBank | None:
    """Read the bank; None where no file is named. Raises UserError where it cannot be used."""
    if config.file is None:
        return None
    place = locate(config.file)
    try:
        data = place.read_bytes()
    except FileNotFoundError as error:  # without a text of its own from object stores
        raise UserError(f"bank.file {place}: there is no such file") from error
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        raise UserError(f"bank.file {place}: {reason}; name an .npy or .npz file") from error
    try:
        bank = load_measured_bank(
            io.BytesIO(data),
            key=config.array,
            side=config.side,
            radius_px=config.radius_px,
            recentre=config.recentred,
        )
    except ValueError as error:
        hint = " (bank.array)" if "give its key" in str(error) else ""
        raise UserError(f"bank.file {place}: {error}{hint}") from error
    digest = hashlib.sha256(data).hexdigest()
    return LoadedBank(bank, Source(role="kernels", file=place.name, sha256=digest))
