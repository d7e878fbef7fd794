"""The frozen sets of held-out items, and answers whose verdict is known.

Both are data, made by seeded templates that are no part of the program (`bench/items/`). Each type's templates take
turns, so that the first k of a type are spread over its templates. The hashes below are those of whole sets: any change
of an item is deliberate. Sets of earlier versions stay here for runs that were asked them; no id is in two sets.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.core.data import DATA, read_data
from engine.evaluation import Item, Plant
from store.errors import CaiError

ITEMS_SHA256 = "e3d243e4eb1ca702a62607dadc0df3fd890693cec81b5b4ebe6976504e4a9a7b"
ITEMS_FILE = "evaluation_items.jsonl.gz"
# By their hash the ends of the file names of earlier sets, in the folder `earlier`.
EARLIER = {"c61f14cefa8cb70e15ff3eb335905a1fef13c7e951b5f97e95b9fb48ea6dc441": "_c61f14ce"}


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


@lru_cache
def item_set(sha256: str = ITEMS_SHA256) -> ItemSet:
    """The frozen set of that hash, the newest or one of EARLIER.

    Raises ItemsChanged where the shipped items are not those of the hash, or can't be read.
    """
    name = f"earlier/evaluation_items{EARLIER[sha256]}.jsonl.gz" if sha256 in EARLIER else ITEMS_FILE
    try:
        text = canonical(gzip.decompress((DATA / name).read_bytes()).splitlines())
    except (OSError, EOFError, zlib.error) as error:
        raise ItemsChanged(
            f"the held-out items cannot be read: {error}", "Results are safe. Install the program again."
        ) from error
    digest = hashlib.sha256(text).hexdigest()
    if digest != sha256:
        raise ItemsChanged(
            f"the held-out items have the hash {digest[:12]}, not {sha256[:12]}",
            "Results under the old hash are safe. If the change is meant, set ITEMS_SHA256 and evaluate anew.",
        )
    return ItemSet(tuple(map(_item, json.loads(text))), digest)


def canonical(lines: Iterable[bytes]) -> bytes:
    """What the hash is taken of: items, each a line of canonical JSON, as one array."""
    return b"[" + b",".join(lines) + b"]"


def _item(row: Mapping[str, Any]) -> Item:
    fields = {name: row[name] for name in row if name != "items_sha256"}
    return Item(**fields | {"history": tuple((turn, answer) for turn, answer in row["history"])})


@lru_cache(maxsize=1)
def _plants() -> dict[str, list[dict[str, Any]]]:
    return {
        row["item_id"]: row["plants"]
        for end in (*EARLIER.values(), "")
        for row in read_data(f"evaluation_item_plants{end}")
    }


def plants(item: Item) -> list[Plant]:
    """The answers planted for an item of a set, one of each kind of PLANTS."""
    return [Plant(item, **plant) for plant in _plants()[item.item_id]]


def tricky_answers(half: str) -> list[Plant]:
    """Answers that are hard for rules, written by who had not seen them: the half `development`, or `audit`.

    Rules may be cured on the first; of the second nobody looks at more than rates.
    """
    capability = {item.item_type: item.capability for item in item_set().items}
    found = []
    for row in read_data("evaluation_tricky"):
        if row["half"] == half:
            asked = {name: row[name] for name in ("item_id", "item_type", "prompt", "reference", "facts", "history")}
            own = {"capability": capability[row["item_type"]], "template": f"{row['item_type']}-tricky", "split": "dev"}
            found.append(Plant(_item(asked | own), row["kind"], row["answer"], row["right"]))
    return found


def written_plants() -> list[Plant]:
    """Planted answers written by hand, with items of their own, after the way small models write."""
    capability = {item.item_type: item.capability for item in item_set().items}
    found = []
    for number, row in enumerate(read_data("evaluation_plants"), 1):
        asked = {name: row[name] for name in ("item_type", "prompt", "reference", "facts", "history")}
        asked |= {"item_id": f"written-{number:03d}", "capability": capability[row["item_type"]]}
        item = _item(asked | {"template": f"{row['item_type']}-written", "split": "dev"})
        found.append(Plant(item, row["kind"], row["answer"], row["right"]))
    return found
