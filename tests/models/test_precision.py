"""Fewer bits are run only where it was measured that they change nothing that matters, and that they are faster."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from models.bundle import Manifest, Speed, Variant, VariantError
from models.precision import LARGEST_SHARE, objections, preferred
from tests.models.bundles import SHIPPED


def variant(precision, *, share=0.04, ratio=2.0, agreement=1.0, provider="cpu"):
    facts = {"milliseconds": 1.0, "batch": 1, "threads": 1, "rounds": 9, "engine": "", "processor": ""}
    return Variant(
        precision=precision,
        file=f"model.{precision}.onnx",
        method="",
        n=64,
        errors=[VariantError(symbol=s, mean=0.001, max=0.01, interval_share=share) for s in ("LVEDV", "LVEF")],
        ood_agreement=agreement,
        tolerance={},
        speed=[Speed(provider=provider, ratio=ratio, **facts)] if ratio else [],
    )


def manifest(*variants: Variant) -> Manifest:
    return SHIPPED.manifest.model_copy(update={"variants": list(variants)})


def test_the_fastest_of_those_that_change_nothing_comes_first_and_the_full_graph_last():
    stated = manifest(variant("fp16", ratio=1.5), variant("int8", ratio=2.5))
    assert preferred(stated, "cpu") == ["int8", "fp16", "fp32"]
    assert objections(stated, "cpu") == {}


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        ({"share": 0.11}, "LVEDV by up to 11.0% of half its interval"),
        ({"share": None}, "not measured"),
        ({"agreement": 0.98}, "98.0% of ECGs keep"),
        ({"ratio": None}, "speed on cpu was not measured"),
        ({"ratio": 1.05}, "not worth an error"),
        ({"provider": "openvino"}, "speed on cpu was not measured"),
    ],
)
def test_a_variant_that_is_not_run_says_why(worse, why):
    stated = manifest(variant("int8", **worse))
    assert preferred(stated, "cpu") == ["fp32"]
    assert why in objections(stated, "cpu")["int8"]


def test_a_variant_without_any_error_stated_is_not_taken_for_one_without_errors():
    stated = manifest(variant("int8").model_copy(update={"errors": []}))
    assert preferred(stated, "cpu") == ["fp32"]


def test_another_provider_may_prefer_another_graph():
    stated = manifest(variant("int8", provider="openvino"), variant("fp16", ratio=1.2))
    assert preferred(stated, "openvino") == ["int8", "fp32"]
    assert preferred(stated, "cpu") == ["fp16", "fp32"]
    assert preferred(stated, "cuda") == ["fp32"]


def test_a_manifest_from_before_speeds_were_stated_is_run_in_full():
    old = [v.model_copy(update={"speed": []}) for v in SHIPPED.manifest.variants]
    assert preferred(manifest(*old), "cpu") == ["fp32"]


def test_the_largest_error_that_is_allowed_costs_an_interval_half_a_point_of_coverage():
    normal, z = NormalDist(), NormalDist().inv_cdf(0.95)
    covered = normal.cdf(z * (1 + LARGEST_SHARE)) - normal.cdf(-z * (1 - LARGEST_SHARE))
    assert math.isclose(covered, 0.895, abs_tol=5e-4)
