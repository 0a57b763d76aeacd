"""Stages: each step of a training is kept under a name that says what it depends on, and so is shared and resumed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue, TypeAdapter

from training.run import Run

_ANYTHING: TypeAdapter[object] = TypeAdapter(object)

Fact = object
"""Anything that pydantic can write as JSON: numbers, text, parts of a recipe, other stages."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A step of the training, whose result depends on the facts that its key was made of and on nothing else.

    Two recipes that differ in a later stage share the earlier ones; a recipe that changes anything which a stage
    depends on gets another folder. Code is not a fact: after changing it, start in an empty folder.
    """

    name: str
    key: str

    @classmethod
    def of(cls, name: str, *facts: Fact) -> Stage:
        """A stage by everything that it depends on: the stages before it, parts of the recipe, digests."""
        stated = [fact.key if isinstance(fact, Stage) else _plain(fact) for fact in facts]
        text = json.dumps([name, *stated], sort_keys=True)
        return cls(name=name, key=hashlib.sha256(text.encode()).hexdigest())

    def run(self, run: Run, folder: Path) -> Run:
        """The run with this stage's own folder for state; random numbers start over, wherever a training resumes."""
        torch.manual_seed(int(self.key[:8], 16))
        return run.at(self.folder(folder))

    def folder(self, stages: Path) -> Path:
        """Where it is kept among the stages."""
        return stages / f"{self.name}-{self.key[:12]}"


def _plain(fact: Fact) -> JsonValue:
    plain: JsonValue = _ANYTHING.dump_python(fact, mode="json")
    return plain
