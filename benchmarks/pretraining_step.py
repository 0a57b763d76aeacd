"""Pairs that a contrastive step takes per second, against a plain implementation of the paper's published structure.

Run it on a quiet machine: ``python benchmarks/pretraining_step.py``. Both train the same ECG encoder by AdamW, in
turns, so that a burst of other work hits both. The plain one runs a frozen 3-D ResNet-50 for each phase at every step
(the pathway "slow" of Feichtenhofer et al., ICCV 2019, with one channel), a trainable layer 2048 to 768 after it,
heads of two layers and a fixed temperature of 0.07; it augments nothing, and its volumes wait in memory as float32.
Ours reads ECGs and cached features of the CMR encoders from mapped files and augments every ECG. Filling that cache is
done once in a training and told apart. Random data: the time does not depend on it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import torch
from rich.progress import Progress
from torch import Generator, Tensor, nn
from torch.nn import functional

from training.cmr_encoder import build_cmr_encoder
from training.config import Recipe
from training.dataset import Dataset
from training.ecg_encoder import PRESETS, EcgEncoder, build_ecg_encoder
from training.grid import SHAPE
from training.pretrain import Aligned, Source, step
from training.run import Run

GOAL = 3.0
"""Times the pairs per second of the plain implementation."""

PAPER = (6, 85, 92)
"""Slices, rows, columns that the paper's public code crops to."""

PARTICIPANTS = 256

OURS = "ours"


class Bottleneck(nn.Module):
    """Three convolutions, the first over `length` frames, and a way around them (He et al., CVPR 2016)."""

    def __init__(self, into: int, inner: int, length: int, stride: int) -> None:
        super().__init__()
        out = 4 * inner
        self.path = nn.Sequential(
            *convolved(into, inner, (length, 1, 1), (1, 1, 1)),
            nn.ReLU(),
            *convolved(inner, inner, (1, 3, 3), (1, stride, stride)),
            nn.ReLU(),
            *convolved(inner, out, (1, 1, 1), (1, 1, 1)),
        )
        changed = into != out or stride > 1
        self.around = nn.Sequential(*convolved(into, out, (1, 1, 1), (1, stride, stride)) if changed else ())

    def forward(self, x: Tensor) -> Tensor:
        """(batch, into, slices, rows, columns) to (batch, 4 · inner, …)."""
        return functional.relu(self.path(x) + self.around(x))


def convolved(into: int, out: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> list[nn.Module]:
    """A convolution that keeps the size but for its stride, normalised."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return [nn.Conv3d(into, out, kernel, stride, padding, bias=False), nn.BatchNorm3d(out)]


def slow_resnet50() -> nn.Sequential:
    """(batch, 1, slices, rows, columns) to (batch, 2048, slices, 1, 1); two of four stages see other slices."""
    layers = [*convolved(1, 64, (1, 7, 7), (1, 2, 2)), nn.ReLU(), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))]
    into = 64
    for inner, blocks, length in ((64, 3, 1), (128, 4, 1), (256, 6, 3), (512, 3, 3)):
        for position in range(blocks):
            layers.append(Bottleneck(into, inner, length, 2 if position == 0 and inner > 64 else 1))
            into = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d((None, 1, 1)))


def perceptron(into: int, hidden: int, out: int) -> nn.Sequential:
    """Two layers."""
    return nn.Sequential(nn.Linear(into, hidden), nn.GELU(), nn.Linear(hidden, out))


class Plain(nn.Module):
    """The structure of the published code: everything frozen is computed again at every step."""

    def __init__(self, encoder: EcgEncoder, embedding: int, slices: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.frozen = nn.ModuleList(slow_resnet50() for _ in range(2)).requires_grad_(False).eval()
        self.depth = nn.ModuleList(nn.Linear(slices, 1) for _ in range(2)).requires_grad_(False)
        self.last = nn.ModuleList(nn.Linear(2048, 768) for _ in range(2))
        self.heads = nn.ModuleList(perceptron(768, 768, 128) for _ in range(2))
        self.head = perceptron(embedding, 432, 128)

    def forward(self, ecg: Tensor, volumes: list[Tensor]) -> Tensor:
        """A third of CLIP(ECG, ED), CLIP(ECG, ES) and CLIP(ED, ES) each."""
        found = [functional.normalize(self.head(self.encoder.features(ecg)), dim=-1)]
        for phase, volume in enumerate(volumes):
            with torch.no_grad():
                features = self.depth[phase](self.frozen[phase](volume).flatten(2)).squeeze(-1)
            found.append(functional.normalize(self.heads[phase](self.last[phase](features)), dim=-1))
        own = torch.arange(len(ecg))
        terms = []
        for a, b in ((0, 1), (0, 2), (1, 2)):
            logits = found[a] @ found[b].T / 0.07
            terms.append((functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2)
        return torch.stack(terms).mean()


def optimised(net: nn.Module, descend: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
    """A whole step: gradients, then AdamW."""
    optimiser = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-4, betas=(0.9, 0.95))

    def whole(rows: Tensor) -> None:
        optimiser.zero_grad()
        descend(rows)
        optimiser.step()

    return whole


def mapped(folder: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    """Random numbers in a file, mapped into memory."""
    np.save(folder / f"{name}.npy", np.random.default_rng(0).standard_normal(shape, np.float32))
    return torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="r+"))


def data_set(folder: Path, recipe: Recipe) -> Dataset:
    """What the contrastive stage reads of a data set."""
    samples = recipe.preprocessing.samples // recipe.ecg.decimation
    everybody = torch.arange(PARTICIPANTS)
    read = SimpleNamespace(
        ecg=mapped(folder, "ecg", (PARTICIPANTS, 12, samples)),
        targets=torch.zeros(PARTICIPANTS, 7),
        participants=everybody,
        parts={"validation": everybody[:1]},
        labelled=everybody,
        cine=None,
        sampling_rate=recipe.preprocessing.sampling_rate / recipe.ecg.decimation,
    )
    return cast(Dataset, read)


def ours(data: Dataset, recipe: Recipe, folder: Path) -> tuple[Callable[[Tensor], None], Source]:
    """Our step, and where its batches come from."""
    size = build_cmr_encoder(recipe.cmr, ["ed", "es"]).size
    anchors = {name: mapped(folder, name, (PARTICIPANTS, size)) for name in ("ed", "es")}
    source = Source.of(data, anchors, recipe, Run(progress=Progress(disable=True)))
    net = Aligned(build_ecg_encoder(recipe.ecg), recipe, dict.fromkeys(anchors, size)).train()
    descend = step(net, source, Generator().manual_seed(0))
    return optimised(net, lambda rows: cast(None, descend(rows))), source


def plain(data: Dataset, recipe: Recipe, shape: tuple[int, ...]) -> Callable[[Tensor], None]:
    """The plain step on volumes of a shape; they are the same for all participants, to save memory."""
    net = Plain(build_ecg_encoder(recipe.ecg), recipe.ecg.embedding, shape[0])
    net.encoder.train()
    volumes = [torch.rand(1, 1, *shape) for _ in range(2)]

    def descend(rows: Tensor) -> None:
        net(data.ecg[rows], [volume.repeat(len(rows), 1, 1, 1, 1) for volume in volumes]).backward()

    return optimised(net, descend)


def rounds(steps: dict[str, Callable[[Tensor], None]], batch: int, count: int) -> dict[str, list[float]]:
    """Pairs per second of each, in turns; a first step of each is not counted, and ours takes five in its turn."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(count + 1):
        for name, whole in steps.items():
            batches = [torch.randperm(PARTICIPANTS)[:batch] for _ in range(5 if name == OURS and turn else 1)]
            started = time.perf_counter()
            for rows in batches:
                whole(rows)
            if turn:
                found[name].append(batch * len(batches) / (time.perf_counter() - started))
    return found


def loading(source: Source, batch: int, pairs_per_second: float) -> tuple[float, float]:
    """Shares of our step that reading takes, and reading with augmentation."""
    generator, times = Generator().manual_seed(0), {"read": 0.0, "augmented": 0.0}
    for _ in range(20):
        rows = torch.randperm(PARTICIPANTS)[:batch]
        for name, batch_of in (("read", source.plain), ("augmented", lambda r: source.augmented(r, generator))):
            started = time.perf_counter()
            batch_of(rows)
            times[name] += (time.perf_counter() - started) / 20
    return times["read"] * pairs_per_second / batch, times["augmented"] * pairs_per_second / batch


@torch.no_grad()
def filling(recipe: Recipe) -> float:
    """Milliseconds for the cached features of one participant, both phases; once in a training."""
    encoder = build_cmr_encoder(recipe.cmr, ["ed", "es"]).eval()
    volumes = torch.rand(32, *SHAPE)
    encoder(volumes, "ed")
    started = time.perf_counter()
    for anchor in ("ed", "es"):
        encoder(volumes, anchor)
    return 1000 * (time.perf_counter() - started) / len(volumes)


def show(found: dict[str, list[float]]) -> None:
    """A line for each."""
    for name, speeds in found.items():
        ratio = np.median([own / other for own, other in zip(found[OURS], speeds, strict=True)])
        verdict = "" if name == OURS else f", ours is {ratio:.1f} times as fast (goal: {GOAL:.0f})"
        print(f"{name:<32} {np.median(speeds):8.2f} pairs/s ({min(speeds):.2f} to {max(speeds):.2f}){verdict}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ecg", choices=sorted(PRESETS), default="conv")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    torch.manual_seed(0)
    recipe = replace(Recipe(), ecg=PRESETS[said.ecg])
    recipe = replace(recipe, contrast=replace(recipe.contrast, between=1.0))  # the three terms of the paper
    with tempfile.TemporaryDirectory() as folder:
        data = data_set(Path(folder), recipe)
        fast, source = ours(data, recipe, Path(folder))
        others = {f"plain, volumes of {shape}": plain(data, recipe, shape) for shape in (PAPER, SHAPE)}
        found = rounds({OURS: fast} | others, said.batch, said.rounds)
        print(f"{said.ecg}, batches of {said.batch}, {said.threads} thread(s), {said.rounds} rounds")
        show(found)
        read, augmented = loading(source, said.batch, float(np.median(found[OURS])))
    print(f"data loading: {100 * read:.1f} % of our step is reading, {100 * augmented:.1f} % with augmentation")
    print(f"filling the cache, once in a training: {filling(recipe):.1f} ms a participant")


if __name__ == "__main__":
    main()
