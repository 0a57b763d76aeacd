"""A model that runs here is the model that was validated, and one bad ECG never spoils another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from models.bundle import MODEL, BundleError
from models.ecg.recording import Recording
from models.phenotypes import PHENOTYPES
from models.report import Inference, Rejection
from models.runtime import Model, ProviderError, UnknownVariant, installation_fault
from tests.models import bundles
from tests.models.bundles import SHIPPED

EXAMPLES = SHIPPED.golden.recordings


@pytest.fixture(scope="module")
def model():
    return Model.load(SHIPPED, provider="cpu", threads=1)


@pytest.fixture
def copy(tmp_path):
    return bundles.copy(tmp_path)


def test_the_shipped_model_tells_that_it_is_simulated_and_no_medical_device():
    assert SHIPPED.manifest.simulated
    assert any("simulated" in notice for notice in SHIPPED.manifest.notices)
    assert any("Not a medical device" in notice for notice in SHIPPED.manifest.notices)
    assert sum(file.stat().st_size for file in SHIPPED.path.iterdir()) < 16e6


@pytest.mark.parametrize("name", ["mean", "sd", "embedding", "ood"])
def test_a_model_that_answers_otherwise_than_in_training_is_refused(copy, name):
    golden = SHIPPED.golden
    changed = replace(golden, **{name: getattr(golden, name) * np.float32(1.01) + np.float32(0.01)})
    with pytest.raises(BundleError, match=f"{name} of the golden examples differs"):
        Model.load(bundles.with_golden(copy, changed), provider="cpu", threads=1)


def test_preprocessing_that_works_otherwise_than_in_training_is_refused(copy):
    numbers = SHIPPED.manifest.input.model_dump()
    numbers["preprocessing"]["low_pass"] += 0.5
    with pytest.raises(BundleError, match="preprocessing of the golden examples differs"):
        Model.load(bundles.reseal(copy, input=numbers), provider="cpu", threads=1)


def test_golden_examples_cover_other_rates_and_short_recordings():
    assert len({recording.sampling_rate for recording in EXAMPLES}) > 1
    assert min(recording.duration for recording in EXAMPLES) < 10.0


def test_bytes_that_are_no_graph_are_refused(copy):
    (copy / MODEL).write_bytes(b"no graph")
    with pytest.raises(BundleError, match="cannot be run"):
        Model.load(bundles.reseal(copy), provider="cpu", threads=1)


def test_a_graph_with_weights_in_another_file_is_refused(copy):
    graph = onnx.load(copy / MODEL)
    onnx.save(graph, copy / MODEL, save_as_external_data=True, location="weights", size_threshold=0)
    (copy / "weights").rename(copy.parent / "weights")
    with pytest.raises(BundleError, match="cannot be run"):
        Model.load(bundles.reseal(copy), provider="cpu", threads=1)


def test_a_graph_that_needs_foreign_operators_is_refused(copy):
    graph = onnx.load(copy / MODEL)
    graph.graph.node[0].domain = "com.example"
    onnx.save(graph, copy / MODEL)
    with pytest.raises(BundleError, match="cannot be run"):
        Model.load(bundles.reseal(copy), provider="cpu", threads=1)


def test_a_graph_of_another_size_than_stated_is_refused(copy):
    with pytest.raises(BundleError, match="the manifest describes"):
        Model.load(bundles.reseal(copy, embedding={"size": 7}), provider="cpu", threads=1)


def test_a_gpu_that_is_not_there_is_an_error_and_never_a_silent_fallback():
    with pytest.raises(ProviderError, match="pip install"):
        Model.load(SHIPPED, provider="cuda", threads=1)


def test_a_precision_that_the_bundle_lacks_is_an_error_that_names_those_it_has(copy):
    with pytest.raises(UnknownVariant, match="one of fp32"):
        Model.load(bundles.without_variants(copy), provider="cpu", threads=1, precision="int8")


def test_what_is_known_of_a_person_is_nothing_to_a_model_that_reads_ecgs_alone(model):
    person = replace(EXAMPLES[0], age=70.0, sex="F", height=160.0)
    (answer,) = model.read([person])
    assert isinstance(answer, Inference)
    assert answer.covariates_used == []
    with pytest.raises(ValueError, match="covariates"):
        model.run(SHIPPED.golden.tensors, np.zeros((3, 2), np.float32))


@pytest.mark.parametrize("found", [[], ["onnxruntime", "onnxruntime-gpu"]])
def test_a_broken_installation_is_named_with_its_repair(found):
    fault = installation_fault(found)
    assert fault is not None
    assert "pip uninstall" in fault


@pytest.mark.parametrize("found", [["onnxruntime"], ["onnxruntime-gpu"]])
def test_one_runtime_is_sound(found):
    assert installation_fault(found) is None


@pytest.mark.parametrize("size", [1, 3, 40])
def test_an_ecg_is_answered_the_same_in_any_company(model, size):
    tensors = np.resize(SHIPPED.golden.tensors, (size, *SHIPPED.golden.tensors.shape[1:]))
    together, alone = model.run(tensors), model.run(tensors[:1])
    for name in ("embedding", "mean", "sd", "ood"):
        assert len(getattr(together, name)) == size
        np.testing.assert_allclose(getattr(together, name)[:1], getattr(alone, name), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 12, 4999), np.float32), np.zeros((1, 12, 5000)), np.zeros((0, 12, 5000), np.float32)]
)
def test_a_batch_of_another_shape_or_type_is_refused(model, batch):
    with pytest.raises(ValueError, match="float32"):
        model.run(batch)


def test_one_bad_row_spoils_no_other(model):
    tensors = SHIPPED.golden.tensors.copy()
    tensors[1] = np.nan
    answers = list(model.run(tensors))
    assert [answer.finite for answer in answers] == [True, False, True]
    np.testing.assert_allclose(answers[2].mean, SHIPPED.golden.mean[2], rtol=1e-3, atol=1e-3)


def test_answers_come_in_order_whatever_can_be_read(model):
    short = Recording(signal=np.zeros((12, 1000)), sampling_rate=500.0)
    answers = model.read([short, *EXAMPLES, short])
    assert [type(answer) for answer in answers] == [Rejection, *[Inference] * len(EXAMPLES), Rejection]
    assert model.read([]) == []
    assert model.read([EXAMPLES[1]])[0].embedding == pytest.approx(answers[2].embedding, abs=1e-4)


def test_what_is_read_is_consistent_and_complete(model):
    for answer in model.read(EXAMPLES):
        assert isinstance(answer, Inference)
        value = {estimate.symbol: estimate.value for estimate in answer.estimates}
        assert value.keys() | {a.symbol for a in answer.abstained} == set(PHENOTYPES)
        assert value["LVSV"] == value["LVEDV"] - value["LVESV"]
        assert value["CO"] == value["LVSV"] * answer.heart_rate / 1000.0
        assert answer.model == SHIPPED.identity.model_copy(update={"precision": "fp32"})


def test_a_signal_without_a_heart_still_gets_an_answer(model):
    flat = Recording(signal=np.zeros((12, 5000)), sampling_rate=500.0)
    (answer,) = model.read([flat])
    assert isinstance(answer, Inference)
    assert answer.heart_rate is None
    assert "CO" in {abstention.symbol for abstention in answer.abstained}


def test_a_golden_file_that_lacks_examples_is_refused(copy):
    golden = SHIPPED.golden
    changed = replace(golden, mean=golden.mean[:1])
    with pytest.raises(BundleError, match="mean of the golden examples is"):
        Model.load(bundles.with_golden(copy, changed), provider="cpu", threads=1)
