"""The phases of a stage. Each asks the store what is missing, and makes rows of a model's answers.

A phase has no memory that the store does not have: after a restart the same code meets the same answers, found instead
of computed, and arrives at the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.answers import Answers
from engine.control import Control
from engine.events import Emit
from engine.spec import StageSpec
from store import Reader, Store


@dataclass(frozen=True)
class Work:
    """What every phase works with."""

    run_id: str
    session_id: str
    seed: int
    spec: StageSpec
    answers: Answers
    store: Store
    reader: Reader
    control: Control
    emit: Emit
