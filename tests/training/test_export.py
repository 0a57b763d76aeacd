"""The bundle says and does what the checkpoint does."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from models.bundle import CARD, MANIFEST, MODEL, Bundle
from models.phenotypes import PREDICTED
from models.runtime import Model
from training.checkpoint import Checkpoint
from training.export import NOTICES, BundleExists, export
from training.graph import graph_of


@pytest.fixture(scope="module")
def session(toy_bundle):
    return onnxruntime.InferenceSession(toy_bundle / MODEL, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_exported_graph_equals_torch_for_any_batch(session, toy_checkpoint, batch):
    ecg = torch.randn(batch, 12, 5000, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        expected = graph_of(toy_checkpoint)(ecg)
    found = session.run(["embedding", "mean", "sd", "ood"], {"ecg": ecg.numpy()})
    for theirs, ours in zip(found, expected, strict=True):
        assert theirs.shape == tuple(ours.shape)
        np.testing.assert_allclose(theirs, ours, atol=1e-4, rtol=1e-4)


def test_the_graph_answers_in_natural_logarithms_of_physical_units(toy_checkpoint, toy_cohort, toy_bundle):
    model = Model.load(Bundle.open(toy_bundle), provider="cpu", threads=1)
    tensors = np.stack([model.bundle.preprocessing(toy_cohort.recording(row)) for row in range(40)])
    volumes = np.exp(model.run(tensors).mean[:, PREDICTED.index("LVEDV")])
    assert np.median(volumes) == pytest.approx(np.median(toy_cohort.column("LVEDV")), rel=0.3)


def test_the_score_inside_the_graph_is_the_whitened_distance(session, toy_checkpoint):
    ecg = np.random.default_rng(0).standard_normal((4, 12, 5000)).astype(np.float32)
    embedding, ood = session.run(["embedding", "ood"], {"ecg": ecg})
    white = (embedding - toy_checkpoint.centre.numpy()) @ toy_checkpoint.whitening.numpy()
    np.testing.assert_allclose(ood, np.sqrt((white**2).mean(1)), rtol=1e-3)


def test_the_bundle_verifies_and_reproduces_its_examples(toy_bundle):
    bundle = Bundle.open(toy_bundle)
    Model.load(bundle, provider="cpu", threads=1)
    rates = [recording.sampling_rate for recording in bundle.golden.recordings]
    lengths = [recording.duration for recording in bundle.golden.recordings]
    assert 250.0 in rates
    assert min(lengths) == bundle.manifest.input.min_duration < max(lengths)


def test_the_manifest_states_where_the_model_comes_from(toy_bundle, toy_cohort, toy_run):
    manifest = Bundle.open(toy_bundle).manifest
    training = manifest.training
    assert training["cohort_digest"] == toy_cohort.digest
    split = json.loads((toy_run / "split.json").read_text())
    assert training["parts"] == {part: len(people) for part, people in split.items()}
    assert training["recipe"]["preprocessing"] == manifest.input.preprocessing.model_dump()
    assert importlib.metadata.version("ecg2cmr") in training["code_version"]
    assert manifest.notices == NOTICES
    assert manifest.simulated


def test_the_manifest_gives_the_range_of_the_training_labels(toy_bundle, toy_cohort, toy_run):
    trained = json.loads((toy_run / "split.json").read_text())["train"]
    values = toy_cohort.column("LVM")[np.isin(toy_cohort.ids, trained)]
    (output,) = (o for o in Bundle.open(toy_bundle).manifest.outputs if o.symbol == "LVM")
    assert output.trained_range == pytest.approx((values.min(), values.max()))


def test_the_bundle_does_not_tell_where_it_was_made(toy_bundle):
    for file in toy_bundle.iterdir():
        content = file.read_bytes()
        for trace in (str(Path(__file__).parents[2]).encode(), b".py", b"site-packages", b"/home/", b"/root/"):
            assert trace not in content or file.suffix == ".npz", (file.name, trace)


def test_the_card_warns_and_tells_how_to_rebuild(toy_bundle):
    card = (toy_bundle / CARD).read_text()
    for words in ("Simulated hearts", "not a medical device", "UK Biobank", "python -m training demo", "LVEDV"):
        assert words in card


def test_a_released_version_is_never_overwritten(toy_checkpoint, toy_bundle):
    before = (toy_bundle / MANIFEST).read_bytes()
    with pytest.raises(BundleExists):
        export(toy_checkpoint, toy_bundle.parents[1])
    assert (toy_bundle / MANIFEST).read_bytes() == before


def test_a_checkpoint_is_read_as_it_was_written(toy_checkpoint, toy_run):
    stored = Checkpoint.load(toy_run / "checkpoint.pt")
    assert stored.recipe == toy_checkpoint.recipe
    assert stored.evaluation == toy_checkpoint.evaluation
    assert stored.provenance == toy_checkpoint.provenance
    ecg = torch.from_numpy(stored.examples.tensors)
    with torch.no_grad():
        for theirs, ours in zip(graph_of(stored)(ecg), graph_of(toy_checkpoint)(ecg), strict=True):
            assert torch.equal(theirs, ours)
