"""Tracking: curves of a training, for TensorBoard and, where it is configured, MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue


class Tracker(Protocol):
    """Whatever keeps curves."""

    def scalar(self, name: str, value: float, step: int) -> None:
        """One point of one curve."""


class _Silent:
    def scalar(self, name: str, value: float, step: int) -> None:
        """Nobody looks."""


SILENT: Tracker = _Silent()


class _Both:
    def __init__(self, trackers: list[Tracker]) -> None:
        self.trackers = trackers

    def scalar(self, name: str, value: float, step: int) -> None:
        for tracker in self.trackers:
            tracker.scalar(name, value, step)


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # a second of imports that few commands need

        self.writer = SummaryWriter(str(folder))

    def scalar(self, name: str, value: float, step: int) -> None:
        self.writer.add_scalar(name, value, step)


class _Mlflow:
    def scalar(self, name: str, value: float, step: int) -> None:
        import mlflow  # noqa: PLC0415  # an optional dependency

        mlflow.log_metric(name.replace(",", ""), value, step=step)


class NoMlflow(RuntimeError):
    """MLFLOW_TRACKING_URI is set and mlflow is not installed."""


@contextmanager
def tracking(folder: Path, facts: Mapping[str, JsonValue]) -> Iterator[Tracker]:
    """TensorBoard curves in `folder`, and an MLflow run with these facts when MLFLOW_TRACKING_URI is set.

    Raises
    ------
    NoMlflow
        If MLflow is asked for and missing.
    """
    board = _TensorBoard(folder)
    try:
        if os.environ.get("MLFLOW_TRACKING_URI"):
            with _mlflow_run(facts) as mlflow:
                yield _Both([board, mlflow])
        else:
            yield board
    finally:
        board.writer.close()


@contextmanager
def _mlflow_run(facts: Mapping[str, JsonValue]) -> Iterator[Tracker]:
    try:
        import mlflow  # noqa: PLC0415  # an optional dependency
    except ImportError as error:
        raise NoMlflow("MLFLOW_TRACKING_URI is set: pip install 'ecg2cmr[mlflow]', or unset it") from error
    with mlflow.start_run():
        mlflow.log_params(dict(facts))
        yield _Mlflow()
