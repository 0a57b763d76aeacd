"""The worker: Celery tasks around one ONNX Runtime session; it holds broker credentials and nothing else."""
