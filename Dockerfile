# syntax=docker/dockerfile:1
# One file, four images: docker build --target app|worker|worker-gpu|training -t ecg2cmr-TARGET .

FROM python:3.11-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 UV_COMPILE_BYTECODE=1 PATH=/opt/venv/bin:$PATH
RUN useradd --create-home --uid 10001 ecg2cmr \
 && install -d -o ecg2cmr -g ecg2cmr /data \
 && python -m venv /opt/venv && pip install --no-cache-dir uv
WORKDIR /srv/ecg2cmr
COPY pyproject.toml README.md LICENSE ./
COPY requirements requirements
COPY app app
COPY worker worker
COPY models models
COPY training training

# The gateway holds no engine: it never runs a model.
FROM base AS app
RUN uv pip install --no-cache --python /opt/venv/bin/python -c requirements/constraints.txt -e '.[parquet,postgres,s3]'
USER ecg2cmr
ENV ECG2CMR_DATA_DIR=/data ECG2CMR_HOST=0.0.0.0
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["ecg2cmr", "serve"]

FROM base AS worker
RUN uv pip install --no-cache --python /opt/venv/bin/python -c requirements/constraints.txt -e '.[cpu]'
USER ecg2cmr
STOPSIGNAL SIGTERM
CMD ["python", "-m", "worker"]

# onnxruntime-gpu brings CUDA and cuDNN as wheels; the host needs the NVIDIA driver and container toolkit only.
FROM base AS worker-gpu
RUN uv pip install --no-cache --python /opt/venv/bin/python -c requirements/constraints-gpu.txt -e '.[gpu]'
USER ecg2cmr
ENV ECG2CMR_PROVIDER=cuda
STOPSIGNAL SIGTERM
CMD ["python", "-m", "worker"]

FROM base AS training
RUN uv pip install --no-cache --python /opt/venv/bin/python -c requirements/constraints.txt -e '.[cpu,train]'
USER ecg2cmr
WORKDIR /data
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]
