"""The worker's settings: read once from `ECG2CMR_*`, passed down by argument."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.wire import BROKER

ARTIFACTS = Path(__file__).resolve().parents[1] / "models" / "artifacts"


class Settings(BaseSettings):
    """Everything an operator may set for a worker; each field is the environment variable `ECG2CMR_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="ECG2CMR_", frozen=True, extra="ignore", hide_input_in_errors=True)

    broker_url: str = Field(default="redis://127.0.0.1:6379/0", pattern=BROKER, description="Redis or Valkey.")
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
    threads: int = Field(
        default=os.cpu_count() or 1, ge=1, description="CPU cores: ECGs read at once, or threads of one that is alone."
    )
    pool: Literal["threads", "prefork"] = Field(
        default="threads", description="threads: one process. prefork: several CPU processes on one machine."
    )
    processes: int = Field(default=1, ge=1, description="Processes of a prefork pool.")
    messages: int = Field(default=2, ge=1, description="Messages worked on at once by the threads of one process.")
    prefetch: int = Field(default=2, ge=1, description="Messages taken from the broker for each that is worked on.")
    visibility_timeout: int = Field(
        default=10, ge=2, description="Seconds after which a message that was not worked off is handed out again."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def patience(self) -> float:
        """Seconds that one message may be read: a worker still at it ends, before the message is handed out again."""
        return 0.8 * self.visibility_timeout
