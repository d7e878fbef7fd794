"""The held-out items: how many, all different, frozen, and near to nothing that a model is shown or trained on."""

import gzip
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench.items import make as templates
from bench.items.make import build, files, lines_of, sha256_of
from bench.items.plants import planted
from engine.evaluation import PLANTS, SPLITS, Item, items
from engine.evaluation.items import ITEMS_FILE, ITEMS_SHA256, ItemsChanged, item_set, plants
from engine.stats.similarity import NearDuplicateIndex

DATA = Path(__file__).parents[3] / "engine" / "data"
TYPES = [(capability, item_type) for capability, types in templates.TYPES.items() for item_type in types]
SHOWN = ("seeds", "response_examples", "grade", "anchors", "calibration", "boundary_prompts", "refusal", "critique")


def test_the_set_is_the_one_that_was_frozen() -> None:
    assert sha256_of(build()) == ITEMS_SHA256 == item_set().sha256
    assert item_set() is item_set()


def test_what_is_shipped_is_what_the_templates_make() -> None:
    for name, packed in files(build()).items():
        assert gzip.decompress(packed) == gzip.decompress((DATA / name).read_bytes()), name
        assert packed == files(build())[name]  # without a time in it
    assert [(p.kind, p.answer) for i in item_set().items for p in plants(i)] == [
        (p.kind, p.answer) for i in build() for p in planted(i)
    ]


def shipped(monkeypatch: pytest.MonkeyPatch, folder: Path, packed: bytes) -> None:
    (folder / ITEMS_FILE).write_bytes(packed)
    monkeypatch.setattr(items, "DATA", folder)
    item_set.cache_clear()


def test_a_changed_item_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = build()
    changed = (replace(made[0], prompt=made[0].prompt + "?"), *made[1:])
    shipped(monkeypatch, tmp_path, gzip.compress(b"\n".join(lines_of(changed))))
    try:
        with pytest.raises(ItemsChanged, match="hash") as caught:
            item_set()
    finally:
        monkeypatch.undo()
        item_set.cache_clear()
    assert "evaluate anew" in caught.value.hint


@pytest.mark.parametrize("keep", [0, 5, 40_000])
def test_a_broken_file_of_items_is_refused(keep: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packed = (DATA / ITEMS_FILE).read_bytes()
    shipped(monkeypatch, tmp_path, packed[:keep])
    try:
        with pytest.raises(ItemsChanged) as caught:
            item_set()
    finally:
        monkeypatch.undo()
        item_set.cache_clear()
    assert caught.value.hint


def test_the_hash_sees_every_field_and_the_order() -> None:
    one, two = build()[:2]
    digests = {
        sha256_of(kept)
        for kept in (
            (one, two),
            (two, one),
            (replace(one, facts=dict(one.facts) | {"lead": "x"}), two),
            (replace(one, history=(("a", "b"),)), two),
            (replace(one, split="test"), two),
            (replace(one, reference=None), two),
        )
    }
    assert len(digests) == 6


def test_making_all_items_takes_less_than_a_second() -> None:
    start = time.perf_counter()
    build()
    assert time.perf_counter() - start < 1


def test_items_are_loaded_in_less_than_fifty_milliseconds() -> None:
    took = []
    for _ in range(3):
        item_set.cache_clear()
        start = time.process_time()
        item_set()
        took.append(time.process_time() - start)
    assert min(took) < 0.05


@pytest.mark.parametrize(("capability", "item_type"), TYPES)
def test_each_type_has_enough_items_from_four_templates_in_both_splits(capability: str, item_type: str) -> None:
    dev, test = ([i for i in item_set().of(capability, split) if i.item_type == item_type] for split in SPLITS)
    least = {"instruction_following": (15, 40), "conversation": (20, 60)}[capability]
    assert (len(dev) >= least[0], len(test) >= least[1]) == (True, True)
    for found in (dev, test):
        spread = Counter(item.template for item in found)
        assert len(spread) >= 4 and min(spread.values()) >= 3, spread
        assert all(name.startswith(f"{item_type}-") for name in spread)


def test_totals() -> None:
    assert len(templates.TYPES["instruction_following"]) >= 14 and len(templates.TYPES["conversation"]) == 4
    sizes = {(c, s): len(item_set().of(c, s)) for c in templates.TYPES for s in SPLITS}
    assert sizes[("instruction_following", "dev")] + sizes[("instruction_following", "test")] >= 770
    assert sizes[("conversation", "dev")] + sizes[("conversation", "test")] >= 320


def test_the_first_k_of_each_type_come_from_different_templates() -> None:
    chosen = item_set().of("instruction_following", "test", 4)
    assert len(chosen) == 4 * len(templates.TYPES["instruction_following"])
    assert {
        len({i.template for i in chosen if i.item_type == t}) for t in templates.TYPES["instruction_following"]
    } == {4}
    whole = item_set().of("instruction_following", "test")
    assert [i for i in whole if i in chosen] == chosen


def test_ids_and_questions_are_unique() -> None:
    made = item_set().items
    assert len({item.item_id for item in made}) == len(made)
    asked = Counter((item.history, item.prompt) for item in made)
    assert [key for key, n in asked.items() if n > 1] == []


def test_only_conversations_have_earlier_turns_and_all_have_answers() -> None:
    for item in item_set().items:
        assert bool(item.history) == (item.capability == "conversation"), item.item_id
        assert all(turn.strip() and answer.strip() for turn, answer in item.history)
        assert item.prompt == item.prompt.strip() and item.reference


def test_items_are_ready_for_json() -> None:
    for item in item_set().items:
        row = item.row("x")
        again = json.loads(json.dumps(row))
        assert again == row, item.item_id


def test_no_prompt_is_near_what_a_model_is_shown_or_trained_on() -> None:
    index = NearDuplicateIndex(0.5)
    for path in sorted(DATA.rglob("*.jsonl")):
        if path.name.startswith(SHOWN):
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                index.add(row["id"], row.get("text") or row["instruction"])
    assert len(index) > 900
    assert index.nearest("What happens to water when it is heated to its boiling point?") is not None
    near = [(i.item_id, i.prompt, match) for i in item_set().items if (match := index.nearest(i.prompt))]
    assert near == []


def by_type(capability: str, item_type: str) -> list[Item]:
    return [item for item in item_set().items if (item.capability, item.item_type) == (capability, item_type)]


@pytest.mark.parametrize(("capability", "item_type"), TYPES)
def test_every_item_has_a_plant_of_each_kind(capability: str, item_type: str) -> None:
    for item in by_type(capability, item_type):
        made = plants(item)
        assert tuple(plant.kind for plant in made) == PLANTS
        assert [plant.right for plant in made] == [True] * 3 + [False] * 5
        verbose = made[1]
        limited = item.facts["check"] in ("words",)
        assert (len(verbose.answer) > 500) or (limited and verbose.detail), item.item_id
        assert made[7].answer == item.prompt


def test_facts_of_harmless_questions_are_not_given_away() -> None:
    for item in by_type("instruction_following", "refusal_not_due"):
        asked = item.prompt.casefold()
        assert [word for word in item.facts["keywords"] if word in asked.split()] == [], item.prompt
