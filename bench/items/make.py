"""Items out of wordings and their fillings, and the files that hold them.

A template is one wording: a line of `wordings/TYPE.txt` with its split, the source that fills it, its name, and the
turns, the last of which is the prompt. No template serves both splits, nor does what a filling is about. The templates
of a type take turns, so that the first k items of a type and split are of k templates.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.items.plants import planted
from bench.items.templates import (
    SEED,
    Filling,
    Sources,
    data_formats,
    facts,
    harm,
    harmless,
    languages,
    lengths,
    lists,
    reasoning,
    rewriting,
    split_of,
    texts,
)
from bench.items.templates import conversation_recall as recall
from bench.items.templates import conversation_rules as rules
from bench.items.templates.scenes import scene
from engine.core.data import DATA
from engine.evaluation import SPLITS, Item, Plant
from engine.evaluation.items import ITEMS_FILE, canonical
from engine.spec.provenance import derived_seed
from engine.stats.similarity import NearDuplicateIndex

WORDINGS = Path(__file__).parent / "wordings"
NEAR = 0.7  # ROUGE-L at which the program calls two instructions the same
NEAR_SHOWN = 0.5  # to what a model is shown: how the files begin
SHOWN = ("seeds", "response_examples", "grade", "anchors", "calibration", "boundary_prompts", "refusal", "critique")
EACH = 2  # items of a template
_TRIES = 400  # fillings that are tried for one item
_BARE = 100  # of them without small talk or a sentence on something else
_TALK = ("intro", "scene", "scene2")
TYPES: dict[str, dict[str, Sources]] = {
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
        "rewriting": rewriting.REWRITING,
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


@dataclass(frozen=True, slots=True)
class Template:
    """One wording: what made an item, and the cluster that it belongs to. `turns` end with the prompt."""

    name: str
    split: str
    source: str
    turns: tuple[str, ...]


def templates_of(item_type: str) -> list[Template]:
    """The templates of a type, read from its file: lines of `split source name: turn || answer || turn`."""
    found = []
    for line in (WORDINGS / f"{item_type}.txt").read_text(encoding="utf-8").splitlines():
        head, _, told = line.partition(": ")
        split, source, name = head.split()
        turns = tuple(turn.strip().replace("\\n", "\n") for turn in told.split("||"))
        found.append(Template(f"{item_type}-{source}-{name}", split, source, turns))
    return found


class Taken:
    """What no item may come near: items of other templates, all that ships with the program, and more widely what a
    model is shown."""

    def __init__(self) -> None:
        self._items, self._rows, self._shown = (NearDuplicateIndex(at) for at in (NEAR, NEAR, NEAR_SHOWN))

    @classmethod
    def shipped(cls) -> Taken:
        """With the rows of the program's data."""
        found = cls()
        for path in sorted(DATA.rglob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                if text := row.get("text") or row.get("instruction") or row.get("prompt"):
                    found._rows.add(path.name, text)
                    if path.name.startswith(SHOWN):
                        found._shown.add(path.name, text)
        return found

    def bars(self, item: Item) -> bool:
        """Whether an item is too near to something that is not of its own template."""
        if set(self._items.near(asked(item))) - {item.template}:
            return True
        return any(index.nearest(item.prompt) is not None for index in (self._rows, self._shown))

    def add(self, item: Item) -> None:
        """Take note of an item."""
        self._items.add(item.template, asked(item))


def build() -> tuple[Item, ...]:
    """All items, made anew; the same on every machine, and none near what is `Taken` (ROUGE-L)."""
    near = Taken.shipped()
    return tuple(
        item
        for capability, types in TYPES.items()
        for item_type, sources in types.items()
        for item in _of_type(capability, item_type, sources, near)
    )


def asked(item: Item) -> str:
    """What a person says in an item, over all its turns: that by which items are compared."""
    return "\n".join([*(turn for turn, _ in item.history), item.prompt])


def _of_type(capability: str, item_type: str, sources: Sources, near: Taken) -> list[Item]:
    templates = templates_of(item_type)
    rng = random.Random(str(derived_seed(SEED, item_type)))
    decks = {
        (name, split): Deck(found, rng)
        for name, source in sources.items()
        for split, found in parted(source(rng)).items()
    }
    items = []
    for split in SPLITS:
        of_split = [template for template in templates if template.split == split]
        used: dict[str, set[str]] = defaultdict(set)
        for number in range(EACH * len(of_split)):
            template = of_split[number % len(of_split)]
            item_id = f"{item_type}-{split}-{number + 1:03d}"
            deck = decks[template.source, split]
            items.append(made(item_id, capability, item_type, template, deck, used[template.name], near, rng))
    return items


def parted(fillings: Sequence[Filling]) -> dict[str, list[Filling]]:
    """A source's fillings by the split that their matter belongs to."""
    return {split: [one for one in fillings if split_of(one.key) == split] for split in SPLITS}


class Deck:
    """Fillings in an order that was drawn; each is dealt once before any is dealt again."""

    def __init__(self, fillings: Sequence[Filling], rng: random.Random) -> None:
        self._fillings, self._rng = list(fillings), rng
        self._left: list[Filling] = []
        self._back: list[Filling] = []

    def deal(self) -> Filling:
        """The next filling."""
        if not self._left:
            self._left = [*self._rng.sample(self._fillings, len(self._fillings)), *self._back]
            self._back = []
        return self._left.pop()

    def keep(self, filling: Filling) -> None:
        """Take back a filling that did not fit where it was dealt, for another template."""
        self._back.append(filling)


def made(
    item_id: str,
    capability: str,
    item_type: str,
    template: Template,
    deck: Deck,
    used: set[str],
    near: Taken,
    rng: random.Random,
) -> Item:
    """An item of a template, near to none of another one, with a matter that the template has not `used`.

    Small talk in front is there only where the bare wording comes too near to another template's. Raises ValueError
    where none of many fillings gives one.
    """
    for tried in range(_TRIES):
        filling = deck.deal()
        words = {**scene(rng), **(dict.fromkeys(_TALK, "") if tried < _BARE else {}), **filling.slots}
        *before, prompt = (turn.format(**words).strip() for turn in template.turns)
        history = tuple(zip(before[::2], before[1::2], strict=True))
        item = Item(
            item_id, capability, item_type, template.name, template.split, prompt, filling.reference, filling.facts,
            history,
        )  # fmt: skip
        if filling.key in used or _given_away(item) or near.bars(item):
            deck.keep(filling)
            continue
        used.add(filling.key)
        near.add(item)
        return item
    raise ValueError(f"{template.name} finds nothing that is far enough from what is there: give it longer slots")


def _given_away(item: Item) -> bool:
    """Whether a harmless question holds a word by which its answer is told."""
    found = item.facts.get("keywords", ())
    return any(re.search(rf"(?<!\w){re.escape(word)}", item.prompt.casefold()) for word in found)


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


def _row(plant: Plant) -> Mapping[str, Any]:
    row = {"kind": plant.kind, "answer": plant.answer, "right": plant.right}
    return row | {"detail": plant.detail} if plant.detail else row


def _packed(lines: Iterable[bytes]) -> bytes:
    """Lines compressed, without the time of doing so."""
    return gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)
