"""Checkpoint: everything that export needs, in one file that is read without running code."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter
from torch import Tensor

from models.bundle import ConditionModel, Discrimination, Intervals, OutOfDistribution, Performance, Retrieval
from models.ecg.recording import Recording
from training.config import Recipe, recipe_from_json, stated
from training.golden import Examples

_SCALES = ("log_mean", "log_sd", "covariate_mean", "covariate_sd", "centre", "whitening")
_EXAMPLES = ("tensors", "covariates", "trials", "trial_covariates")


Stored = dict[str, Any]  # torch states no type; `Checkpoint._of` finds out


class UnreadableCheckpoint(ValueError):
    """A file that holds no checkpoint which this version can read."""


class Evaluation(BaseModel):
    """What was measured, on which split, as it goes into the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trained_range: dict[str, tuple[float, float]]
    interval: Intervals
    ood: OutOfDistribution
    performance: list[Performance]
    discrimination: list[Discrimination]
    retrieval: list[Retrieval]
    conditions: list[ConditionModel] = []


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """A trained model.

    Attributes
    ----------
    recipe : every number that training used
    provenance : code version, digests of cohort and split, counts, the course of each stage
    network : state of `training.finetune.Predictor`
    log_mean, log_sd : (phenotypes,) that turn standardised outputs into natural logarithms
    covariate_mean, covariate_sd : (4,) that turn covariates into standardised ones
    centre, whitening : (d,), (d, d) of the out-of-distribution score
    examples : the golden examples, made when training started
    evaluation : what was measured afterwards
    """

    recipe: Recipe
    provenance: dict[str, JsonValue]
    network: dict[str, Tensor]
    log_mean: Tensor
    log_sd: Tensor
    covariate_mean: Tensor
    covariate_sd: Tensor
    centre: Tensor
    whitening: Tensor
    examples: Examples
    evaluation: Evaluation

    def save(self, path: Path) -> None:
        """Write tensors and JSON, whole or not at all."""
        unfinished = path.with_suffix(".part")
        stored = {
            "recipe": json.dumps(stated(self.recipe)),
            "provenance": TypeAdapter(dict[str, JsonValue]).dump_json(self.provenance).decode(),
            "evaluation": self.evaluation.model_dump_json(),
            "network": {name: value.cpu() for name, value in self.network.items()},
            "scales": {name: getattr(self, name) for name in _SCALES},
            "recordings": [(torch.from_numpy(r.signal.copy()), r.sampling_rate) for r in self.examples.recordings],
            "examples": {name: torch.from_numpy(getattr(self.examples, name)) for name in _EXAMPLES},
        }
        torch.save(stored, unfinished)
        os.replace(unfinished, path)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read what `save` wrote; nothing but tensors, text and numbers is accepted.

        Raises
        ------
        UnreadableCheckpoint
            If the file is missing, is no checkpoint, or was written by an older version.
        """
        stored = _stored(path)
        try:
            return cls._of(stored)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            fault = f"{type(error).__name__}: {error}"
            raise UnreadableCheckpoint(f"{path} was written by another version: train again ({fault})") from error

    @classmethod
    def _of(cls, stored: Stored) -> Checkpoint:
        recordings = [Recording(signal=signal.numpy(), sampling_rate=rate) for signal, rate in stored["recordings"]]
        return cls(
            recipe=recipe_from_json(stored["recipe"]),
            provenance=TypeAdapter(dict[str, JsonValue]).validate_json(stored["provenance"]),
            network=stored["network"],
            examples=Examples(recordings=recordings, **{name: stored["examples"][name].numpy() for name in _EXAMPLES}),
            evaluation=Evaluation.model_validate_json(stored["evaluation"]),
            **stored["scales"],
        )


def _stored(path: Path) -> Stored:
    """The mapping that the file holds; torch writes it as a zip archive."""
    if not path.is_file():
        raise UnreadableCheckpoint(f"there is no file {path}; a training writes WORK/checkpoint.pt when it is through")
    if not zipfile.is_zipfile(path):
        raise UnreadableCheckpoint(f"{path} is no checkpoint, or only a piece of one; give WORK/checkpoint.pt")
    try:
        stored = torch.load(path, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:  # whose words advise to run the code of the file
        raise UnreadableCheckpoint(f"{path} is no checkpoint: tensors, text and numbers were expected") from error
    if not isinstance(stored, dict):
        raise UnreadableCheckpoint(f"{path} is no checkpoint: it holds a {type(stored).__name__}")
    return stored
