"""Visit: one ECG and one cardiac MR of one participant, where their files are and what a table states of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from models.ecg.recording import Sex


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What every source of an import makes of its own layout, before any file is opened.

    Attributes
    ----------
    participant : str
        Visits of one participant share it; a split never parts them.
    occasion : str
        Which of them; "" where there is only one.
    ecg : Path
    images : mapping
        "cmr" (a cine), or "ed" and "es"; "labels" of the cine, or "ed_labels" and "es_labels".
    stated : mapping
        Phenotype -> value in the unit of the catalogue, as the table states it.
    sex, group, rhythm : str
        Sex is F or M; "" where nobody said.
    age, height, weight : float
        Years, cm, kg; NaN where nobody said.
    wrong : mapping
        Column -> what is wrong with what the table states; such a visit is not taken.
    """

    participant: str
    occasion: str = ""
    ecg: Path
    images: Mapping[str, Path]
    stated: Mapping[str, float] = field(default_factory=dict)
    sex: Sex | Literal[""] = ""
    group: str = ""
    rhythm: str = ""
    age: float = math.nan
    height: float = math.nan
    weight: float = math.nan
    wrong: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Unique in the cohort."""
        return f"{self.participant}-{self.occasion}" if self.occasion else self.participant
