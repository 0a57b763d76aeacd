"""A bundle that is not exactly what was released does not open."""

from __future__ import annotations

import json

import pytest

from models.bundle import CARD, GOLDEN, MANIFEST, MODEL, Bundle, BundleError, find
from models.report import ModelIdentity
from tests.models import bundles
from tests.models.bundles import SHIPPED


@pytest.fixture
def copy(tmp_path):
    return bundles.copy(tmp_path)


def test_a_copy_is_the_same_bundle(copy):
    assert Bundle.open(copy).digest == SHIPPED.digest


@pytest.mark.parametrize("name", [MODEL, GOLDEN, CARD])
def test_one_changed_byte_is_seen(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match="differs from the manifest"):
        Bundle.open(copy)


@pytest.mark.parametrize("name", [MODEL, GOLDEN, CARD])
def test_a_missing_file_is_seen(copy, name):
    (copy / name).unlink()
    with pytest.raises(BundleError, match="missing"):
        Bundle.open(copy)


def test_a_file_more_is_seen_wherever_it_lies(copy):
    (copy / "weights").mkdir()
    (copy / "weights" / "model.onnx.data").write_bytes(b"more")
    with pytest.raises(BundleError, match="unexpected"):
        Bundle.open(copy)


def test_a_file_that_changes_after_opening_is_not_used(copy):
    bundle = Bundle.open(copy)
    (copy / MODEL).write_bytes(b"other")
    with pytest.raises(BundleError, match="has changed"):
        bundle.read(MODEL)


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="no model bundle"):
        Bundle.open(tmp_path)


def test_an_unknown_statement_is_refused(copy):
    with pytest.raises(BundleError, match="not a valid manifest"):
        bundles.reseal(copy, surprise=1)


def test_a_manifest_with_an_omission_is_refused(copy):
    stated = json.loads((copy / MANIFEST).read_text())
    del stated["intended_use"]
    (copy / MANIFEST).write_text(json.dumps(stated))
    with pytest.raises(BundleError, match="intended_use"):
        Bundle.open(copy)


def test_leads_in_another_order_are_refused(copy):
    stated = json.loads((copy / MANIFEST).read_text())["input"]
    with pytest.raises(BundleError, match="leads"):
        bundles.reseal(copy, input=stated | {"leads": stated["leads"][::-1]})


def test_a_correlation_matrix_of_another_size_is_refused(copy):
    stated = json.loads((copy / MANIFEST).read_text())["interval"]
    with pytest.raises(BundleError, match="correlation"):
        bundles.reseal(copy, interval=stated | {"correlation": [[1.0]]})


def test_a_manifest_from_before_covariates_conditions_and_variants_is_read(copy):
    bundles.without_variants(copy)
    stated = json.loads((copy / MANIFEST).read_text())
    for name in ("conditions", "opset"):
        del stated[name]
    del stated["input"]["covariates"], stated["interval"]["subgroups"]
    (copy / MANIFEST).write_text(json.dumps(stated))
    manifest = Bundle.open(copy).manifest
    assert (manifest.input.covariates, manifest.conditions, manifest.variants) == ([], [], [])


def test_a_manifest_from_before_speeds_and_shares_of_intervals_is_read(copy):
    stated = json.loads((copy / MANIFEST).read_text())
    for variant in stated["variants"]:
        variant.pop("speed", None)
        for error in variant["errors"]:
            error.pop("interval_share", None)
    (copy / MANIFEST).write_text(json.dumps(stated))
    variants = Bundle.open(copy).manifest.variants
    assert variants
    assert not any(variant.speed or any(error.interval_share for error in variant.errors) for variant in variants)


def test_a_report_from_before_it_named_its_graph_is_read():
    old = {"name": "ecg2cmr-sim", "version": "0.3.0", "digest": "d" * 64}
    assert ModelIdentity.model_validate(old).precision is None


def test_a_condition_that_nobody_defined_is_refused(copy):
    names = ("intercept", "prevalence", "auroc", "brier", "calibration_slope", "calibration_intercept")
    figures = dict.fromkeys(names, 0)
    with pytest.raises(BundleError, match="no condition gout"):
        bundles.reseal(copy, conditions=[{"code": "gout", "slope": 1, "n": 1, "positives": 0, **figures}])


def test_a_variant_without_a_digest_is_refused(copy):
    variant = {"precision": "int8", "file": "model.int8.onnx", "method": "", "n": 1, "errors": [], "ood_agreement": 1}
    bundles.without_variants(copy)
    with pytest.raises(BundleError, match=r"no digest for model\.int8\.onnx"):
        bundles.reseal(copy, variants=[variant | {"tolerance": {}}])


def test_another_manifest_is_another_model(copy):
    assert bundles.reseal(copy, notices=["Another notice."]).digest != SHIPPED.digest


def test_versions_are_found_in_the_order_of_their_numbers(tmp_path):
    for version in ("0.10.0", "0.9.0", "0.2.1"):
        folder = bundles.copy(tmp_path / "staging" / version)
        bundles.reseal(folder, version=version)
        target = tmp_path / "artifacts" / "ecg2cmr-sim" / version
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    assert [b.manifest.version for b in find(tmp_path / "artifacts")] == ["0.2.1", "0.9.0", "0.10.0"]


def test_golden_examples_are_read_as_they_were_written(copy):
    bundle = Bundle.open(copy)
    again = bundles.with_golden(copy, bundle.golden)
    assert (again.golden.tensors == bundle.golden.tensors).all()
    assert [r.digest for r in again.golden.recordings] == [r.digest for r in bundle.golden.recordings]
