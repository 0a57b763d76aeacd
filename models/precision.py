"""Precision: which graph of a bundle is run when nobody says so: the fastest that changes nothing that matters."""

from __future__ import annotations

from collections.abc import Mapping

from models.bundle import Manifest, Precision, Provider, Variant

LARGEST_SHARE = 0.1
"""Of half an interval's width, by which fewer bits may move any phenotype of any ECG that they were measured on.

If every ECG met with the largest error, a 90 % interval of normal errors would still cover 89.5 %
(Φ(1.645 · 1.1) + Φ(1.645 · 0.9) − 1): less than what is known of its coverage, which has a standard error of 0.6 points
on the 2,375 test hearts of the shipped bundle."""

LEAST_AGREEMENT = 0.99
"""Share of ECGs that must keep their out-of-distribution flag."""

WORTHWHILE = 1.1
"""Times as fast as the full graph; repeated measurements differ by a few percent."""


def preferred(manifest: Manifest, provider: Provider) -> list[Precision]:
    """The graphs that may be run on a provider, the fastest first; the full one is always among them, and last.

    Decided by what the manifest states and never by the clock of this machine: workers of one bundle on one provider
    run the same graph, and an ECG that is sent twice is answered the same twice.
    """
    offered = [variant for variant in manifest.variants if objection(variant, provider) is None]
    ranked = sorted(offered, key=lambda variant: -ratio(variant, provider))
    return [*(variant.precision for variant in ranked), "fp32"]


def objections(manifest: Manifest, provider: Provider) -> Mapping[Precision, str]:
    """Why graphs of the bundle are not run unless they are asked for."""
    found = {variant.precision: objection(variant, provider) for variant in manifest.variants}
    return {precision: reason for precision, reason in found.items() if reason is not None}


def objection(variant: Variant, provider: Provider) -> str | None:
    """Why a variant is not run on this provider unless it is asked for, or None."""
    shares = {error.symbol: error.interval_share for error in variant.errors if error.interval_share is not None}
    if not variant.errors or len(shares) < len(variant.errors):
        return "its errors beside the intervals were not measured"
    worst = max(shares, key=lambda symbol: shares[symbol])
    if shares[worst] > LARGEST_SHARE:
        return f"it moves {worst} by up to {shares[worst]:.1%} of half its interval, more than {LARGEST_SHARE:.0%}"
    if variant.ood_agreement < LEAST_AGREEMENT:
        return f"only {variant.ood_agreement:.1%} of ECGs keep their out-of-distribution flag"
    if not ratio(variant, provider):
        return f"its speed on {provider} was not measured"
    if ratio(variant, provider) < WORTHWHILE:
        return f"on {provider} it is {ratio(variant, provider):.2f} times as fast as fp32, which is not worth an error"
    return None


def ratio(variant: Variant, provider: Provider) -> float:
    """How many times as fast as the full graph it was; 0 where nobody measured."""
    return next((speed.ratio for speed in variant.speed if speed.provider == provider), 0.0)
