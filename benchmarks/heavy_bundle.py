"""A bundle of a heavier model: a preset of the ECG encoders with random weights behind the released manifest.

It says nothing about hearts; it takes as long as a trained one of its size, and keeps the contract of a bundle.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any  # what a manifest holds, JSON in JSON

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from models.bundle import CARD, GOLDEN, MANIFEST, MODEL, Bundle
from training.ecg_encoder import PRESETS, build_ecg_encoder
from training.graph import OUTPUTS, write_onnx


class Heavy(nn.Module):
    """Encoder and linear heads; its estimates stay near the means of the manifest, so that all of them are given."""

    def __init__(self, preset: str, bundle: Bundle) -> None:
        super().__init__()
        widths, outputs = PRESETS[preset], bundle.manifest.outputs
        self.encoder = build_ecg_encoder(widths)
        self.head = nn.Linear(widths.embedding, len(outputs))
        self.register_buffer("log_mean", torch.tensor([output.log_mean for output in outputs]))
        self.network = SimpleNamespace(columns=())  # it reads nothing beside the ECG

    def forward(self, ecg: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(n, 12, samples) to embedding, mean, SD and distance."""
        embedding = self.encoder(ecg)
        mean = self.log_mean + 0.001 * torch.tanh(self.head(embedding))
        return embedding, mean, 0.1 + 0.0 * mean, torch.linalg.vector_norm(embedding, dim=-1) * 0.0


def make(preset: str, released: Bundle, folder: Path) -> Bundle:
    """Write the bundle of a preset into an empty folder, and open it as any other."""
    torch.manual_seed(0)
    heavy = Heavy(preset, released).eval()
    write_onnx(heavy, released.preprocessing.samples, folder / MODEL)  # type: ignore[arg-type]  # of the same form
    shutil.copy(released.path / CARD, folder / CARD)
    session = onnxruntime.InferenceSession(folder / MODEL)
    answers = session.run(list(OUTPUTS), {"ecg": released.golden.tensors})
    replace(released.golden, **dict(zip(OUTPUTS, answers, strict=True)), covariates=None).save(folder / GOLDEN)
    manifest: dict[str, Any] = json.loads((released.path / MANIFEST).read_bytes())
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (MODEL, GOLDEN, CARD)}
    manifest |= {"name": preset, "variants": [], "files": files, "embedding": {"size": int(np.shape(answers[0])[1])}}
    manifest["ood"]["threshold"] = 1.0
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return Bundle.open(folder)
