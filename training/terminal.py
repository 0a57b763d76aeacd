"""Terminal: what every command shows while it works, and how it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from models.bundle import BundleError
from models.ecg.writers import Unwritable
from training.checkpoint import UnreadableCheckpoint
from training.cmr import UndetectedPhases
from training.cohort import CohortError
from training.config import RecipeError
from training.export import BundleExists
from training.finetune import NothingToRead
from training.fit import Diverged
from training.graph import CannotServe, ParityError
from training.run import NoDevice
from training.simulate.kspace import UnfitAcceleration
from training.simulate.population import ImpossibleHeart
from training.teacher import NoSuchAnchor
from training.temporal import NoCine
from training.tracking import NoMlflow


class Rate(ProgressColumn):
    """Steps in a second."""

    def render(self, task: Task) -> Text:
        """Empty before the first step."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


def progress_bars(*, silent: bool = False) -> Progress:
    """One bar a stage: how many of how many, the rate, the time taken and the time left."""
    return Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        disable=silent,
    )


_MENDABLE = (
    BundleError,
    BundleExists,
    CannotServe,
    CohortError,
    Diverged,
    ImpossibleHeart,
    NoCine,
    NoDevice,
    NoMlflow,
    NoSuchAnchor,
    NothingToRead,
    RecipeError,
    ParityError,
    UndetectedPhases,
    UnfitAcceleration,
    UnreadableCheckpoint,
    Unwritable,
)


@contextmanager
def refusals() -> Iterator[None]:
    """What the caller can mend is told in a sentence, without a traceback."""
    try:
        yield
    except _MENDABLE as error:
        raise typer.BadParameter(str(error)) from error
