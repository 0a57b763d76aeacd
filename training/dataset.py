"""Dataset: a cohort as the tensors that training reads, split by participant, targets standardised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor

from models.phenotypes import PREDICTED
from training.cohort import PARTS, Cohort, CohortError, Part, rows, split
from training.config import Recipe
from training.ecg_encoder import decimate


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Tensors of all participants, and which of them belong to which part.

    Attributes
    ----------
    ecg : (n, 12, samples / decimation) float32 millivolts, preprocessed
    volumes : phase ("ed", "es") -> (n, slices, rows, columns) uint8
    targets : (n, phenotypes) standardised natural logarithms; NaN where not measured
    log_mean, log_sd : (phenotypes,) of the train part, which undo that
    parts : part -> rows
    labelled : rows of the train part whose phenotypes may be read
    sampling_rate : hertz of `ecg`
    covariates : (n, 4) standardised, in the order of `COVARIATES`, sex as −1 and +1; NaN where unknown
    covariate_mean, covariate_sd : (4,) of the train part, which undo that
    labelled : rows of the train part whose phenotypes may be read
    """

    ecg: Tensor
    volumes: Mapping[str, Tensor]
    targets: Tensor
    log_mean: Tensor
    log_sd: Tensor
    parts: Mapping[Part, Tensor]
    labelled: Tensor
    sampling_rate: float
    covariates: Tensor
    covariate_mean: Tensor
    covariate_sd: Tensor
    labelled: Tensor


def prepare(cohort: Cohort, recipe: Recipe, progress: Progress) -> Dataset:
    """Preprocess every ECG once, exactly as serving will, and standardise the targets."""
    parts = {
        part: torch.from_numpy(rows(cohort, ids)) for part, ids in split(cohort.ids.tolist(), recipe.split).items()
    }
    empty = [part for part in PARTS if not len(parts[part])]
    if empty:
        raise CohortError(f"{len(cohort)} participants are too few: nobody falls into {', '.join(empty)}")
    logarithms = np.log(np.stack([cohort.column(symbol) for symbol in PREDICTED], axis=1))
    targets = torch.from_numpy(logarithms.astype(np.float32))
    mean, sd = _moments(logarithms[parts["train"].numpy()])
    covariates, (middle, spread) = _covariates(cohort, parts["train"].numpy())
    return Dataset(
        ecg=_preprocessed(cohort, recipe, progress),
        volumes={"ed": torch.from_numpy(cohort.ed), "es": torch.from_numpy(cohort.es)},
        targets=(targets - mean) / sd,
        log_mean=mean,
        log_sd=sd,
        parts=parts,
        labelled=parts["train"],
        sampling_rate=recipe.preprocessing.sampling_rate / recipe.ecg.decimation,
        covariates=(covariates - middle) / spread,
        covariate_mean=middle,
        covariate_sd=spread,
        labelled=parts["train"],
    )


def _covariates(cohort: Cohort, train: NDArray[np.intp]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    sex = np.select([cohort.sex == "F", cohort.sex == "M"], [-1.0, 1.0], np.nan)
    columns = np.stack([cohort.age, sex, cohort.height, cohort.weight], axis=1)
    mean, sd = _moments(columns[train])
    sd[sd == 0] = 1.0  # one value for everybody says nothing, and must not become infinite
    mean[1], sd[1] = 0.0, 1.0  # sex stays −1 and +1
    return torch.from_numpy(columns.astype(np.float32)), (mean, sd)


def _preprocessed(cohort: Cohort, recipe: Recipe, progress: Progress) -> Tensor:
    task = progress.add_task("preprocess ECGs", total=len(cohort), note="")
    ecg = torch.empty(len(cohort), 12, recipe.preprocessing.samples // recipe.ecg.decimation)
    for row in range(len(cohort)):
        ecg[row] = decimate(torch.from_numpy(recipe.preprocessing(cohort.recording(row))), recipe.ecg.decimation)
        progress.advance(task)
    return ecg


def _moments(logarithms: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    mean, sd = np.nanmean(logarithms, axis=0), np.nanstd(logarithms, axis=0)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(sd.astype(np.float32))
