"""The gateway: REST, durable store, renderings, clinician dashboard, model administration."""
