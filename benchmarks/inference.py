"""How fast each graph of a bundle is, on what, and what it costs: raw inference, without service or preprocessing.

    .venv/bin/python benchmarks/inference.py [BUNDLE] [--data FOLDER] [--rounds 40] [--threads 1 2] [--batch 1 8 32]

Every precision × provider × threads × batch is called once in each round, in an order of its own; the fastest call of
each counts, since what else runs on a machine only ever adds, and is compared with that of float32 in ONNX Runtime with
as many threads and ECGs. Providers that are not installed are left out. Then, on the real ECGs of LUDB in FOLDER/ludb,
how far answers lie from those of float32 in ONNX Runtime. Then what starting costs, and what storing an optimised graph
would save. Markdown.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.bundle import MODEL, Bundle, Precision, Provider, choose
from models.engine import OUTPUTS, Engine, ProviderError
from models.intervals import Propagation
from models.precision import objections, preferred
from models.runtime import Model, Outputs, graph_of, start, variant_of
from training.realism.real import ludb_recordings
from training.speed import in_turn, processor
from training.variants import errors
from worker.settings import ARTIFACTS

Floats = NDArray[np.float32]
PROVIDERS: tuple[Provider, ...] = ("cpu", "openvino", "cuda", "tensorrt")
GPUS = ("cuda", "tensorrt")
FULL: tuple[Precision, Provider] = ("fp32", "cpu")
STARTS = 7


def precisions(bundle: Bundle) -> list[Precision]:
    """Of all its graphs."""
    return ["fp32", *(variant.precision for variant in bundle.manifest.variants)]


def available() -> Iterator[Provider]:
    """Those on which the shipped bundle's full graph starts here."""
    bundle = choose(None, ARTIFACTS)
    for provider in PROVIDERS:
        try:
            start(graph_of(bundle, None), provider, threads=1)
        except ProviderError:
            continue
        yield provider


def engines(bundle: Bundle, threads: Sequence[int]) -> dict[tuple[Precision, Provider, int], Engine]:
    """One for every graph, provider and number of threads."""
    found = {}
    for provider in available():
        for precision in precisions(bundle):
            graph = graph_of(bundle, None if precision == "fp32" else variant_of(bundle, precision))
            for count in threads[:1] if provider in GPUS else threads:
                found[precision, provider, count] = start(graph, provider, count)
    return found


def speed_table(bundle: Bundle, threads: Sequence[int], batches: Sequence[int], rounds: int) -> str:
    """ECG/s and ms for one ECG of every combination."""
    running = engines(bundle, threads)
    ecgs = {batch: np.resize(bundle.golden.tensors, (batch, *bundle.golden.tensors.shape[1:])) for batch in batches}
    calls = {
        (*key, batch): partial(engine.run, inputs(bundle, ecg))
        for batch, ecg in ecgs.items()
        for key, engine in running.items()
    }
    taken = {key: 1000 * min(seconds) for key, seconds in in_turn(calls, rounds).items()}
    rows = []
    for (precision, provider, count, batch), value in taken.items():
        full = taken.get((*FULL, count, batch))
        faster = "" if full is None else f"{full / value:.2f}"
        rows.append((provider, precision, count, batch, f"{value / batch:.2f}", f"{1000 * batch / value:.0f}", faster))
    return markdown(("provider", "graph", "threads", "batch", "ms/ECG", "ECG/s", "× fp32 on cpu"), rows)


def inputs(bundle: Bundle, ecg: Floats) -> dict[str, Floats]:
    """With nothing known of anybody."""
    size = len(bundle.manifest.input.covariates)
    return {"ecg": ecg} | ({"covariates": np.full((len(ecg), size), np.nan, np.float32)} if size else {})


def error_table(bundle: Bundle, ecg: Floats) -> str:
    """How far every graph lies from the full one on real ECGs, and golden examples from what training recorded."""
    full = Model.load(bundle, provider="cpu", threads=1).run(ecg)
    symbols = tuple(output.symbol for output in bundle.manifest.outputs)
    propagation = Propagation.of(symbols, bundle.manifest.interval)
    threshold = bundle.manifest.ood.threshold
    rows = []
    for provider in available():
        for precision in precisions(bundle):
            model = Model.load(bundle, provider=provider, threads=1, precision=precision)
            found = model.run(ecg)
            stated = errors(found.mean, full.mean, full.sd, propagation)
            largest = max(stated, key=lambda error: error.max)
            share = max(stated, key=lambda error: error.interval_share or 0.0)
            kept = float(((found.ood >= threshold) == (full.ood >= threshold)).mean())
            rows.append(
                (provider, precision, f"{least_cosine(found, full):.5f}", f"{largest.symbol} {largest.max:.3%}",
                 f"{share.symbol} {share.interval_share:.2%}", f"{kept:.1%}", f"{golden_difference(model):.1e}")
            )  # fmt: skip
    heads = ("provider", "graph", "least cosine of the embedding", "largest error", "largest, of half the interval")
    return markdown((*heads, "flags kept", "golden examples"), rows)


def least_cosine(found: Outputs, full: Outputs) -> float:
    """Of the two embeddings of one ECG."""
    a, b = found.embedding, full.embedding
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def golden_difference(model: Model) -> float:
    """The smallest t for which |found − expected| ≤ t + t · |expected| in every output: what the tolerance allows."""
    golden = model.bundle.golden
    found = model.run(golden.tensors, golden.covariates)
    pairs = ((getattr(found, name), getattr(golden, name)) for name in OUTPUTS)
    return max(float((np.abs(ours - theirs) / (1.0 + np.abs(theirs))).max()) for ours, theirs in pairs)


def start_table(bundle: Bundle) -> str:
    """Milliseconds to start each graph in ONNX Runtime: optimised at load, not at all, and stored optimised."""
    rows = []
    for precision in precisions(bundle):
        file = MODEL if precision == "fp32" else variant_of(bundle, precision).file
        graph = bundle.read(file)
        optimised = stored_optimised(graph)
        calls: dict[tuple[object, ...], Callable[[], object]] = {
            ("load",): partial(session, graph, optimise=True),
            ("off",): partial(session, graph, optimise=False),
            ("stored",): partial(session, optimised, optimise=False),
        }
        rows.append((precision, *(f"{1000 * min(seconds):.1f}" for seconds in in_turn(calls, STARTS).values())))
    return markdown(("graph", "optimised at load (as it is), ms", "never optimised, ms", "stored optimised, ms"), rows)


def stored_optimised(graph: bytes) -> bytes:
    """The graph as ONNX Runtime optimised it for this processor."""
    with tempfile.TemporaryDirectory() as folder:
        session(graph, optimise=True, path=f"{folder}/optimised.onnx")
        return Path(folder, "optimised.onnx").read_bytes()


def session(graph: bytes, *, optimise: bool, path: str = "") -> onnxruntime.InferenceSession:
    """Of ONNX Runtime on one thread; with a path, the optimised graph is written there."""
    levels, options = onnxruntime.GraphOptimizationLevel, onnxruntime.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if path:
        options.optimized_model_filepath = path
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def choice(bundle: Bundle) -> str:
    """What a worker runs that is not told otherwise, and why not the others."""
    lines = []
    for provider in available():
        why = "; ".join(
            f"not {precision}: {reason}" for precision, reason in objections(bundle.manifest, provider).items()
        )
        lines.append(f"- {provider}: **{preferred(bundle.manifest, provider)[0]}**. {why}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("bundle", type=Path, nargs="?", help="default: the newest under models/artifacts")
    arguments.add_argument("--data", type=Path, default=os.environ.get("ECG2CMR_SHARED_DATA"), help="holds ludb/")
    arguments.add_argument("--rounds", type=int, default=40)
    arguments.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    arguments.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    arguments.add_argument("--out", type=Path)
    chosen = arguments.parse_args()
    bundle = choose(chosen.bundle, ARTIFACTS)
    parts = [
        f"{bundle.manifest.name} {bundle.manifest.version} on {processor()}; "
        f"fastest of {chosen.rounds} calls in turn; load before {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n",
        speed_table(bundle, chosen.threads, chosen.batch, chosen.rounds),
    ]
    real = [recording for _, recording in ludb_recordings(Path(chosen.data) / "ludb")] if chosen.data else []
    if real:
        parts += [f"{len(real)} ECGs of LUDB:\n", error_table(bundle, np.stack([*map(bundle.preprocessing, real)]))]
    parts += ["Starting:\n", start_table(bundle), "`ECG2CMR_PRECISION=auto` runs\n", choice(bundle)]
    print(text := "\n".join(parts))
    if chosen.out:
        chosen.out.write_text(text)


if __name__ == "__main__":
    main()
