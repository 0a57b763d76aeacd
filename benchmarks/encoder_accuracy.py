"""What each ECG encoder reaches when it is trained from scratch on the same hearts, in float32 and in int8.

    .venv/bin/python benchmarks/encoder_accuracy.py COHORT --out runs/encoders [--only conv vit-tiny-12x50 …]

The arm "from scratch" of training/recipes/ablation.toml on the first 4,000 participants, one seed, for every encoder
but that transformers learn at a quarter of the rate. An encoder that is in OUT/accuracy.json is not trained again. Mean
R² over all phenotypes but cardiac output, of the test part. Then:

    .venv/bin/python benchmarks/encoders.py --accuracy runs/encoders/accuracy.json --out docs/encoders
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from models.bundle import Bundle, Performance
from models.runtime import Model
from training.arms import SCRATCH, arms
from training.checkpoint import Checkpoint
from training.cohort import Cohort, first_of
from training.comparison import EVERY
from training.config import Recipe, read_recipe
from training.dataset import prepare
from training.ecg_encoder import PRESETS
from training.evaluate import Predictions, performances
from training.export import export
from training.run import Run
from training.terminal import progress_bars
from training.train import train

RECIPE = Path(__file__).parents[1] / "training" / "recipes" / "ablation.toml"
SLOWER = 0.25
BATCH = 32


def recipe_of(name: str) -> Recipe:
    """The same training for every encoder."""
    scratch = replace(arms(read_recipe(RECIPE), 1.0)[SCRATCH], ecg=PRESETS[name])
    if PRESETS[name].kind == "conv":
        return scratch
    return replace(
        scratch, finetuning=replace(scratch.finetuning, learning_rate=SLOWER * scratch.finetuning.learning_rate)
    )


def mean_r2(rows: Iterable[Performance]) -> float:
    """Over the phenotypes, everybody."""
    return float(np.mean([row.r2 for row in rows if row.group == "all" and row.symbol in EVERY]))


def r2_in_eight_bits(checkpoint: Checkpoint, cohort: Cohort, run: Run, folder: Path) -> float:
    """Of the int8 graph that `export` makes, run over the test part as a worker runs it."""
    shutil.rmtree(folder, ignore_errors=True)
    bundle = Bundle.open(export(checkpoint, folder, ("int8",)))
    model = Model.load(bundle, provider="cpu", threads=torch.get_num_threads(), precision="int8")
    data = prepare(cohort, checkpoint.recipe, run.progress)
    rows = data.parts["test"].numpy()
    parts = [
        model.run(np.stack([bundle.preprocessing(cohort.recording(int(row))) for row in part]))
        for part in np.array_split(rows, -(-len(rows) // BATCH))
    ]
    test = Predictions(
        mean=np.concatenate([part.mean for part in parts]).astype(np.float64),
        sd=np.concatenate([part.sd for part in parts]).astype(np.float64),
        heart_rate=cohort.heart_rate[rows],
        truth=cohort.phenotypes[rows],
    )
    train_truth = cohort.phenotypes[data.labelled.numpy()]
    return mean_r2(performances(test, {"all": np.ones(len(rows), bool)}, train_truth, smallest=1))


def main() -> None:
    """Train, measure, and write OUT/accuracy.json after each encoder."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("cohort", type=Path)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--participants", type=int, default=4000)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--only", nargs="*", choices=PRESETS, default=["conv-narrow", "conv", "conv-wide"])
    chosen = arguments.parse_args()
    torch.set_num_threads(chosen.threads)
    cohort = first_of(chosen.cohort, chosen.participants)
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / "accuracy.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    with progress_bars() as progress:
        for name in chosen.only:
            if name not in found:
                run = Run(progress=progress)
                checkpoint = train(cohort, chosen.out / name, recipe_of(name), run)
                in_eight_bits = r2_in_eight_bits(checkpoint, cohort, run, chosen.out / name / "artifacts")
                found[name] = {"r2": mean_r2(checkpoint.evaluation.performance), "r2_int8": in_eight_bits}
                path.write_text(json.dumps(found, indent=1))
    print(path.read_text())


if __name__ == "__main__":
    main()
