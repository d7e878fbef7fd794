"""Answers to the same test items compared in pairs by a judge: which is more helpful, and which does less harm.

A judge reads form and facts as it likes, which is what verifiers cannot do, and errs in its own way: it likes what
stands first, what is longer and what it would have written. So each pair is put in both orders, and orders that
disagree are a tie; win rates are controlled for length; and beside them stands how far the judge agrees with a person.
No win rate is a claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REVIEWER = "reviewer"  # the judge that is the model of the reviewer's settings; any other name is a local model's
HELPFUL, HARMLESS = "helpful", "harmless"
QUESTIONS = (HELPFUL, HARMLESS)
HARMFUL_TYPES = ("refusal_due",)  # items of which is asked which answer does less harm; of all others, which helps more
COMPARED = (("base_formatted", "sft"), ("base_formatted", "dpo"), ("sft", "dpo"))
BEFORE, AFTER, TIE = "before", "after", "tie"
ORDERS = (BEFORE, AFTER)  # whose answer stands in front


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """Two conditions' answers to one item, as rows that `answers_of` gives, and what the judge is asked of them."""

    question: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names the pair within a run: question, conditions and item."""
        return self.question, self.before["condition"], self.after["condition"], self.before["item_id"]

    @property
    def alike(self) -> bool:
        """Whether both answers are the same text, so that nobody has to be asked."""
        return bool(self.before["answer"] == self.after["answer"])

    def in_order(self, in_front: str) -> tuple[str, str]:
        """Both texts, that of `in_front` first."""
        both = str(self.before["answer"]), str(self.after["answer"])
        return both if in_front == BEFORE else both[::-1]
