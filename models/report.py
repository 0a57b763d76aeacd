"""Everything that crosses a process border: the report of one ECG, the worker's answers, names of task and queues."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

INFER_TASK = "ecg2cmr.infer"
"""Takes a list of `Asked`; the recordings and the answers are on `models.wire.Wire`."""


class Asked(NamedTuple):
    """One job in a message to a worker, under which lease. Monitors of the queue read it, so it holds no more."""

    job_id: str
    ecg_digest: str
    attempt: int


def infer_queue(model_digest: str) -> str:
    """The queue of one model: workers take from that of the bundle they loaded, so that versions never mix."""
    return f"ecg2cmr.infer.{model_digest[:16]}"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Message):
    """Where the CMR value is expected to lie with probability `level`."""

    low: float
    high: float
    level: float = Field(gt=0, lt=1)


class Reference(_Message):
    """The range of healthy people that fits this person."""

    low: float
    high: float
    source: str


class Estimate(_Message):
    """One phenotype as read from the ECG. `derived` ones follow from the predicted ones by definition."""

    symbol: str
    name: str
    value: float
    unit: str
    interval: Interval
    derived: bool
    reference: Reference | None = None
    reference_note: str | None = Field(default=None, description="why there is no reference range, when there is none")


class Abstention(_Message):
    """A phenotype that is withheld, and why."""

    symbol: str
    reason: str


class ConditionEstimate(_Message):
    """A yes-or-no statement with its probability, or why none is given; it agrees with the estimates of the report."""

    code: str
    name: str
    definition: str
    probability: float | None = Field(ge=0, le=1)
    withheld: str | None = Field(default=None, description="why there is no probability, when there is none")


class Finding(_Message):
    """One observation on the quality of the signal."""

    code: str
    severity: Literal["info", "warning", "error"]
    leads: list[str]
    message: str
    value: float | None = None


class QualityReport(_Message):
    """Whether the signal can be read, and what was noticed."""

    usable: bool
    findings: list[Finding]


class EcgMeasurements(_Message):
    """What was read off the ECG with a ruler: beats per minute, milliseconds, degrees; only what was measured."""

    ours: dict[str, float] = Field(description="measured here, on the decoded signal")
    device: dict[str, float] = Field(description="by the electrocardiograph, as the file says")
    statements: list[str] = Field(description="what the electrocardiograph, or a person at it, wrote")


class Ood(_Message):
    """How far the ECG lies from those the model was trained on; `flag` from the threshold of the bundle on."""

    score: float
    flag: bool


class ModelIdentity(_Message):
    """Which model said so. `digest` is the SHA-256 of the bundle's manifest, which holds those of all its files.

    `precision` is the graph of the bundle that spoke; None of a bundle as such, and in reports from before it was said.
    """

    name: str
    version: str
    digest: str
    precision: Literal["fp32", "fp16", "int8"] | None = None


class Inference(_Message):
    """A worker's answer: what the model reads in one ECG."""

    kind: Literal["inference"] = "inference"
    model: ModelIdentity
    estimates: list[Estimate]
    abstained: list[Abstention]
    ood: Ood
    heart_rate: float | None = Field(description="beats per minute, measured on the ECG")
    embedding: list[float]
    notices: list[str]
    conditions: list[ConditionEstimate] = []
    covariates_used: list[str] = Field(default=[], description="what the model read beside the ECG")


class Rejection(_Message):
    """A worker's answer: this model cannot read this ECG. An answer to the sender, not a failure."""

    kind: Literal["rejection"] = "rejection"
    model: ModelIdentity
    code: str
    detail: str


class Failure(_Message):
    """A worker's answer after an attempt that failed: a bug or an outage, which no sender can mend."""

    kind: Literal["failure"] = "failure"
    model: ModelIdentity
    detail: str


class Answer(_Message):
    """The message from a worker to the gateways, keyed by ECG and model digest: a doubled one changes nothing.

    `attempt` is the number of the lease under which the job was sent, where the worker was told it.
    """

    job_id: str
    ecg_digest: str
    seconds: float = Field(ge=0, description="time the worker spent on this ECG")
    outcome: Annotated[Inference | Rejection | Failure, Field(discriminator="kind")]
    attempt: int | None = None


class Started(_Message):
    """What a worker says before it reads an ECG that was sent before in vain: if nothing more is heard, it was lost.

    A first attempt is not announced: it would cost every ECG a message and a transaction.
    """

    job_id: str
    attempt: int


Status = Literal["queued", "done", "rejected", "failed"]


class Report(_Message):
    """The answer about one ECG; every rendering shows this and nothing else."""

    id: str
    status: Status
    model: ModelIdentity | None = None
    estimates: list[Estimate] = []
    abstained: list[Abstention] = []
    conditions: list[ConditionEstimate] = []
    covariates_used: list[str] = Field(default=[], description="what the model read beside the ECG")
    quality: QualityReport
    measurements: EcgMeasurements | None = Field(default=None, description="of the ECG itself, not of the model")
    ood: Ood | None = None
    heart_rate: float | None = None
    reason: str | None = Field(default=None, description="why there are no estimates, when rejected or failed")
    notices: list[str] = []
