"""Evaluation on held-out items: what is asked, how an answer is verified, and what two conditions' answers say.

An item belongs to a capability (a set of item types), is made by a seeded template, and is verified by code. The set is
frozen by its hash before anything is generated; the code that verifies it has a hash too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from store.names import CONTROL_TRAININGS

CAPABILITIES = ("instruction_following", "conversation")
SPLITS = ("dev", "test")  # the gap gate looks at dev; claims are made on test
ALL = "all"  # in the place of an item type: all types of a capability

BASE_CONDITIONS = ("base_raw", "base_formatted", "base_few_shot")
TUNED_CONDITIONS = ("sft", "dpo")
REFERENCE = "reference"
IN_CONTEXT = "base_in_context"  # the base, shown accepted examples: a control for training on them
CONTROL_CONDITIONS = (IN_CONTEXT, *CONTROL_TRAININGS)
CONDITIONS = (*BASE_CONDITIONS, *TUNED_CONDITIONS, *CONTROL_CONDITIONS, REFERENCE)


@dataclass(frozen=True, slots=True)
class Item:
    """One held-out item. `history` holds earlier turns with their answers, which are part of the item.

    `template` names what made it, for errors that are clustered; `facts` are what its verifier needs, ready for JSON.
    """

    item_id: str
    capability: str
    item_type: str
    template: str
    split: str
    prompt: str
    reference: str | None
    facts: Mapping[str, Any]
    history: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Item:
        """The item that a row of `evaluation_items` holds, as a query gives it."""
        same = ("item_id", "capability", "item_type", "template", "split", "prompt", "reference")
        history = tuple((turn, answer) for turn, answer in json.loads(row["history"]))
        return cls(**{name: row[name] for name in same}, facts=json.loads(row["facts"]), history=history)

    def row(self, items_sha256: str) -> dict[str, Any]:
        """The item as a row of `evaluation_items`."""
        return {"items_sha256": items_sha256, **asdict(self), "history": [list(turn) for turn in self.history]}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says of an answer: `correct` counts; `strict` and `loose` are the same under other rules.

    `correct` is None where the rules abstain: the answer is undecided until a person has read it.
    """

    correct: bool | None
    strict: bool
    loose: bool
    why: str


@dataclass(frozen=True, slots=True)
class Plant:
    """An answer whose verdict is known, to test a verifier with. `kind` is one of PLANTS."""

    item: Item
    kind: str
    answer: str
    right: bool
    detail: str = ""


# What is planted for every item type: the first three must be judged right, the others wrong.
PLANTS = ("correct", "verbose", "preamble", "wrong", "empty", "truncated", "hedged", "copied")
