"""Stated: what a sender says about an ECG beside the file, for files that do not say it themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.ecg.errors import DecodeError, MissingMetadata
from models.ecg.leads import lead_name
from models.ecg.units import millivolts_per


@dataclass(frozen=True)
class Stated:
    """What the sender states with the request; it completes a file and may never contradict it.

    Attributes
    ----------
    sampling_rate : float or None
        Hertz.
    unit : str or None
        Unit of the samples.
    leads : tuple of str or None
        Lead of each column, in the order of the file.
    """

    sampling_rate: float | None = None
    unit: str | None = None
    leads: tuple[str, ...] | None = None

    def agreed_rate(self, found: float | None) -> float:
        """The sampling rate in hertz that file and sender agree on.

        Raises
        ------
        MissingMetadata
            If neither says it.
        DecodeError
            If they contradict each other.
        """
        if found is None and self.sampling_rate is None:
            raise MissingMetadata("neither the file nor the request says the sampling rate")
        if found is not None and self.sampling_rate is not None and not math.isclose(found, self.sampling_rate):
            raise DecodeError(f"the file says {found:g} Hz, the request {self.sampling_rate:g} Hz")
        return float(next(rate for rate in (found, self.sampling_rate) if rate is not None))

    def agreed_unit(self, found: str | None) -> float:
        """Millivolts in one unit of the samples, on which file and sender agree; raises as `agreed_rate`."""
        if found is None and self.unit is None:
            raise MissingMetadata("neither the file nor the request says the unit of the samples")
        factors = [millivolts_per(unit) for unit in (found, self.unit) if unit is not None]
        if factors[0] != factors[-1]:
            raise DecodeError(f"the file says {found}, the request {self.unit}")
        return factors[0]

    def agreed_leads(self, found: Sequence[str] | None, columns: int) -> tuple[str, ...]:
        """Label of each of so many columns, on which file and sender agree; raises as `agreed_rate`."""
        labels = found if found is not None else self.leads
        if labels is None:
            raise MissingMetadata(f"neither the file nor the request names the leads of its {columns} columns")
        if len(labels) != columns:
            raise DecodeError(f"{len(labels)} lead names for {columns} columns")
        if self.leads is not None and [*map(lead_name, labels)] != [*map(lead_name, self.leads)]:
            raise DecodeError(f"the file names {', '.join(labels)}; the request {', '.join(self.leads)}")
        return tuple(labels)
