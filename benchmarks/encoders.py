"""What each size of ECG encoder costs when it serves: parameters, operations, milliseconds; fp32 and int8.

    .venv/bin/python benchmarks/encoders.py [--only vit-tiny-12x50 …] [--rounds 20] [--out runs/encoders]
    .venv/bin/python benchmarks/encoders.py --accuracy measured.json
    .venv/bin/python benchmarks/encoders.py --both --only conv vit-tiny-12x50

Weights are random, which does not change the speed. One ECG at a time on one thread of ONNX Runtime, all encoders in
turn in each round, so that a noisy machine hurts them alike. int8 is dynamic for transformers (their matrix products)
and static for convolutions; --both times each in the other int8 too, which shows why. Writes OUT/encoders.md; given the
accuracies {name: {"r2": …, "r2_int8": … or left out}}, also OUT/encoders.png, accuracy against milliseconds.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from training.config import ConvWidths
from training.ecg_encoder import PRESETS, EcgEncoder, build_ecg_encoder

mpl.use("Agg")
import matplotlib.pyplot as plt

INPUT = "ecg"
BITS = ("fp32", "int8")
OTHER = "other int8"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one encoder costs; milliseconds by kind of numbers."""

    name: str
    parameters: int
    operations: int
    cosine: float
    milliseconds: dict[str, float]


class Noise(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
    """Ranges for static quantisation: white noise of the size of an ECG; for speed alone, never for a shipped model."""

    def __init__(self, batches: int = 4) -> None:
        self.batches: Iterator[NDArray[np.float32]] = iter([ecgs(seed) for seed in range(batches)])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch, or None at the end."""
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}


def ecgs(seed: int, batch: int = 1) -> NDArray[np.float32]:
    """(batch, 12, 5000) noise of 0.2 mV."""
    return (0.2 * np.random.default_rng(seed).standard_normal((batch, 12, 5000))).astype(np.float32)


def operations(encoder: EcgEncoder) -> int:
    """Floating-point operations for one ECG; a multiplication with an addition counts as two."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention would not be counted
        encoder(torch.from_numpy(ecgs(0)))
    return int(counter.get_total_flops())


def exported(encoder: EcgEncoder, folder: Path, *, convolutional: bool, both: bool) -> dict[str, Path]:
    """The graph in each kind of numbers."""
    paths = {bits: folder / f"{bits}.onnx" for bits in ("raw", *BITS, OTHER)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own use of torch
        torch.onnx.export(
            encoder,
            (torch.zeros(2, 12, 5000),),
            paths["raw"],
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=[INPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    quant_pre_process(paths["raw"], paths["fp32"], skip_symbolic_shape=True)
    ways = (statically, dynamically) if convolutional else (dynamically, statically)
    ways[0](paths["fp32"], paths["int8"])
    if both:
        ways[1](paths["fp32"], paths[OTHER])
    return {bits: paths[bits] for bits in (*BITS, *([OTHER] if both else []))}


def statically(full: Path, path: Path) -> None:
    """Everything in int8, with ranges that are found beforehand."""
    quantize_static(
        full, path, Noise(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip


def dynamically(full: Path, path: Path) -> None:
    """Matrices and convolutions in int8, with ranges that are found in each ECG."""
    quantize_dynamic(full, path, op_types_to_quantize=["MatMul", "Gemm", "Conv"], per_channel=True)


def session(path: Path) -> ort.InferenceSession:
    """One thread that does not spin."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measured(names: list[str], rounds: int, *, both: bool = False) -> list[Cost]:
    """Every encoder, its graphs loaded all at once and called in turn."""
    sessions: dict[tuple[str, str], ort.InferenceSession] = {}
    facts: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            torch.manual_seed(0)
            encoder, own = build_ecg_encoder(PRESETS[name]).eval(), Path(folder) / name
            own.mkdir()
            facts[name] = sum(weights.numel() for weights in encoder.parameters()), operations(encoder)
            convolutional = isinstance(PRESETS[name], ConvWidths)
            for bits, path in exported(encoder, own, convolutional=convolutional, both=both).items():
                sessions[name, bits] = session(path)
            print(f"{name} is built", flush=True)
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    answers: dict[tuple[str, str], NDArray[np.float32]] = {}
    for turn in range(rounds + 1):
        for key, graph in sessions.items():
            ecg, start = ecgs(turn), time.perf_counter()
            (answers[key],) = graph.run(None, {INPUT: ecg})
            if turn:  # the first call of each only warms it up
                times[key].append(1000 * (time.perf_counter() - start))
    return [
        Cost(
            name=name,
            parameters=facts[name][0],
            operations=facts[name][1],
            cosine=cosine(answers[name, "fp32"], answers[name, "int8"]),
            milliseconds={bits: statistics.median(times[key, bits]) for key, bits in sessions if key == name},
        )
        for name in names
    ]


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Of two embeddings of one ECG."""
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def table(costs: list[Cost]) -> str:
    """Markdown, with the time of each as a multiple of the fastest's."""
    fastest = min(min(cost.milliseconds.values()) for cost in costs)
    timed = " | ".join(f"{bits} ms | × fastest" for bits in costs[0].milliseconds)
    lines = [
        f"| encoder | M parameters | GFLOP | {timed} | cosine of int8 to fp32 |",
        "|---|---|---|---|" + "---|---|" * len(costs[0].milliseconds),
    ]
    for cost in costs:
        kinds = list(cost.milliseconds)
        cells = [f"{cost.milliseconds[bits]:.1f} | {cost.milliseconds[bits] / fastest:.1f}" for bits in kinds]
        lines.append(
            f"| {cost.name} | {cost.parameters / 1e6:.2f} | {cost.operations / 1e9:.2f} | {' | '.join(cells)} "
            f"| {cost.cosine:.4f} |"
        )
    return "\n".join(lines) + "\n"


def plot(costs: list[Cost], accuracies: dict[str, dict[str, float]], path: Path) -> None:
    """Accuracy against milliseconds for one ECG; an int8 without an accuracy of its own is not drawn."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for bits, key, marker in (("fp32", "r2", "o"), ("int8", "r2_int8", "^")):
        shown = [cost for cost in costs if key in accuracies.get(cost.name, {})]
        points = [(cost.milliseconds[bits], accuracies[cost.name][key]) for cost in shown]
        if points:
            axes.scatter(*zip(*points, strict=True), marker=marker, label=bits)
        for cost, point in zip(shown, points, strict=True):
            axes.annotate(cost.name, point, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.margins(x=0.2)
    axes.set(xscale="log", xlabel="ms for one ECG, one thread", ylabel="mean R², held-out participants")
    axes.legend()
    figure.savefig(path, dpi=150, bbox_inches="tight")


def main() -> None:
    """Measure, write, print."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--only", nargs="+", choices=PRESETS, default=list(PRESETS))
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--accuracy", type=Path, help='JSON: {"conv": {"r2": 0.71, "r2_int8": 0.70}, …}')
    arguments.add_argument("--out", type=Path, default=Path("runs/encoders"))
    arguments.add_argument("--both", action="store_true", help="int8 the other way too")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    for noisy in ("root", "torch.onnx"):  # the quantiser's and the exporter's advice
        logging.getLogger(noisy).setLevel(logging.ERROR)
    accuracies = {} if chosen.accuracy is None else json.loads(chosen.accuracy.read_text())
    if unknown := sorted(set(accuracies) - set(PRESETS)):
        raise SystemExit(f"{chosen.accuracy} names {', '.join(unknown)}; encoders are {', '.join(PRESETS)}")
    costs = measured(chosen.only, chosen.rounds, both=chosen.both)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "encoders.md").write_text(table(costs))
    if accuracies:
        plot(costs, accuracies, chosen.out / "encoders.png")
    print(table(costs))


if __name__ == "__main__":
    main()
