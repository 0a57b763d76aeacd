"""Wrong: what keeps a visit out of a cohort, as a sentence with a place and an advice."""

from __future__ import annotations

from training.importing.visit import Visit
from training.manifest import Fault


class Wrong(ValueError):
    """One thing that is wrong with a visit.

    Attributes
    ----------
    column : where: "ecg", "cmr", "labels", a phenotype, "sex"
    what, advice : sentences
    """

    def __init__(self, column: str, what: str, advice: str) -> None:
        super().__init__(f"{column}: {what}; {advice}")
        self.column, self.what, self.advice = column, what, advice

    def of(self, visit: Visit) -> Fault:
        """As the report and the manifest name it."""
        return Fault(id=visit.id, participant=visit.participant, column=self.column, what=self.what, advice=self.advice)
