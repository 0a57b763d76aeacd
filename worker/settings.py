"""The worker's settings: read once from `ECG2CMR_*`, passed down by argument."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ARTIFACTS = Path(__file__).resolve().parents[1] / "models" / "artifacts"


class Settings(BaseSettings):
    """Everything an operator may set for a worker; each field is the environment variable `ECG2CMR_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="ECG2CMR_", frozen=True, extra="ignore")

    broker_url: str = Field(default="redis://127.0.0.1:6379/0", description="Celery broker.")
    bundle: Path | None = Field(default=None, description="Model bundle to serve. Default: the newest under artifacts.")
    artifacts: Path = Field(default=ARTIFACTS, description="Folder of model bundles: <name>/<version>/.")
    provider: Literal["cpu", "openvino", "cuda", "tensorrt"] = Field(
        default="cpu", description="What runs the model: ONNX Runtime on a CPU or with CUDA or TensorRT, or OpenVINO."
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        default="auto",
        description="Which graph of the bundle to run; auto: the fastest whose measured error is small.",
    )
    tensorrt_cache: Path | None = Field(
        default=None, description="Folder in which TensorRT keeps what it compiled. Default: compiled at each start."
    )
    threads: int = Field(default=os.cpu_count() or 1, ge=1, description="CPU threads of one inference.")
    pool: Literal["solo", "prefork"] = Field(
        default="solo", description="solo: one process, one device. prefork: several CPU processes on one machine."
    )
    processes: int = Field(default=1, ge=1, description="Processes of a prefork pool.")
    visibility_timeout: int = Field(
        default=120, gt=0, description="Seconds after which the broker hands out an unacknowledged job again."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
