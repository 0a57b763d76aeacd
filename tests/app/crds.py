"""Custom resources: the fields of those that deploy/kubernetes uses, as their own definitions have them.

Transcribed in part from keda.sh_scaledobjects (KEDA 2.17) and monitoring.coreos.com_{servicemonitors,prometheusrules}
(prometheus-operator 0.84); a field that is not here is refused.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]  # JSON Schema

DURATION = {
    "type": "string",
    "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
NUMBER = {"type": "integer", "minimum": 0}


def _object(required: str = "", /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def _resource(spec: Schema) -> Schema:
    text: Schema = {"type": "string"}
    metadata = _object("name namespace", name=text, namespace=text, labels=TEXTS, annotations=TEXTS)
    return _object("apiVersion kind metadata spec", apiVersion=text, kind=text, metadata=metadata, spec=spec)


_TEXT: Schema = {"type": "string"}
_METRIC_TYPE: Schema = {"enum": ["Value", "AverageValue", "Utilization"]}
_SCALING: Schema = _object(stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600})

SCHEMAS: dict[tuple[str, str], Schema] = {
    ("keda.sh/v1alpha1", "ScaledObject"): _resource(
        _object(
            "scaleTargetRef triggers",
            scaleTargetRef=_object("name", name=_TEXT, kind=_TEXT, apiVersion=_TEXT),
            pollingInterval=NUMBER,
            cooldownPeriod=NUMBER,
            minReplicaCount=NUMBER,
            maxReplicaCount=NUMBER,
            fallback=_object("failureThreshold replicas", failureThreshold=NUMBER, replicas=NUMBER),
            advanced=_object(
                horizontalPodAutoscalerConfig=_object(behavior=_object(scaleDown=_SCALING, scaleUp=_SCALING))
            ),
            triggers=_list(_object("type metadata", type=_TEXT, name=_TEXT, metricType=_METRIC_TYPE, metadata=TEXTS)),
        )
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _resource(
        _object(
            "selector endpoints",
            selector=_object("matchLabels", matchLabels=TEXTS),
            endpoints=_list(_object("port", port=_TEXT, path=_TEXT, interval=DURATION, scrapeTimeout=DURATION)),
        )
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _resource(
        _object(
            "groups",
            groups=_list(
                _object(
                    "name rules",
                    name=_TEXT,
                    interval=DURATION,
                    rules=_list(
                        {
                            **_object(
                                "expr",
                                alert=_TEXT,
                                record=_TEXT,
                                expr=_TEXT,
                                labels=TEXTS,
                                annotations=TEXTS,
                                **{"for": DURATION},
                            ),
                            "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
                        }
                    ),
                )
            ),
        )
    ),
}
