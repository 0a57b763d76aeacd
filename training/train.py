"""Train: a cohort becomes a checkpoint; the stages of the method in their order, measured at the end."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from training.check import write_report
from training.checkpoint import Checkpoint
from training.cohort import Cohort
from training.config import Recipe
from training.dataset import Dataset, prepare, verify_labels
from training.distributed import first_alone, rank, world
from training.ecg_encoder import EcgEncoder, build_ecg_encoder
from training.finetune import finetune
from training.fit import History
from training.golden import choose
from training.masked_ecg import pretrain_masked
from training.measure import NO_CEILINGS, Ceilings, measure
from training.pretrain import pretrain, projected
from training.probe import probe
from training.run import Run
from training.split import FILE, PARTS, split_digest, write_split
from training.stages import Stage
from training.teacher import anchor_features, train_teachers

STAGES = "stages"


def train(
    cohort: Cohort,
    folder: Path,
    recipe: Recipe,
    run: Run,
    *,
    ceilings: Ceilings = NO_CEILINGS,
    processes: int = 1,
) -> Checkpoint:
    """The whole chain: golden examples, masked ECGs, CMR encoders, contrast, heads, measurement.

    Two runs on one machine with one number of threads give the same weights on a CPU, bit by bit,
    interrupted or not.

    Parameters
    ----------
    folder : where the split file, what is wrong with the cohort, the state of each stage and the checkpoint go
    ceilings : (group, symbol) -> the best R² that any model could reach on this cohort, where it is known
    processes : that prepare the cohort
    """
    torch.use_deterministic_algorithms(True)
    folder.mkdir(parents=True, exist_ok=True)
    with first_alone():
        data = prepare(cohort, recipe, run.progress, processes=processes)
    verify_labels(data)
    if rank() == 0:
        write_split(folder / FILE, data.split)
        write_report(folder, data.faults)
    shown = data.parts["validation"].numpy(), data.parts["calibration"].numpy()
    examples = choose(data.cohort, *shown, recipe.preprocessing, recipe.min_duration)

    chain = Chain(data=data, recipe=recipe, run=run, folder=folder / STAGES)
    encoder = chain.contrasted(chain.masked(chain.untrained()))
    labels = digest_of(data.labelled)
    stage = Stage.of("heads", encoder.stage, recipe.heads, labels, recipe.augmentation, recipe.finetuning)
    network, heads = finetune(encoder.net, data, recipe, stage.run(run, chain.folder))
    evaluation, centre, white = measure(network, data, encoder.projections, recipe, ceilings)
    checkpoint = Checkpoint(
        recipe=recipe,
        provenance=_provenance(data, recipe, run, encoder, heads),
        network=network.state_dict(),
        log_mean=data.log_mean,
        log_sd=data.log_sd,
        covariate_mean=data.covariate_mean,
        covariate_sd=data.covariate_sd,
        centre=torch.from_numpy(centre.astype(np.float32)),
        whitening=torch.from_numpy(white.astype(np.float32)),
        examples=examples,
        evaluation=evaluation,
    )
    if rank() == 0:
        checkpoint.save(folder / "checkpoint.pt")
    return checkpoint


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoder:
    """The ECG encoder after some stages.

    Attributes
    ----------
    stage : the last of them
    histories : what each did
    probes : anchor -> phenotype -> R² of a linear reader of what the CMR encoder says of the validation part
    projections : unit vectors of the test part, by modality; empty where nothing was aligned
    """

    net: EcgEncoder
    stage: Stage
    histories: dict[str, History] = field(default_factory=dict)
    probes: dict[str, dict[str, float]] = field(default_factory=dict)
    projections: dict[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Chain:
    """The stages before the heads; each is left out when its schedule has no epochs, or no head would read an ECG."""

    data: Dataset
    recipe: Recipe
    run: Run
    folder: Path

    def untrained(self) -> Encoder:
        """The encoder with its first weights, which follow from recipe, cohort and split."""
        recipe = self.recipe
        stage = Stage.of("encoder", *self._given, recipe.ecg)
        stage.run(self.run, self.folder)
        return Encoder(net=build_ecg_encoder(recipe.ecg).to(self.run.device), stage=stage)

    @property
    def _given(self) -> tuple[object, ...]:
        """What every stage depends on: the visits of each part, how ECGs are prepared, and how numbers are computed."""
        data, recipe, run = self.data, self.recipe, self.run
        rows = [digest_of(data.parts[part]) for part in PARTS]
        return data.cohort.digest, rows, recipe.preprocessing, recipe.seed, run.device.type, run.precision, world()

    def masked(self, before: Encoder) -> Encoder:
        """Stage 1: ECGs alone."""
        recipe, parts = self.recipe, self.data.parts
        if not (recipe.masked_schedule.epochs and recipe.heads.ecg):
            return before
        stage = Stage.of("masked", before.stage, recipe.masked, recipe.masked_schedule)
        run = stage.run(self.run, self.folder)
        history = pretrain_masked(before.net, self.data.ecg, parts["train"], parts["validation"], recipe, run)
        return replace(before, stage=stage, histories=before.histories | {stage.name: history})

    def contrasted(self, before: Encoder) -> Encoder:
        """Stages 1b and 2: CMR encoders, then ECGs against what they say."""
        recipe, run = self.recipe, self.run
        if not (recipe.pretraining.epochs and recipe.heads.ecg):
            return before
        taught, features, teachers = self._teachers()
        facts = recipe.contrast, self._labels_read, recipe.augmentation, recipe.pretraining
        stage = Stage.of("contrast", before.stage, taught, *facts)
        aligned, contrast = pretrain(before.net, self.data, features, recipe, stage.run(run, self.folder))
        with torch.no_grad():  # now, before the encoder moves on
            vectors = projected(aligned, self.data, features, self.data.parts["test"])
        return Encoder(
            net=before.net,
            stage=stage,
            histories=before.histories | {taught.name: teachers, stage.name: contrast},
            probes={anchor: probe(said, self.data) for anchor, said in features.items()},
            projections={name: vector.numpy() for name, vector in vectors.items()},
        )

    @property
    def _labels_read(self) -> str:
        """Whose labels the contrastive stage itself reads: nobody's unless targets are soft."""
        return digest_of(self.data.labelled) if self.recipe.contrast.soft_targets else ""

    def _teachers(self) -> tuple[Stage, dict[str, Tensor], History]:
        recipe, data = self.recipe, self.data
        reads_some = recipe.teacher.by == "phenotypes" and not recipe.teacher.every_label
        labels = digest_of(data.labelled) if reads_some else ""
        stage = Stage.of("teachers", *self._given, recipe.cmr, recipe.teacher, labels, recipe.cmr_schedule)
        run = stage.run(self.run, self.folder)
        teachers, history = train_teachers(data, recipe, run)
        return (
            stage,
            kept(stage.folder(self.folder) / "features.pt", lambda: anchor_features(teachers, data, run)),
            history,
        )


def digest_of(rows: Tensor) -> str:
    """SHA-256 of some rows of the cohort."""
    return hashlib.sha256(rows.numpy().tobytes()).hexdigest()


def kept(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors by name from a file, or made and written there, whole or not at all."""
    if not path.is_file():
        made = make()
        if rank() > 0:
            return made
        unfinished = path.with_suffix(".part")
        torch.save(made, unfinished)
        os.replace(unfinished, path)
    tensors: dict[str, Tensor] = torch.load(path, weights_only=True)
    return tensors


def _provenance(data: Dataset, recipe: Recipe, run: Run, encoder: Encoder, heads: History) -> dict[str, JsonValue]:
    histories = encoder.histories | {"heads": heads}
    return {
        "code_version": code_version(),
        "torch_version": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": world(),
        "device": run.device.type,
        "precision": run.precision,
        "source": data.cohort.manifest.source,
        "made": dict(data.cohort.manifest.made),
        "participants": len(np.unique(data.cohort.participants)),
        "cohort_digest": data.cohort.digest,
        "split_digest": split_digest(data.split),
        "left_out": len(data.faults),
        "seed": recipe.seed,
        "labels": recipe.split.labels,
        "parts": {part: len(data.parts[part]) for part in PARTS},
        "cmr_encoders_show": {anchor: dict(found) for anchor, found in encoder.probes.items()},
        "stages": {name: asdict(history) for name, history in histories.items()},
    }


def code_version() -> str:
    """The installed version, and the commit where there is one."""
    version = importlib.metadata.version("ecg2cmr")
    git = shutil.which("git")
    if git is None:
        return version
    described = subprocess.run(
        [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,  # no repository: the version has to do
    )
    commit = described.stdout.strip()
    return f"{version} ({commit})" if commit else version
