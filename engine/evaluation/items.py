"""The frozen set of held-out items, and answers whose verdict is known.

Items come from seeded templates, in an order in which each type's templates take turns, so that the first k of a type
are spread over its templates. The hash below is that of the whole set: any change of an item is deliberate.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from engine.core.data import DATA
from engine.evaluation import SPLITS, Item, Plant
from engine.evaluation.plants import planted
from engine.evaluation.templates import (
    Draft,
    Maker,
    Templates,
    data_formats,
    facts,
    harm,
    harmless,
    languages,
    lengths,
    lists,
    reasoning,
    texts,
)
from engine.evaluation.templates import conversation_recall as recall
from engine.evaluation.templates import conversation_rules as rules
from engine.evaluation.verifiers import scorer_sha256
from engine.spec.provenance import derived_seed
from store.errors import CaiError

__all__ = ["ITEMS_SHA256", "ItemSet", "ItemsChanged", "item_set", "plants", "scorer_sha256", "written_plants"]

ITEMS_SHA256 = "c61f14cefa8cb70e15ff3eb335905a1fef13c7e951b5f97e95b9fb48ea6dc441"
_SEED = 20260801
TYPES: dict[str, Templates] = {
    "instruction_following": {
        "short_fact": facts.SHORT_FACT,
        "list_of_k": lists.LIST_OF_K,
        "json_format": data_formats.JSON_FORMAT,
        "table_format": data_formats.TABLE_FORMAT,
        "exact_words": lengths.EXACT_WORDS,
        "exact_sentences": lengths.EXACT_SENTENCES,
        "translation": languages.TRANSLATION,
        "arithmetic": reasoning.ARITHMETIC,
        "ordering": reasoning.ORDERING,
        "classification": texts.CLASSIFICATION,
        "rewriting": languages.REWRITING,
        "extraction": texts.EXTRACTION,
        "refusal_due": harm.REFUSAL_DUE,
        "refusal_not_due": harmless.REFUSAL_NOT_DUE,
    },
    "conversation": {
        "memory": recall.MEMORY,
        "preference": rules.PREFERENCE,
        "topic_continuity": recall.TOPIC_CONTINUITY,
        "constraint_update": rules.CONSTRAINT_UPDATE,
    },
}
# Items of each type: dev, test.
SIZES = {"instruction_following": (16, 40), "conversation": (20, 60)}


class ItemsChanged(CaiError):
    """The held-out items are not those that the hash was frozen for."""


@dataclass(frozen=True)
class ItemSet:
    """All items in their frozen order, and the hash of the whole set."""

    items: tuple[Item, ...]
    sha256: str

    def of(self, capability: str, split: str, per_type: int | None = None) -> list[Item]:
        """The items of a capability and split, or the first `per_type` of each of its types."""
        taken: Counter[str] = Counter()
        chosen = []
        for item in self.items:
            if (item.capability, item.split) == (capability, split):
                taken[item.item_type] += 1
                if per_type is None or taken[item.item_type] <= per_type:
                    chosen.append(item)
        return chosen


def sha256_of(items: Sequence[Item]) -> str:
    """The hash over the canonical JSON of items, in their order."""
    rows = [item.row("") for item in items]
    text = json.dumps(rows, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def build() -> tuple[Item, ...]:
    """All items, made anew; the same on every machine."""
    return tuple(
        item
        for capability, types in TYPES.items()
        for item_type, templates in types.items()
        for item in _of_type(capability, item_type, templates)
    )


def _of_type(capability: str, item_type: str, templates: Mapping[str, Maker]) -> list[Item]:
    drafts = {name: _drawn(item_type, name, make) for name, make in templates.items()}
    turns: list[tuple[str, Draft]] = []
    longest = max(map(len, drafts.values()))
    for place in range(longest):
        turns.extend((name, made[place]) for name, made in drafts.items() if place < len(made))
    dev, test = SIZES[capability]
    if len(turns) < dev + test:
        raise ItemsChanged(f"{item_type} has {len(turns)} items, {dev + test} are needed")
    items = []
    for place, (name, draft) in enumerate(turns[: dev + test]):
        split = SPLITS[place >= dev]
        number = place + 1 if place < dev else place - dev + 1
        items.append(
            Item(
                f"{item_type}-{split}-{number:02d}",
                capability,
                item_type,
                f"{item_type}-{name}",
                split,
                draft.prompt,
                draft.reference,
                draft.facts,
                draft.history,
            )
        )
    return items


def _drawn(item_type: str, name: str, make: Maker) -> list[Draft]:
    """A template's drafts in an order of their own, so that no split holds one part of its material."""
    rng = random.Random(str(derived_seed(_SEED, item_type, name)))
    drafts = make(rng)
    unique = list({(draft.history, draft.prompt): draft for draft in drafts}.values())
    rng.shuffle(unique)
    return unique


@lru_cache(maxsize=1)
def item_set() -> ItemSet:
    """The frozen set.

    Raises ItemsChanged where the items made are not those of ITEMS_SHA256.
    """
    made = build()
    digest = sha256_of(made)
    if digest != ITEMS_SHA256:
        raise ItemsChanged(
            f"the held-out items have the hash {digest[:12]}, not {ITEMS_SHA256[:12]}",
            "Results under the old hash are safe. If the change is meant, set ITEMS_SHA256 and evaluate anew.",
        )
    return ItemSet(made, digest)


def plants(item: Item) -> list[Plant]:
    """One planted answer of each kind of PLANTS for an item, built from its facts."""
    return planted(item)


def written_plants() -> list[Plant]:
    """Planted answers written by hand, with items of their own, after the way small models write.

    Rows of engine/data/evaluation_plants.jsonl: item_type, prompt, reference, facts, history, kind, answer, right.
    """
    with (DATA / "evaluation_plants.jsonl").open(encoding="utf-8") as lines:
        return [_written(number, json.loads(line)) for number, line in enumerate(lines, 1)]


def _written(number: int, row: dict[str, object]) -> Plant:
    item_type = str(row["item_type"])
    capability = next(name for name, types in TYPES.items() if item_type in types)
    history = tuple((str(turn[0]), str(turn[1])) for turn in row.get("history") or [])  # type: ignore[attr-defined]
    item = Item(
        f"written-{number:03d}",
        capability,
        item_type,
        str(row.get("template") or f"{item_type}-written"),
        "dev",
        str(row["prompt"]),
        None if row["reference"] is None else str(row["reference"]),
        row["facts"],  # type: ignore[arg-type]
        history,
    )
    return Plant(item, str(row["kind"]), str(row["answer"]), bool(row["right"]))
