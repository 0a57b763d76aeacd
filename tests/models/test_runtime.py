"""A model that runs here is the model that was validated, and one bad ECG never spoils another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import onnx
import pytest

from models.bundle import MODEL, BundleError
from models.ecg.recording import Recording
from models.engine import OUTPUTS
from models.onnx_runtime import OnDevice, OnnxRuntime, providers
from models.phenotypes import PHENOTYPES
from models.precision import preferred
from models.report import Inference, Rejection
from models.runtime import OUTPUT_TOLERANCE, Model, ProviderError, UnknownVariant, graph_of, installation_fault
from tests.models import bundles
from tests.models.bundles import SHIPPED

EXAMPLES = SHIPPED.golden.recordings
OPENVINO = find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not OPENVINO, reason="OpenVINO is an option: pip install 'ecg2cmr[openvino]'")


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


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_there_is_an_error_and_never_a_silent_fallback(provider):
    with pytest.raises(ProviderError, match="pip install"):
        Model.load(SHIPPED, provider=provider, threads=1)


@pytest.mark.skipif(OPENVINO, reason="OpenVINO is installed here")
def test_openvino_that_is_not_installed_is_an_error_that_tells_how_to_install_it():
    with pytest.raises(ProviderError, match=r"pip install 'ecg2cmr\[openvino\]'"):
        Model.load(SHIPPED, provider="openvino", threads=1)


@needs_openvino
@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_openvino_reproduces_the_golden_examples_and_batches_are_answered_row_by_row(precision):
    model = Model.load(SHIPPED, provider="openvino", threads=1, precision=precision)
    together, alone = model.run(SHIPPED.golden.tensors), model.run(SHIPPED.golden.tensors[1:2])
    for name in OUTPUTS:
        np.testing.assert_allclose(getattr(together, name)[1:2], getattr(alone, name), rtol=1e-3, atol=1e-3)


@needs_openvino
def test_openvino_and_onnx_runtime_agree_a_hundred_times_better_than_is_asked():
    ecg = SHIPPED.golden.tensors
    ours, theirs = (Model.load(SHIPPED, provider=p, threads=1).run(ecg) for p in ("cpu", "openvino"))
    for name in OUTPUTS:
        allowed = OUTPUT_TOLERANCE["openvino"] / 100
        np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), rtol=allowed, atol=allowed)


@needs_openvino
@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_is_run_from_several_threads_at_once(threads):
    model = Model.load(SHIPPED, provider="openvino", threads=threads)
    rows = [SHIPPED.golden.tensors[i % 3 : i % 3 + 1] for i in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = [answer.mean for answer in pool.map(model.run, rows)]
    np.testing.assert_allclose(np.concatenate(found[:3]), SHIPPED.golden.mean, rtol=1e-3, atol=1e-3)
    assert all((answer == found[i % 3]).all() for i, answer in enumerate(found))


@needs_openvino
def test_openvino_refuses_bytes_that_are_no_graph(copy):
    (copy / MODEL).write_bytes(b"no graph")
    with pytest.raises(BundleError, match="cannot be run"):
        Model.load(bundles.reseal(copy), provider="openvino", threads=1)


def test_bound_inputs_and_outputs_give_what_unbound_ones_give():
    session = OnnxRuntime.start(graph_of(SHIPPED, None), "cpu", 1, None).session
    ecg = {"ecg": SHIPPED.golden.tensors}
    bound, plain = OnDevice(session, device="cpu").run(ecg), OnnxRuntime(session).run(ecg)
    for ours, theirs in zip(bound, plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_tensorrt_compiles_once_for_every_batch_and_in_the_numbers_of_the_graph_alone(tmp_path):
    graph = graph_of(SHIPPED, None)
    (name, options), (rest, _) = providers(graph, "tensorrt", None)
    assert (name, rest) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert options["trt_profile_min_shapes"] == "ecg:1x12x5000"
    assert options["trt_profile_max_shapes"] == "ecg:32x12x5000"
    assert not any("fp16" in option or "int8" in option or "cache" in option for option in options)
    (_, kept), _ = providers(replace(graph, precision="fp16"), "tensorrt", tmp_path)
    assert kept["trt_fp16_enable"] == "1"
    assert kept["trt_engine_cache_path"] == kept["trt_timing_cache_path"] == str(tmp_path)


def test_without_a_choice_the_graph_runs_that_the_manifest_prefers_and_every_report_names_it():
    model = Model.load(SHIPPED, provider="cpu", threads=1, precision="auto")
    assert model.precision == preferred(SHIPPED.manifest, "cpu")[0]
    (answer, refusal) = model.read([EXAMPLES[0], Recording(signal=np.zeros((12, 1000)), sampling_rate=500.0)])
    assert answer.model.precision == refusal.model.precision == model.precision
    assert f"in {model.precision} on cpu" in str(model)


def test_a_preferred_graph_that_answers_otherwise_here_gives_way_to_the_full_one(copy, caplog):
    other = bundles.with_variants(copy, tolerance=dict.fromkeys(OUTPUTS, 0.0), ratio=2.0)
    golden = SHIPPED.golden
    moved = bundles.with_golden(copy, replace(golden, mean=golden.mean + np.float32(0.0009)))
    assert preferred(moved.manifest, "cpu")[0] != "fp32"
    model = Model.load(moved, provider="cpu", threads=1, precision="auto")
    assert model.precision == "fp32"
    assert "left out on this machine" in caplog.text
    assert other.manifest.variants


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
