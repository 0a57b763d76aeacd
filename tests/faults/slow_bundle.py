"""A bundle whose graph takes long over ECGs of large amplitude: seconds, or until somebody ends the process.

It is the released one with a loop before it that adds nothing: what it says of an ECG is what the released one says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle import MODEL, Bundle
from tests.models import bundles

QUIET = 3.0
"""Millivolts up to which an ECG costs nothing more; the golden examples stay below."""

STEEPNESS = 24
"""The loop turns (peak / QUIET) ** STEEPNESS times, of 0.7 µs each."""

SLOW, POISON = 5.2, 8.0
"""Peaks in millivolts: a third of a second, and hours."""


def make(folder: Path) -> Bundle:
    """Write the bundle into a folder, sealed as any other."""
    path = bundles.copy(folder)
    bundles.without_variants(path)
    graph = onnx.load(str(path / MODEL))
    for node in graph.graph.node:
        for position, name in enumerate(node.input):
            if name == "ecg":
                node.input[position] = "ecg_after_loop"
    for node in reversed(_loop()):
        graph.graph.node.insert(0, node)
    graph.graph.initializer.extend(_constants())
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path / MODEL))
    return bundles.reseal(path)


def _constants() -> list[onnx.TensorProto]:
    values = {"quiet": np.float32(QUIET), "steepness": np.float32(STEEPNESS), "go_on": np.bool_(True)}
    return [numpy_helper.from_array(np.array(value), name) for name, value in values.items()]


def _loop() -> list[onnx.NodeProto]:
    """As many turns as the peak says, each of which adds nothing to a zero; then the ECG plus that zero."""
    return [
        helper.make_node("Abs", ["ecg"], ["loop_abs"]),
        helper.make_node("ReduceMax", ["loop_abs"], ["loop_peak"], keepdims=0),
        helper.make_node("Div", ["loop_peak", "quiet"], ["loop_ratio"]),
        helper.make_node("Pow", ["loop_ratio", "steepness"], ["loop_power"]),
        helper.make_node("Cast", ["loop_power"], ["loop_turns"], to=TensorProto.INT64),
        helper.make_node("Sub", ["loop_peak", "loop_peak"], ["loop_zero"]),
        helper.make_node("Loop", ["loop_turns", "go_on", "loop_zero"], ["loop_sum"], body=_body()),
        helper.make_node("Add", ["ecg", "loop_sum"], ["ecg_after_loop"]),
    ]


def _body() -> onnx.GraphProto:
    return helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["condition_after"]),
            helper.make_node("Add", ["sum", "sum"], ["sum_after"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("condition_after", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_after", TensorProto.FLOAT, []),
        ],
    )
