"""Items out of seeded templates, and the files that hold them.

A type's templates take turns, so that the first k items of a type are spread over its templates.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.items.plants import planted
from bench.items.templates import (
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
from bench.items.templates import conversation_recall as recall
from bench.items.templates import conversation_rules as rules
from engine.evaluation import SPLITS, Item, Plant
from engine.evaluation.items import ITEMS_FILE, canonical
from engine.spec.provenance import derived_seed

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
        raise ValueError(f"{item_type} has {len(turns)} items, {dev + test} are needed")
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


def lines_of(items: Sequence[Item]) -> list[bytes]:
    """Items as lines of canonical JSON."""
    return [json.dumps(item.row(""), sort_keys=True, separators=(",", ":")).encode() for item in items]


def sha256_of(items: Sequence[Item]) -> str:
    """The hash over the canonical JSON of items, in their order."""
    return hashlib.sha256(canonical(lines_of(items))).hexdigest()


def files(items: Sequence[Item]) -> dict[str, bytes]:
    """The shipped files by name: the items, and under the same ids the answers planted for them."""
    plants = [{"item_id": item.item_id, "plants": [_row(plant) for plant in planted(item)]} for item in items]
    return {
        ITEMS_FILE: _packed(lines_of(items)),
        "evaluation_item_plants.jsonl.gz": _packed(json.dumps(row, ensure_ascii=False).encode() for row in plants),
    }


def _row(plant: Plant) -> dict[str, Any]:
    row = {"kind": plant.kind, "answer": plant.answer, "right": plant.right}
    return row | {"detail": plant.detail} if plant.detail else row


def _packed(lines: Iterable[bytes]) -> bytes:
    """Lines compressed, without the time of doing so."""
    return gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)
