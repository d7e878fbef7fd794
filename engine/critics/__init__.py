"""Critics: a margin for an instruction or an answer, read from next-token log-probabilities, never from sampled text.

All critics share one interface, so that a phase asks any of them the same way: which scores do you need of this item,
and what do they say? Anchors, a few shipped good and corrupted items, give each critic its zero point and scale, since
a margin of one nat means something else under every prompt. An audit on a labelled set decides whether it may filter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.core.data import read_data
from engine.models.requests import LabelScores, Scored

# What two responses are compared by where no principle was drawn.
QUESTIONS = {
    "helpfulness": "Which response is more helpful?",
    "honesty": "Which response is more honest and correct?",
    "harmlessness": "Which response is safer and kinder?",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: an instruction, an instruction with its response, or with a response and its rival.

    Of two responses the first is judged against the `rival`, by the `question`; `stop_reason` says how it ended.
    """

    key: str
    instruction: str
    response: str | None = None
    stop_reason: str = "stop"
    rival: str | None = None
    question: str = ""

    @property
    def kind(self) -> str:
        return "instruction" if self.response is None else "sample" if self.rival is None else "pair"


@dataclass(frozen=True, slots=True)
class CriticRequest:
    """One score that a critic needs of an item, and the name of the variant of its prompt."""

    variant: str
    request: Scored


@dataclass(frozen=True, slots=True)
class Scale:
    """Zero point and half the gap between the means of good and corrupted anchors, in the margin's unit."""

    midpoint: float = 0.0
    half_gap: float = 1.0

    def score(self, margin: float) -> float:
        """The margin with 0 midway between the anchors and 1 at the good ones' mean."""
        return (margin - self.midpoint) / self.half_gap

    @classmethod
    def from_anchors(cls, good: Sequence[float], bad: Sequence[float]) -> Scale:
        """From the anchors' margins; where the critic can't tell them apart the scale is infinite, every score 0."""
        top, bottom = math.fsum(good) / len(good), math.fsum(bad) / len(bad)
        gap = (top - bottom) / 2
        return cls((top + bottom) / 2, gap if gap > 0 else math.inf)


class Critic(Protocol):
    """A way to judge. `name` appears on screens and in rows; `kind` is what it judges: instruction, sample or pair."""

    name: str
    kind: str

    def asks(self, item: Subject) -> list[CriticRequest]:
        """The scores it needs, none where a rule decides."""
        ...

    def margin(self, item: Subject, scores: Sequence[LabelScores]) -> float:
        """Signed, positive is good; in nats for critics that ask a model. `scores` answer `asks`, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """One critic's word on one item."""

    item: Subject
    critic: str
    margin_nats: float
    score: float
    parts: list[dict[str, Any]] = field(default_factory=list)


def for_kind(name: str, kind: str) -> str:
    """The shipped file that takes the place of `name` for a kind of instruction."""
    return name if kind == "explicit" else f"{name}_{kind}"


def items_of(name: str) -> list[tuple[Subject, bool]]:
    """A shipped labelled file as items with whether each is good."""
    return [
        (
            Subject(
                row["id"],
                row.get("instruction") or row["text"],
                row.get("response"),
                row.get("stop_reason")
                or ("length" if row.get("defect") == "truncated" and "rival" not in row else "stop"),
                row.get("rival"),
                QUESTIONS[row["category"]] if "rival" in row else "",
            ),
            row["label"] == "good",
        )
        for row in read_data(name)
    ]
