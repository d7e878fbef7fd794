"""The held-out items: how many, all different, frozen, and near to nothing that a model is shown or trained on."""

import gzip
import json
import random
import re
import time
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from bench.items import make as templates
from bench.items.make import Template, asked, build, files, lines_of, sha256_of
from bench.items.plants import planted
from bench.items.templates import Filling, facts, split_of
from bench.items.templates import conversation_rules as rules
from engine.evaluation import PLANTS, SPLITS, Item, items
from engine.evaluation.items import ITEMS_FILE, ITEMS_SHA256, ItemsChanged, item_set, plants
from engine.stats.similarity import NearDuplicateIndex

DATA = Path(__file__).parents[3] / "engine" / "data"
TYPES = [(capability, item_type) for capability, types in templates.TYPES.items() for item_type in types]
# The slots of a conversation's earlier questions, by source.
EARLIER_MATTERS = {
    "next_capital": ("one", "two"), "next_language": ("other",), "next_word": ("other",), "next_element": ("known",),
    "upper": ("before",), "lower": ("before",), "closing": ("before",), "address": ("before",), "bullets": ("before",),
    "new_case": ("before",), "new_closing": ("before",), "new_number": ("before",), "new_language": ("other",),
    "new_topic": ("old",),
}  # fmt: skip
EARLIER = "c61f14cefa8cb70e15ff3eb335905a1fef13c7e951b5f97e95b9fb48ea6dc441"


@lru_cache
def built() -> tuple[Item, ...]:
    return build()


def test_the_set_is_the_one_that_was_frozen_and_is_made_within_a_minute() -> None:
    start = time.process_time()
    assert sha256_of(built()) == ITEMS_SHA256 == item_set().sha256
    assert item_set() is item_set()
    assert time.process_time() - start < 60


def test_what_is_shipped_is_what_the_templates_make() -> None:
    made, again = files(built()), files(built())
    for name, packed in made.items():
        assert gzip.decompress(packed) == gzip.decompress((DATA / name).read_bytes()), name
        assert packed == again[name]  # without a time in it
    assert [(p.kind, p.answer) for i in item_set().items for p in plants(i)] == [
        (p.kind, p.answer) for i in built() for p in planted(i)
    ]


def shipped(monkeypatch: pytest.MonkeyPatch, folder: Path, packed: bytes) -> None:
    (folder / ITEMS_FILE).write_bytes(packed)
    monkeypatch.setattr(items, "DATA", folder)
    item_set.cache_clear()


def test_a_changed_item_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = built()
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
    one, two = built()[:2]
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


def test_items_are_loaded_in_less_than_a_tenth_of_a_second() -> None:
    took = []
    for _ in range(3):
        item_set.cache_clear()
        start = time.process_time()
        item_set()
        took.append(time.process_time() - start)
    assert min(took) < 0.1


@pytest.mark.parametrize(("capability", "item_type"), TYPES)
def test_each_type_has_24_templates_for_test_and_8_others_for_dev(capability: str, item_type: str) -> None:
    dev, test = (
        Counter(item.template for item in item_set().of(capability, split) if item.item_type == item_type)
        for split in SPLITS
    )
    assert (len(dev), len(test)) == (8, 24) and not set(dev) & set(test)
    assert set(dev.values()) == set(test.values()) == {templates.EACH}
    assert all(name.startswith(f"{item_type}-") for name in (*dev, *test))


@pytest.mark.parametrize("item_type", [item_type for _, item_type in TYPES])
def test_wordings_are_those_of_one_template_each(item_type: str) -> None:
    found = templates.templates_of(item_type)
    assert len({one.name for one in found}) == len({one.turns for one in found}) == len(found) == 32
    assert all(len(one.turns) % 2 == 1 for one in found)
    sources = next(types[item_type] for types in templates.TYPES.values() if item_type in types)
    for source in sources:  # each is seen in both splits, so that dev tells of what is in test
        assert {one.split for one in found if one.source == source} == set(SPLITS), source


def test_no_matter_that_a_source_gives_stands_in_both_splits() -> None:
    keys: dict[str, set[str]] = {split: set() for split in SPLITS}
    for capability, types in templates.TYPES.items():
        for item_type, sources in types.items():
            for name, source in sources.items():
                earlier = EARLIER_MATTERS.get(name, ()) if capability == "conversation" else ()
                for split, found in templates.parted(source(random.Random(1))).items():
                    own = {one.key.casefold() for one in found}
                    assert len(own) >= 2 * templates.EACH, (item_type, name, split)
                    keys[split] |= own
                    for filling in found:
                        for slot in earlier:
                            assert split_of(filling.slots[slot]) == split, (item_type, name, filling.slots[slot])
                            keys[split].add(filling.slots[slot].casefold())
    assert not set.intersection(*keys.values())


def test_no_question_on_a_country_or_of_a_conversation_is_asked_in_both_splits_of_whichever_type() -> None:
    countries = re.compile(rf"\b({'|'.join(row[0] for row in facts.CAPITALS)})\b")
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for item in item_set().items:
        if any(f"-{source}-" in item.template for source in ("capital", "continent", "next_capital", "new_topic")):
            found[item.split] |= set(countries.findall(asked(item)))
        found[item.split] |= {question for question, *_ in rules.QUESTIONS if question in asked(item)}
    assert all(len(one) > 20 for one in found.values()) and not set.intersection(*found.values())


def test_totals() -> None:
    assert {capability: len(types) for capability, types in templates.TYPES.items()} == {
        "instruction_following": 14, "conversation": 4,
    }  # fmt: skip
    sizes = {(c, s): len(item_set().of(c, s)) for c in templates.TYPES for s in SPLITS}
    assert list(sizes.values()) == [224, 672, 64, 192]


def test_the_first_k_of_each_type_come_from_different_templates() -> None:
    chosen = item_set().of("instruction_following", "test", 24)
    assert len(chosen) == len({item.template for item in chosen}) == 24 * 14
    whole = item_set().of("instruction_following", "test")
    assert [i for i in whole if i in chosen] == chosen


def test_no_item_is_near_one_of_another_template_in_whichever_split_or_type() -> None:
    index, near = NearDuplicateIndex(templates.NEAR), []
    for item in item_set().items:
        near += [(item.item_id, other) for other in index.near(asked(item)) if other != item.template]
        index.add(item.template, asked(item))
    assert near == [] and len(index) == len(item_set().items)


def test_an_item_that_is_near_another_would_be_found() -> None:
    index = NearDuplicateIndex(templates.NEAR)
    old = item_set(EARLIER).of("instruction_following", "dev")
    for item in old:
        index.add(item.item_id, asked(item))
    test = item_set(EARLIER).of("instruction_following", "test")
    assert sum(index.nearest(asked(item)) is not None for item in test) == 357


def test_sets_of_earlier_versions_are_there_with_their_plants_and_ids_of_their_own() -> None:
    old, now = item_set(EARLIER), item_set()
    assert list(items.EARLIER) == [EARLIER] and (old.sha256, len(old.items)) == (EARLIER, 1104)
    assert not {item.item_id for item in old.items} & {item.item_id for item in now.items}
    assert not {item.template for item in old.items} & {item.template for item in now.items}
    for item in (old.items[0], old.items[-1], now.items[0], now.items[-1]):
        assert [plant.right for plant in plants(item)] == [True] * 3 + [False] * 5


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
    shown, all_rows = NearDuplicateIndex(templates.NEAR_SHOWN), NearDuplicateIndex(templates.NEAR)
    for path in sorted(DATA.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if text := row.get("text") or row.get("instruction") or row.get("prompt"):
                all_rows.add(path.name, text)
                if path.name.startswith(templates.SHOWN):
                    shown.add(path.name, text)
    assert len(shown) > 900 and len(all_rows) > 10_000
    assert shown.nearest("What happens to water when it is heated to its boiling point?") is not None
    prompts = {item.prompt for item in item_set().items}
    assert [(prompt, match) for prompt in prompts if (match := shown.nearest(prompt))] == []
    assert [(prompt, match) for prompt in prompts if (match := all_rows.nearest(prompt))] == []


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
        told = [word for word in item.facts["keywords"] if re.search(rf"(?<!\w){re.escape(word)}", item.prompt.lower())]
        assert told == [], item.prompt


def test_a_filling_that_does_not_fit_is_dealt_again_before_any_is_dealt_twice() -> None:
    fillings = [Filling(name, {}, name, {}) for name in "abc"]
    deck = templates.Deck(fillings, random.Random(0))
    first = [deck.deal() for _ in range(3)]
    assert {one.key for one in first} == set("abc")
    deck.keep(first[0])
    assert deck.deal() == first[0]


def test_a_template_that_only_repeats_another_is_refused() -> None:
    near = templates.Taken()
    one, other = (
        Template(name, "test", "y", ("Please name the one and only capital city of {country}.",)) for name in ("a", "b")
    )
    deck = templates.Deck([Filling(name, {"country": name}, name, {}) for name in "abcdef"], random.Random(0))
    made = templates.made("x-1", "conversation", "x", one, deck, set(), near, random.Random(0))
    again = templates.made("x-2", "conversation", "x", one, deck, {f"{made.reference}"}, near, random.Random(0))
    assert made.template == again.template and made.prompt != again.prompt
    with pytest.raises(ValueError, match="longer slots"):
        templates.made("x-3", "conversation", "x", other, deck, set(), near, random.Random(0))
