"""The bundle says and does what the checkpoint does."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from models.bundle import CARD, GOLDEN, MANIFEST, MODEL, Bundle, BundleError, ConditionModel, SubgroupCoverage
from models.phenotypes import PHENOTYPES, PREDICTED
from models.precision import objection
from models.runtime import Model
from training.__main__ import app
from training.checkpoint import Checkpoint
from training.config import VitWidths
from training.ecg_encoder import build_ecg_encoder
from training.export import OF_SIMULATED_HEARTS, BundleExists, export, golden_of
from training.finetune import Predictor, build_head
from training.graph import CannotServe, ParityError, graph_of, verify_parity, write_onnx
from training.speed import processor
from training.variants import SPARED, Trials, make_variant


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
    assert manifest.notices == list(OF_SIMULATED_HEARTS.notices)
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
    for words in ("Simulated hearts", "not a medical device", "UK Biobank", "python -m training simulate", "LVEDV"):
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


def test_the_opset_is_stated(toy_bundle):
    (stated,) = (opset.version for opset in onnx.load(toy_bundle / MODEL).opset_import if opset.domain == "")
    assert Bundle.open(toy_bundle).manifest.opset == stated


def test_a_graph_that_computes_something_else_is_not_exported(toy_checkpoint, toy_bundle):
    graph = graph_of(toy_checkpoint)
    assert verify_parity(graph, toy_bundle / MODEL, Bundle.open(toy_bundle).golden) <= 1e-4
    graph.log_mean += 0.001
    with pytest.raises(ParityError, match="mean of 3 ECGs differs"):
        verify_parity(graph, toy_bundle / MODEL, Bundle.open(toy_bundle).golden)


@pytest.fixture(scope="module")
def told(toy_checkpoint):
    """The toy model as if it had been trained with covariates; its head is not trained, which no test here minds."""
    torch.manual_seed(4)
    heads = replace(toy_checkpoint.recipe.heads, covariates=("age", "sex"))
    recipe = replace(toy_checkpoint.recipe, heads=heads)
    network = toy_checkpoint.network | {f"head.{k}": v for k, v in build_head(recipe, 7).state_dict().items()}
    measured = toy_checkpoint.evaluation
    failed = SubgroupCoverage(group="weak", symbol="LVEF", n=40, coverage=0.5)
    interval = measured.interval.model_copy(update={"subgroups": [failed]})
    names = ("intercept", "prevalence", "auroc", "brier", "calibration_slope", "calibration_intercept")
    condition = ConditionModel(code="lvh", slope=1.0, n=9, positives=3, **dict.fromkeys(names, 0.25))
    evaluation = measured.model_copy(update={"interval": interval, "conditions": [condition]})
    return replace(toy_checkpoint, recipe=recipe, network=network, evaluation=evaluation)


@pytest.fixture(scope="module")
def told_bundle(told, tmp_path_factory):
    return Bundle.open(export(told, tmp_path_factory.mktemp("told"), variants=("fp16", "int8")))


def test_covariates_are_read_raw_and_unknown_ones_as_the_mean(told, told_bundle):
    model = Model.load(told_bundle, provider="cpu", threads=1)
    assert [c.name for c in told_bundle.manifest.input.covariates] == ["age", "sex"]
    ecg = told_bundle.golden.tensors[:1]
    age = float(told.covariate_mean[0])
    answers = [
        model.run(ecg, np.array([covariates], np.float32)).mean
        for covariates in ([age, np.nan], [np.nan, np.nan], [age + 20, np.nan], [age, 1.0])
    ]
    assert model.run(ecg).mean == pytest.approx(answers[1])
    assert not any(np.allclose(answers[0], other) for other in answers[1:])  # known to be average is not unknown


def test_a_report_names_the_covariates_that_it_had(told_bundle):
    model = Model.load(told_bundle, provider="cpu", threads=1)
    recording = told_bundle.golden.recordings[0]
    reports = model.read([recording, replace(recording, age=60.0), replace(recording, age=60.0, sex="F")])
    assert [report.covariates_used for report in reports] == [[], ["age"], ["age", "sex"]]
    assert len({report.estimates[0].value for report in reports}) == 3


def test_golden_examples_carry_covariates_and_one_that_is_unknown(told_bundle):
    covariates = told_bundle.golden.covariates
    assert covariates is not None
    assert covariates.shape == (3, 2)
    assert np.isnan(covariates).sum() == 1


@pytest.mark.parametrize(("precision", "bound"), [("fp16", 0.01), ("int8", 0.5)])
def test_a_variant_states_by_how_much_it_differs(told, told_bundle, precision, bound):
    full, variant = (Model.load(told_bundle, provider="cpu", threads=1, precision=p) for p in ("fp32", precision))
    (stated,) = (v for v in told_bundle.manifest.variants if v.precision == precision)
    half = len(told.examples.trials) // 2  # the others set the ranges of 8 bits
    ecg = told.examples.trials[half:].astype(np.float32)
    known = told.examples.trial_covariates[half:, :2]
    ratio = np.exp(variant.run(ecg, known).mean - full.run(ecg, known).mean)
    errors = {error.symbol: error for error in stated.errors}
    for column, symbol in enumerate(PREDICTED):
        assert errors[symbol].max == pytest.approx(np.abs(ratio[:, column] - 1).max(), rel=0.05, abs=1e-5)
        assert 0 < errors[symbol].mean <= errors[symbol].max < bound
    assert set(errors) == set(PHENOTYPES) - {"CO"}
    assert 0 <= stated.ood_agreement <= 1
    assert (told_bundle.path / stated.file).stat().st_size < (told_bundle.path / MODEL).stat().st_size


def test_a_variant_states_its_errors_beside_the_intervals_that_the_full_graph_gives(told, told_bundle):
    full, variant = (Model.load(told_bundle, provider="cpu", threads=1, precision=p) for p in ("fp32", "int8"))
    half = len(told.examples.trials) // 2
    ecg = told.examples.trials[half:].astype(np.float32)
    known = told.examples.trial_covariates[half:, :2]
    ours, theirs = full.run(ecg, known), variant.run(ecg, known)
    shares = []
    for row in range(len(ecg)):
        mean, sd = ours.mean[row].astype(np.float64), ours.sd[row].astype(np.float64)
        low, high = full.reader.propagation.intervals(mean, sd, None)["LVEF"]
        points = [full.reader.propagation.points(m.astype(np.float64), None)["LVEF"] for m in (mean, theirs.mean[row])]
        shares.append(abs(points[1] - points[0]) / ((high - low) / 2))
    (stated,) = (v for v in told_bundle.manifest.variants if v.precision == "int8")
    (error,) = (e for e in stated.errors if e.symbol == "LVEF")
    assert error.interval_share == pytest.approx(max(shares), rel=0.05)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_variant_states_how_fast_it_was_on_which_processor(told_bundle, precision):
    (stated,) = (v for v in told_bundle.manifest.variants if v.precision == precision)
    (row,) = (row for row in stated.speed if row.provider == "cpu")
    assert row.engine == f"onnxruntime {onnxruntime.__version__}"
    assert row.processor == processor()
    assert (row.batch, row.threads) == (1, 1)
    assert objection(stated.model_copy(update={"speed": []}), "cpu") is not None


def test_convolutions_near_the_recording_stay_in_float32_and_the_others_do_not(told_bundle):
    graph = onnx.load(told_bundle.path / "model.int8.onnx").graph
    quantised = {output for node in graph.node if node.op_type == "DequantizeLinear" for output in node.output}
    convolutions = [node.input[0] in quantised for node in graph.node if node.op_type == "Conv"]
    assert not any(convolutions[:SPARED])
    assert any(convolutions[SPARED:])


def test_matrices_of_a_transformer_are_quantised_when_it_runs(tmp_path, told):
    torch.manual_seed(0)
    recipe = replace(
        told.recipe, ecg=VitWidths(patch_leads=12, patch_samples=250, width=24, depth=2, heads=2, embedding=16)
    )
    network = Predictor(build_ecg_encoder(recipe.ecg), build_head(recipe, 7), recipe.heads.covariates).state_dict()
    vit = replace(told, recipe=recipe, network=network)
    write_onnx(graph_of(vit), 5000, tmp_path / MODEL)
    variant = make_variant(tmp_path, "int8", Trials.of(vit, golden_of(vit)))
    kinds = {node.op_type for node in onnx.load(tmp_path / variant.file).graph.node}
    assert "dynamic" in variant.method
    assert kinds & {"MatMulInteger", "DynamicQuantizeLinear"}
    assert "QuantizeLinear" not in kinds


def test_the_same_weights_may_be_exported_as_another_version(toy_run, toy_bundle, tmp_path):
    arguments = ["export", str(toy_run / "checkpoint.pt"), "--out", str(tmp_path), "--version", "9.9.8"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (other,) = tmp_path.glob("*/9.9.8")
    assert (other / MODEL).read_bytes() == (toy_bundle / MODEL).read_bytes()


def test_a_variant_that_answers_otherwise_than_when_it_was_exported_is_refused(told_bundle, tmp_path):
    copy = Path(shutil.copytree(told_bundle.path, tmp_path / "copy"))
    stated = json.loads((copy / MANIFEST).read_text())
    stated["variants"][0]["tolerance"] = dict.fromkeys(stated["variants"][0]["tolerance"], 0.0)
    golden = told_bundle.golden
    replace(golden, mean=golden.mean + np.float32(0.02)).save(copy / GOLDEN)
    stated["files"][GOLDEN] = hashlib.sha256((copy / GOLDEN).read_bytes()).hexdigest()
    (copy / MANIFEST).write_text(json.dumps(stated))
    with pytest.raises(BundleError, match="mean of the golden examples differs"):
        Model.load(Bundle.open(copy), provider="cpu", threads=1, precision="fp16")


def test_the_card_tells_covariates_conditions_and_what_fewer_bits_cost(told_bundle):
    card = (told_bundle.path / CARD).read_text()
    for words in ("age, sex", "| lvh | 9 |", "model.int8.onnx", "“weak”: 50% (35% to 65%) of 40", "ceiling"):
        assert words in card


def test_a_model_of_covariates_alone_is_not_served(toy_checkpoint):
    heads = replace(toy_checkpoint.recipe.heads, covariates=("age",), ecg=False)
    recipe = replace(toy_checkpoint.recipe, heads=heads)
    network = {f"head.{k}": v for k, v in build_head(recipe, 7).state_dict().items()}
    with pytest.raises(CannotServe, match="baseline"):
        graph_of(replace(toy_checkpoint, recipe=recipe, network=network))


def test_a_model_of_people_is_not_said_to_be_one_of_simulated_hearts(toy_checkpoint, tmp_path):
    trained = replace(toy_checkpoint, provenance=toy_checkpoint.provenance | {"source": "training.importing.folder"})
    bundle = Bundle.open(export(trained, tmp_path))
    assert not bundle.manifest.simulated
    told = " ".join(bundle.manifest.notices + bundle.manifest.limits) + (bundle.path / "MODEL_CARD.md").read_text()
    assert "imulated" not in told
    assert "Not a medical device" in bundle.manifest.notices[-1]
