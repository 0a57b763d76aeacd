"""A model bundle: a directory whose manifest states every number a model needs; what fails to verify does not load."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from models.conditions import CONDITIONS
from models.covariates import Covariate
from models.ecg.preprocess import Preprocessing
from models.ecg.recording import LEADS, Recording
from models.report import ModelIdentity

MANIFEST, MODEL, GOLDEN, CARD = "manifest.json", "model.onnx", "golden.npz", "MODEL_CARD.md"

Precision = Literal["fp32", "fp16", "int8"]
"""In which numbers a graph of a bundle computes."""

Provider = Literal["cpu", "openvino", "cuda", "tensorrt"]
"""What computes it: ONNX Runtime on a CPU, OpenVINO on a CPU, ONNX Runtime with CUDA or TensorRT on a GPU."""


class BundleError(Exception):
    """A bundle that must not be served; the message says which check failed and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PreprocessingNumbers(_Part):
    """The numbers of `Preprocessing`: they stand here and nowhere else."""

    sampling_rate: float
    duration: float
    high_pass: float
    low_pass: float
    order: int


class CovariateInput(_Part):
    """Something that the model reads beside the ECG, as `models.covariates` writes it; NaN where it is unknown.

    `mean` and `sd` are those of the training data (they are folded into the graph and stand here for the reader).
    """

    name: Covariate
    mean: float
    sd: float


class Input(_Part):
    """What the model reads: (batch, 12, samples) float32, and (batch, covariates) float32 where it reads any."""

    leads: tuple[str, ...]
    unit: Literal["mV"]
    min_duration: float = Field(description="seconds of signal below which the model was never trained")
    preprocessing: PreprocessingNumbers
    covariates: list[CovariateInput] = []


class Output(_Part):
    """One predicted phenotype: the network gives mean and SD of its natural logarithm.

    `log_mean` and `log_sd` are those of the training targets (they are folded into the graph and stand here for the
    reader); a prediction outside `trained_range` is withheld.
    """

    symbol: str
    unit: str
    log_mean: float
    log_sd: float
    trained_range: tuple[float, float]


class SubgroupCoverage(_Part):
    """What share of one group of the test split the intervals of one phenotype covered."""

    group: str
    symbol: str
    n: int
    coverage: float


class Intervals(_Part):
    """How intervals are made: correlated log-normal errors, propagated by sampling, then stretched to their coverage.

    `correlation` is that of the standardised log errors on the calibration split, in the order of the outputs;
    `stretch` the split-conformal factor of each phenotype, predicted and derived; `coverage` what the stretched
    intervals then covered on the test split, which neither fitted nor stretched them.
    """

    level: float
    method: str
    draws: int
    seed: int
    correlation: list[list[float]]
    stretch: dict[str, float]
    coverage: dict[str, float]
    subgroups: list[SubgroupCoverage] = []


class OutOfDistribution(_Part):
    """The score is the root mean square of the whitened embedding; ECGs from `threshold` on are flagged."""

    method: str
    threshold: float
    quantiles: dict[str, float]


class Embedding(_Part):
    """The pooled representation of the ECG that the estimates are read from."""

    size: int


class Performance(_Part):
    """One phenotype in one group of the test split, beside what predicting the mean would score.

    `r2_interval` is a bootstrap over participants, 95 %; `ceiling` the R² that the noise of ECG and CMR leaves to the
    best model there could be.
    """

    group: str
    symbol: str
    unit: str
    n: int
    r2: float
    r: float
    mae: float
    mean_predictor_mae: float
    target_sd: float
    bias: float
    limits_of_agreement: tuple[float, float]
    r2_interval: tuple[float, float] | None = None
    ceiling: float | None = None


class Discrimination(_Part):
    """How well the test split's estimates rank a condition, e.g. "LVEF <= 40"; area under the ROC curve."""

    group: str
    condition: str
    n: int
    positives: int
    auroc: float


class ConditionModel(_Part):
    """How one condition of `models.conditions` becomes a probability, and what that is worth on the test split.

    The probability is the logistic function of `slope` · score + `intercept`, fitted on the calibration split (Platt,
    1999). `calibration_slope` and `calibration_intercept` refit the same two numbers to the logit of the probability on
    the test split: 1 and 0 are perfect.
    """

    code: str
    slope: float = Field(gt=0)
    intercept: float
    n: int
    positives: int
    prevalence: float
    auroc: float
    brier: float
    calibration_slope: float
    calibration_intercept: float


class VariantError(_Part):
    """By how much a variant's values differ from those of the full graph, as a share of them.

    `interval_share` is the largest difference again, as a share of half the width of the interval that the full graph
    gives that ECG: how much of what is uncertain anyway the fewer bits may move.
    """

    symbol: str
    mean: float
    max: float
    interval_share: float | None = None


class Speed(_Part):
    """How fast a variant was when it was exported: `ratio` times as fast as the full graph, called in turn with it.

    `milliseconds` is the lower quartile of `rounds` calls with `batch` ECGs on `threads` threads, and `ratio` that of
    the quartiles. Both hold for processors like this one.
    """

    provider: Provider
    ratio: float = Field(gt=0)
    milliseconds: float
    batch: int
    threads: int
    rounds: int
    engine: str
    processor: str


class Variant(_Part):
    """The same network in fewer bits, and what that costs, measured on `n` ECGs of the calibration split.

    `ood_agreement` is the share of these ECGs that get the same out-of-distribution flag; `tolerance` by how much each
    output of the golden examples may differ, absolutely and relatively, from what the full network answered.
    """

    precision: Literal["fp16", "int8"]
    file: str
    method: str
    n: int
    errors: list[VariantError]
    ood_agreement: float
    tolerance: dict[str, float]
    speed: list[Speed] = []


class Retrieval(_Part):
    """How often a heart's own partner is among the first k of the test split, by k: `query` looks among `gallery`."""

    query: str
    gallery: str
    n: int
    recall: dict[str, float]
    chance: dict[str, float]


class Manifest(_Part):
    """Everything about a model that is not its weights. Unknown keys are refused."""

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    created: str
    licence: str
    simulated: bool
    intended_use: str
    limits: list[str]
    notices: list[str]
    min_age: float = Field(description="years; below, everything is withheld")
    input: Input
    outputs: list[Output]
    interval: Intervals
    embedding: Embedding
    ood: OutOfDistribution
    training: dict[str, JsonValue]
    performance: list[Performance]
    discrimination: list[Discrimination] = []
    retrieval: list[Retrieval] = []
    conditions: list[ConditionModel] = []
    opset: int | None = Field(default=None, description="of ONNX, in which the graph is written")
    variants: list[Variant] = []
    files: dict[str, str] = Field(description="file name -> SHA-256, of every file but the manifest")


@dataclass(frozen=True, eq=False, kw_only=True)
class Golden:
    """Examples that were made when training started; a model that does not reproduce them is not that model.

    Attributes
    ----------
    recordings : list of Recording
    tensors : (n, 12, samples) float32, what preprocessing made of them then
    embedding, mean, sd, ood : what the trained network answered, (n, d), (n, k), (n, k), (n,)
    covariates : (n, c) float32 that it was told beside the ECG, NaN where nothing; None where it reads none
    """

    recordings: list[Recording]
    tensors: NDArray[np.float32]
    embedding: NDArray[np.float32]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    ood: NDArray[np.float32]
    covariates: NDArray[np.float32] | None = None

    def save(self, path: Path) -> None:
        """Write the examples as compressed arrays; recordings as microvolts in float32, rates beside them."""
        arrays: dict[str, NDArray[np.float32]] = {
            f"recording_{i}": np.asarray(r.signal * 1000.0, np.float32) for i, r in enumerate(self.recordings)
        }
        if self.covariates is not None:
            arrays["covariates"] = self.covariates
        np.savez_compressed(
            path,
            **arrays,  # type: ignore[arg-type]  # numpy's stub takes these keywords for allow_pickle
            sampling_rate=np.array([r.sampling_rate for r in self.recordings]),
            tensors=self.tensors,
            embedding=self.embedding,
            mean=self.mean,
            sd=self.sd,
            ood=self.ood,
        )

    @classmethod
    def load(cls, path: Path) -> Golden:
        """Read what `save` wrote; no pickle is ever opened."""
        with np.load(path, allow_pickle=False) as stored:
            rates = stored["sampling_rate"]
            recordings = [
                Recording(signal=stored[f"recording_{i}"].astype(np.float64) / 1000.0, sampling_rate=float(rate))
                for i, rate in enumerate(rates)
            ]
            return cls(
                recordings=recordings,
                covariates=stored.get("covariates"),
                **{k: stored[k] for k in ("tensors", "embedding", "mean", "sd", "ood")},
            )


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle directory."""

    path: Path
    manifest: Manifest
    digest: str

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Read and verify a bundle: manifest strict, every file present, no file more, all digests right.

        Raises
        ------
        BundleError
            With the failed check.
        """
        try:
            raw = (path / MANIFEST).read_bytes()
        except OSError as error:
            raise BundleError(f"{path} is no model bundle: {MANIFEST} cannot be read ({error.strerror})") from error
        try:
            manifest = Manifest.model_validate_json(raw)
        except ValidationError as error:
            raise BundleError(f"{path / MANIFEST} is not a valid manifest:\n{error}") from error
        _verify_files(path, manifest)
        _verify_consistency(path, manifest)
        return cls(path, manifest, hashlib.sha256(raw).hexdigest())

    def read(self, name: str) -> bytes:
        """One file of the bundle, verified again: what is used is what was checked.

        Raises
        ------
        BundleError
            If the file has changed since the bundle was opened.
        """
        data = (self.path / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != self.manifest.files[name]:
            raise BundleError(f"{self.path / name} has changed since the bundle was opened")
        return data

    @property
    def identity(self) -> ModelIdentity:
        """Name, version and digest, as every report states them."""
        return ModelIdentity(name=self.manifest.name, version=self.manifest.version, digest=self.digest)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The one preprocessing, with the numbers of this bundle."""
        return Preprocessing(**self.manifest.input.preprocessing.model_dump())

    @cached_property
    def golden(self) -> Golden:
        """The examples to be replayed at load."""
        return Golden.load(self.path / GOLDEN)


def _verify_files(path: Path, manifest: Manifest) -> None:
    stated = set(manifest.files)
    missing_entries = {MODEL, GOLDEN, CARD} - stated
    if missing_entries:
        raise BundleError(f"{path / MANIFEST} states no digest for {', '.join(sorted(missing_entries))}")
    present = {str(p.relative_to(path)) for p in path.rglob("*") if not p.is_dir()} - {MANIFEST}
    if present != stated:
        raise BundleError(
            f"{path} holds other files than its manifest states: "
            f"missing {sorted(stated - present)}, unexpected {sorted(present - stated)}"
        )
    for name, digest in manifest.files.items():
        if hashlib.sha256((path / name).read_bytes()).hexdigest() != digest:
            raise BundleError(f"{path / name} is not the file that was released: its SHA-256 differs from the manifest")


def _verify_consistency(path: Path, manifest: Manifest) -> None:
    if manifest.input.leads != LEADS:
        raise BundleError(f"{path / MANIFEST}: leads must be {LEADS}, in this order")
    k = len(manifest.outputs)
    unlisted = {variant.file for variant in manifest.variants} - set(manifest.files)
    if unlisted:
        raise BundleError(f"{path / MANIFEST} states no digest for {', '.join(sorted(unlisted))}")
    unknown = {condition.code for condition in manifest.conditions} - set(CONDITIONS)
    if unknown:
        raise BundleError(f"{path / MANIFEST}: this version defines no condition {', '.join(sorted(unknown))}")
    if len(manifest.interval.correlation) != k or any(len(row) != k for row in manifest.interval.correlation):
        raise BundleError(f"{path / MANIFEST}: the correlation matrix must be {k} x {k}, as there are {k} outputs")


def find(artifacts: Path) -> list[Bundle]:
    """All bundles below an artifacts directory (`<name>/<version>/manifest.json`), verified, newest version last."""
    bundles = [Bundle.open(p.parent) for p in artifacts.glob(f"*/*/{MANIFEST}")]
    return sorted(bundles, key=lambda b: (b.manifest.name, tuple(int(n) for n in b.manifest.version.split("."))))


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def choose(bundle: Path | None, artifacts: Path) -> Bundle:
    """The bundle to serve: the one named, else the newest version under `artifacts`.

    Raises
    ------
    BundleError
        If it does not verify, if there is none, or if `artifacts` holds several models and none is named.
    """
    if bundle is not None:
        return Bundle.open(bundle)
    found = find(artifacts)
    names = {b.manifest.name for b in found}
    if len(names) != 1:
        raise BundleError(
            f"{artifacts} holds {len(names)} models ({', '.join(sorted(names)) or 'none'}): set ECG2CMR_BUNDLE"
        )
    return found[-1]
