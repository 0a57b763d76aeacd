"""Held out: what a checkpoint says of the test part of the cohort it was split on; of another it says nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from models.phenotypes import PREDICTED
from models.runtime import TENSOR_TOLERANCE
from training.checkpoint import Checkpoint
from training.cohort import Cohort, CohortError
from training.dataset import Dataset, prepare
from training.ecg_encoder import build_ecg_encoder
from training.evaluate import Floats, Predictions
from training.finetune import Predictor, build_head
from training.manifest import SIMULATED
from training.measure import embeddings, predictions
from training.split import split_digest


class OtherPeople(CohortError):
    """The cohort, or its split, is not the one of the checkpoint: the test part may hold whom it was trained on."""


class OtherPreprocessing(CohortError):
    """ECGs are preprocessed otherwise here than in training: the figures would not be those of the checkpoint."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOut:
    """The test part.

    Attributes
    ----------
    cohort : all of it
    rows : of the test part
    test : what the network says of them
    embedding : (n, d); no columns for the baseline that reads no ECG
    train_truth : (train, 12) phenotypes that training could read, whose mean is the baseline
    """

    cohort: Cohort
    rows: NDArray[np.intp]
    test: Predictions
    embedding: Floats
    train_truth: Floats

    @property
    def simulated(self) -> bool:
        """Whether the hearts are."""
        return self.cohort.manifest.source == SIMULATED


def held_out(checkpoint: Checkpoint, cohort: Cohort, progress: Progress, processes: int = 1) -> HeldOut:
    """Let the checkpoint read the test part.

    Raises
    ------
    OtherPreprocessing
        If the golden examples of the checkpoint come out otherwise.
    OtherPeople
        If cohort or split have another digest than those of the training.
    """
    _verify_preprocessing(checkpoint)
    data = prepare(cohort, checkpoint.recipe, progress, processes=processes)
    _verify_people(checkpoint, data)
    network = network_of(checkpoint)
    return HeldOut(
        cohort=data.cohort,
        rows=data.parts["test"].numpy(),
        test=predictions(network, data, "test"),
        embedding=embeddings(network, data, "test"),
        train_truth=data.cohort.phenotypes[data.labelled.numpy()],
    )


def network_of(checkpoint: Checkpoint) -> Predictor:
    """The network with its weights, also of the baseline that reads no ECG and cannot be served."""
    recipe = checkpoint.recipe
    encoder = build_ecg_encoder(recipe.ecg) if recipe.heads.ecg else None
    network = Predictor(encoder, build_head(recipe, len(PREDICTED)), recipe.heads.covariates)
    network.load_state_dict(checkpoint.network)
    return network.eval()


def _verify_preprocessing(checkpoint: Checkpoint) -> None:
    examples = checkpoint.examples
    tensors = np.stack([checkpoint.recipe.preprocessing(recording) for recording in examples.recordings])
    if tensors.shape != examples.tensors.shape or not np.allclose(tensors, examples.tensors, atol=TENSOR_TOLERANCE):
        raise OtherPreprocessing(f"{OtherPreprocessing.__doc__} Evaluate with the version that trained it.")


def _verify_people(checkpoint: Checkpoint, data: Dataset) -> None:
    stated = {"cohort": data.cohort.digest, "split": split_digest(data.split)}
    for what, digest in stated.items():
        trained = checkpoint.provenance[f"{what}_digest"]
        if digest != trained:
            found = f"the {what} has digest {digest[:12]}, the checkpoint's {str(trained)[:12]}"
            raise OtherPeople(f"{found}. {OtherPeople.__doc__}")
