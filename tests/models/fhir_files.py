"""FHIR Observations as the tests write them, after the example of the specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.ecg import LEADS

Resource = dict[str, Any]  # as the specification nests it

MDC = "urn:oid:2.16.840.1.113883.6.24"
CODES = {"I": 131329, "II": 131330, "III": 131389, "aVR": 131390, "aVL": 131391, "aVF": 131392} | {
    f"V{n}": 131330 + n for n in range(1, 7)
}
R4 = {"period": 2}
R5 = {"interval": 2, "intervalUnit": "ms"}


def sampled(row: NDArray[np.float64], step: float = 1.0, zero: float = 0.0, **fields: object) -> Resource:
    """Millivolts as steps of so many microvolts above `zero` microvolts."""
    steps = np.rint((1e3 * row - zero) / step).astype(int)
    data = " ".join(map(str, steps.tolist()))
    return {"origin": {"value": zero, "code": "uV"}, "factor": step, "dimensions": 1, "data": data, **R4, **fields}


def lead(name: str, row: NDArray[np.float64], **fields: Any) -> Resource:
    coding = {"system": MDC, "code": str(CODES[name]), "display": f"MDC_ECG_ELEC_POTL_{name.upper()}"}
    return {"code": {"coding": [coding]}, "valueSampledData": sampled(row, **fields)}


def number(code: str, value: object, unit: str) -> Resource:
    return {
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "valueQuantity": {"value": value, "code": unit},
    }


def observation(signal: NDArray[np.float64], *, leads: Sequence[str] = LEADS, **fields: Any) -> Resource:
    """Leads of `signal`, which are in the order of `LEADS`."""
    return {
        "resourceType": "Observation",
        "id": "ekg",
        "status": "final",
        "code": {"coding": [{"system": MDC, "code": "131328", "display": "MDC_ECG_ELEC_POTL"}]},
        "subject": {"reference": "Patient/f001"},
        "effectiveDateTime": "2015-02-19T09:30:35.250+01:00",
        "device": {"display": "12 lead EKG"},
        "component": [lead(name, signal[LEADS.index(name)]) for name in leads],
    } | fields


def bundle(*resources: Resource) -> Resource:
    entries = [{"fullUrl": f"urn:uuid:{each.get('id')}", "resource": each} for each in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def encoded(resource: Resource) -> bytes:
    return orjson.dumps(resource)
