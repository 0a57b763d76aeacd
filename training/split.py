"""Split: who belongs to which part, by participant, and whose labels may be read; one file for teacher and student."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydantic import TypeAdapter, ValidationError

from training.cohort import Cohort, CohortError
from training.config import Split

Part = Literal["train", "validation", "calibration", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
Parts = dict[Part, list[str]]

FILE = "split.json"


class MixedParts(CohortError):
    """A split that puts one participant into two parts: what was learnt would be tested on whom it was learnt from."""


def split(participants: Iterable[str], settings: Split) -> Parts:
    """Deal participants to the four parts, each by a digest of its own name, so that a growing cohort moves nobody.

    A participant that is named twice, once for each visit, falls once.
    """
    limits = np.cumsum([settings.validation, settings.calibration, settings.test])
    parts: Parts = {part: [] for part in PARTS}
    for participant in dict.fromkeys(participants):
        share = _share(f"{settings.seed}:{participant}")
        parts[(*PARTS[1:], PARTS[0])[int(np.searchsorted(limits, share, side="right"))]].append(participant)
    return parts


def labelled(participants: Sequence[str], settings: Split) -> list[str]:
    """Whose labels may be read: a share by a digest of the name, so that a smaller share lies inside a larger one."""
    return [one for one in participants if _share(f"{settings.seed}:labels:{one}") < settings.labels]


def _share(text: str) -> float:
    """A number in [0, 1) that follows from the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def split_digest(parts: Mapping[Part, Sequence[str]]) -> str:
    """SHA-256 of the split file; it goes into every checkpoint and manifest."""
    return hashlib.sha256(_text(parts).encode()).hexdigest()


def write_split(path: Path, parts: Mapping[Part, Sequence[str]]) -> str:
    """Write the split file and return its digest."""
    path.write_text(_text(parts))
    return split_digest(parts)


def _text(parts: Mapping[Part, Sequence[str]]) -> str:
    return json.dumps({part: list(parts[part]) for part in PARTS}, indent=1)


def parse_split(path: Path) -> Parts:
    """What a split file says, contradictions included.

    Raises
    ------
    CohortError
        If it names other parts.
    """
    try:
        parts = TypeAdapter(Parts).validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise CohortError(f"{path} is no split file: a JSON object of {', '.join(PARTS)} was expected") from error
    return {part: parts.get(part, []) for part in PARTS}


def read_split(path: Path) -> Parts:
    """Read a split file.

    Raises
    ------
    MixedParts
        If a participant stands in two parts.
    """
    parts = parse_split(path)
    twice = in_two_parts(parts)
    if twice:
        raise MixedParts(f"{path} puts {len(twice)} participants into two parts, {twice[0]} first; correct it")
    return parts


def in_two_parts(parts: Mapping[Part, Sequence[str]]) -> list[str]:
    """Participants that stand in more than one part."""
    counts = Counter(participant for part in parts.values() for participant in dict.fromkeys(part))
    return [participant for participant, count in counts.items() if count > 1]


def given_or_dealt(cohort: Cohort, settings: Split) -> Parts:
    """The split that the cohort brings along as `split.json`, or the one that is dealt.

    Raises
    ------
    CohortError
        If the cohort's own split is not the one that its manifest names, or leaves somebody out.
    """
    path, participants = cohort.folder / FILE, dict.fromkeys(cohort.participants.tolist())
    if cohort.manifest.split is None and not path.is_file():
        return split(participants, settings)
    parts = read_split(path)
    if cohort.manifest.split not in (None, split_digest(parts)):
        raise CohortError(f"{path} is not the split that the cohort was made with; restore it")
    unplaced = participants.keys() - set().union(*parts.values())
    if unplaced:
        raise CohortError(f"{path} puts {len(unplaced)} participants into no part, {min(unplaced)} first; add them")
    return {part: [one for one in dict.fromkeys(parts[part]) if one in participants] for part in PARTS}
