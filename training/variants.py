"""Variants: the exported graph in fewer bits, and by how much its answers differ from those of the full one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from models.bundle import MODEL, Golden, Intervals, Variant, VariantError
from models.engine import Graph
from models.intervals import Propagation, values
from models.phenotypes import PREDICTED
from models.runtime import OUTPUTS, Precision
from training.checkpoint import Checkpoint
from training.config import COVARIATES, ConvWidths
from training.graph import answers, forget_sources
from training.speed import speeds

Floats = NDArray[np.float32]

SAFETY = 2.0
"""How much larger than here the difference on golden examples may be elsewhere: integer kernels of other processors
round and saturate in other places."""

METHODS: dict[tuple[Precision, str], str] = {
    ("fp16", "conv"): "encoder in float16, heads and inputs in float32",
    ("fp16", "vit"): "encoder in float16, heads and inputs in float32",
    ("int8", "conv"): "convolutions after the third in static int8 (QDQ, activations unsigned, weights signed and per "
    "channel), the rest in float32",
    ("int8", "vit"): "matrices of the encoder in dynamic int8 (weights per channel), heads in float32",
}
"""Static for convolutions: in dynamic int8 they are slower than in float32, for ONNX Runtime's ConvInteger has no fast
kernel. Dynamic for a transformer: its ranges are taken from each ECG and so fit all of them, and static int8 is slower
(`benchmarks/encoders.py --both` times either the other way)."""

SPARED = 3
"""Convolutions left in float32: the stem and the first block, which see a recording nearly as it is: its range is wide
and most of its samples are small, which 8 bits serve badly (training/LOG.md has what one and two would cost)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Trials:
    """What a variant is calibrated and judged on.

    Attributes
    ----------
    kind : of the encoder
    ecg, covariates : preprocessed ECGs of the calibration split, and what is known beside them
    threshold : of the out-of-distribution flag
    interval : how the full graph's intervals are made, beside which errors are judged
    """

    kind: Literal["conv", "vit"]
    ecg: Floats
    covariates: Floats | None
    threshold: float
    interval: Intervals
    golden: Golden

    @classmethod
    def of(cls, checkpoint: Checkpoint, golden: Golden) -> Trials:
        """As the checkpoint keeps them."""
        examples, recipe = checkpoint.examples, checkpoint.recipe
        columns = [COVARIATES.index(name) for name in recipe.heads.covariates]
        return cls(
            kind="conv" if isinstance(recipe.ecg, ConvWidths) else "vit",
            ecg=examples.trials.astype(np.float32),
            covariates=examples.trial_covariates[:, columns] if columns else None,
            threshold=checkpoint.evaluation.ood.threshold,
            interval=checkpoint.evaluation.interval,
            golden=golden,
        )

    def some(self, rows: slice) -> Trials:
        """Only these ECGs."""
        return replace(self, ecg=self.ecg[rows], covariates=None if self.covariates is None else self.covariates[rows])

    @property
    def inputs(self) -> dict[str, Floats]:
        """As a graph takes them."""
        return {"ecg": self.ecg} | ({} if self.covariates is None else {"covariates": self.covariates})


def make_variant(folder: Path, precision: Precision, trials: Trials) -> Variant:
    """Write `model.<precision>.onnx` beside the full graph, and measure it on ECGs that it was not fitted to."""
    path = folder / f"model.{precision}.onnx"
    half = len(trials.ecg) // 2
    if precision == "fp16":
        _halve(folder / MODEL, path)
    else:
        _quantise(folder / MODEL, path, trials.some(slice(half)))
    forget_sources(path)
    return judged(folder / MODEL, path, precision, trials.some(slice(half, None)))


def judged(full: Path, path: Path, precision: Precision, trials: Trials) -> Variant:
    """What a variant costs, on the trials and on the golden examples, and how fast it is."""
    expected, found = (answers(graph, trials.ecg, trials.covariates) for graph in (full, path))
    mean, sd, ood = (OUTPUTS.index(name) for name in ("mean", "sd", "ood"))
    flags = [outputs[ood] >= trials.threshold for outputs in (expected, found)]
    golden = trials.golden
    repeated = answers(path, golden.tensors, golden.covariates)
    return Variant(
        precision="fp16" if precision == "fp16" else "int8",
        file=path.name,
        method=METHODS[precision, trials.kind],
        n=len(trials.ecg),
        errors=errors(found[mean], expected[mean], expected[sd], Propagation.of(PREDICTED, trials.interval)),
        ood_agreement=float((flags[0] == flags[1]).mean()),
        tolerance={
            name: SAFETY * allclose_tolerance(outputs, getattr(golden, name))
            for name, outputs in zip(OUTPUTS, repeated, strict=True)
        },
        speed=speeds(_graph(full, "fp32", trials), _graph(path, precision, trials), trials.inputs),
    )


def _graph(path: Path, precision: Precision, trials: Trials) -> Graph:
    rows = {name: array.shape[1:] for name, array in trials.inputs.items()}
    return Graph(data=path.read_bytes(), file=str(path), precision=precision, rows=rows)


def errors(found: Floats, expected: Floats, sd: Floats, propagation: Propagation) -> list[VariantError]:
    """By how much every phenotype differs, predicted and derived, as a share of its value and of half its interval.

    Parameters
    ----------
    found, expected, sd : (n, phenotypes) natural logarithms of the variant and of the full graph, and the latter's SD
    """
    theirs, ours = (values(PREDICTED, mean.astype(np.float64), None) for mean in (found, expected))
    logarithms = zip(expected.astype(np.float64), sd.astype(np.float64), strict=True)
    bounds = [propagation.intervals(mean, spread, None) for mean, spread in logarithms]
    stated = []
    for symbol, value in ours.items():
        difference = np.abs(theirs[symbol] - value)
        half = np.array([(high - low) / 2.0 for low, high in (row[symbol] for row in bounds)])
        relative, share = difference / value, difference / half
        stated.append(
            VariantError(
                symbol=symbol, mean=float(relative.mean()), max=float(relative.max()), interval_share=float(share.max())
            )
        )
    return stated


def allclose_tolerance(found: Floats, expected: Floats) -> float:
    """The smallest t for which |found − expected| ≤ t + t · |expected| everywhere."""
    return float((np.abs(found - expected) / (1.0 + np.abs(expected))).max())


def beyond_the_encoder(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that the embedding does not need: heads, covariates, physical scale and distance."""
    makers = {output: node for node in model.graph.node for output in node.output}
    needed, waiting = set(), ["embedding"]
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in needed:
            needed.add(node.name)
            waiting += node.input
    return [node.name for node in model.graph.node if node.name not in needed]


def first_convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions that are spared."""
    return [node.name for node in model.graph.node if node.op_type == "Conv"][:SPARED]


def _halve(full: Path, path: Path) -> None:
    model = onnx.load(full)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of weights that float16 rounds to zero: their effect is measured
        halved = convert_float_to_float16(model, keep_io_types=True, node_block_list=beyond_the_encoder(model))
    onnx.save(halved, path)


def _quantise(full: Path, path: Path, trials: Trials) -> None:
    prepared = path.with_suffix(".prepared")
    quant_pre_process(full, prepared, skip_symbolic_shape=True)
    model = onnx.load(prepared)
    excluded = beyond_the_encoder(model)
    if trials.kind == "conv":
        quantize_static(
            prepared,
            path,
            Feed(trials),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[*excluded, *first_convolutions(model)],
        )
    else:
        quantize_dynamic(
            prepared,
            path,
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=excluded,
        )
    prepared.unlink()


class Feed(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
    """The trials one by one, as ONNX Runtime's calibration asks for them."""

    def __init__(self, trials: Trials) -> None:
        self._left = iter(range(len(trials.ecg)))
        self._trials = trials

    def get_next(self) -> dict[str, Floats] | None:
        """The inputs of the next ECG, or None after the last."""
        row = next(self._left, None)
        if row is None:
            return None
        inputs = {"ecg": self._trials.ecg[row : row + 1]}
        if self._trials.covariates is not None:
            inputs["covariates"] = self._trials.covariates[row : row + 1]
        return inputs
