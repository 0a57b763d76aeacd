"""Outcome: what became of each ECG that somebody named: what was wanted of it, or why it was refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import typer

from models.ecg import facts
from models.ecg.errors import EcgError, MissingMetadata
from models.ecg.examination import Examination
from models.ecg.quality import refusal
from models.ecg.source import Source
from models.ecg.writers import Unwritable

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Refused:
    """Why there is nothing, in the words of an `EcgError`."""

    title: str
    detail: str
    advice: str

    def __str__(self) -> str:
        return f"{self.title}: {facts.shown(self.detail)}" + (f"\n{self.advice}" if self.advice else "")


def each(found: Sequence[Source], work: Callable[[Source], _Found]) -> list[tuple[Source, _Found | Refused]]:
    """What becomes of each, under a bar if a person waits for many."""
    if len(found) == 1 or not sys.stderr.isatty():
        return [(source, _tried(source, work)) for source in found]
    with typer.progressbar(found, file=sys.stderr) as bar:
        return [(source, _tried(source, work)) for source in bar]


def _tried(source: Source, work: Callable[[Source], _Found]) -> _Found | Refused:
    try:
        return work(source)
    except EcgError as error:
        return _told(error)
    except Unwritable as error:
        return Refused("This format cannot hold the ECG", str(error), "Choose another with --to.")
    except FileExistsError as error:
        return Refused(
            "Nothing was written", f"{error.filename}: {error.strerror}", "Name another place, or --force it."
        )
    except OSError as error:
        return Refused("A file cannot be read or written", f"{error.filename}: {error.strerror}", "")


def _told(error: EcgError) -> Refused:
    here = "State them with --sampling-rate, --unit and --leads."
    return Refused(error.title, error.detail, here if isinstance(error, MissingMetadata) else error.advice)


def refusal_of(outcome: Examination | Refused) -> Refused | None:
    """The reason why an ECG cannot be used, whether it could be read or not."""
    if isinstance(outcome, Refused):
        return outcome
    wrong = refusal(outcome.quality)
    return None if wrong is None else _told(wrong)
