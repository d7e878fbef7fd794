"""The constitution's file, what is said of a broken one, and which principle each item gets."""

import hashlib
import random
from collections import Counter
from pathlib import Path

import pytest

from engine.core.errors import SpecError
from engine.spec.constitution import CATEGORIES, CONSTITUTION, MIN_PRINCIPLES, Constitution, load_constitution

SHIPPED = CONSTITUTION.read_text(encoding="utf-8")
LINES = SHIPPED.splitlines()
ITEMS = [f"s-{number:03d}" for number in range(180)]


def line_of(text: str, nth: int = 1) -> int:
    """Number of the nth line of the shipped file that holds a text."""
    return [number for number, line in enumerate(LINES, 1) if text in line][nth - 1]


def load(tmp_path: Path, text: str) -> Constitution:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return load_constitution(path)


def error(tmp_path: Path, text: str) -> tuple[int, str]:
    """The line that the error names and what it says of it."""
    with pytest.raises(SpecError) as raised:
        load(tmp_path, text)
    place, _, problem = raised.value.title.partition(": ")
    path, _, line = place.partition(", line ")
    assert path == str(tmp_path / "c.yaml")
    return int(line), problem


@pytest.fixture(scope="module")
def shipped() -> Constitution:
    return load_constitution()


@pytest.fixture
def weighted(tmp_path: Path) -> Constitution:
    return load(tmp_path, SHIPPED.replace("helpfulness: 1.0", "helpfulness: 2.0"))


def test_the_shipped_constitution_is_whole_and_named_by_its_bytes(shipped: Constitution) -> None:
    assert len(shipped.principles) >= MIN_PRINCIPLES == 16
    assert {principle.category for principle in shipped.principles} == set(CATEGORIES) == set(shipped.weights)
    assert shipped.sha256 == hashlib.sha256(CONSTITUTION.read_bytes()).hexdigest()
    assert sum(shipped.shares.values()) == pytest.approx(1)
    first = shipped.by_id["does_the_task"]
    assert first.text in SHIPPED and first.comparison.endswith("?") and first.critique_request != first.revision_request


def test_another_byte_is_another_constitution(tmp_path: Path, shipped: Constitution) -> None:
    assert load(tmp_path, SHIPPED + "\n").sha256 != shipped.sha256


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("version: 1\n", "version: 1\ntitle: mine\n", 4, "unknown key 'title' in the constitution"),
        ("    text: ", "    texts: ", line_of("text: "), "unknown key 'texts' in principle 1"),
        ("version: 1\n", "", 3, "the constitution has no 'version'"),
        (f"{LINES[line_of('comparison:') - 1]}\n", "", line_of("id: does"), "principle 1 has no 'comparison'"),
        ("honesty: 1.0, ", "", line_of("weights:"), "weights has no 'honesty'"),
        ("version: 1\n", "version: 1\nversion: 1\n", 4, "the key 'version' is there twice"),
        ("id: kind_words", "id: does_the_task", line_of("id: kind_words"), "'does_the_task' is there twice"),
        ("id: kind_words", "id: Kind Words", line_of("id: kind_words"), "lower_case_with_underscores"),
        ("category: honesty", "category: truth", line_of("category: honesty"), "category must be one of helpfulness"),
        ("category: honesty", "category: 3", line_of("category: honesty"), "category must be a text, not 3"),
        ("honesty: 1.0", "honesty: -1", line_of("weights:"), "the weight of honesty must be a number from 0, not -1"),
        ("honesty: 1.0", "honesty: yes", line_of("weights:"), "must be a number from 0, not True"),
        ("version: 1\n", "version: 0\n", 3, "version must be a whole number from 1, not 0"),
        ("version: 1\n", "version: [1\n", 4, "expected ',' or ']'"),
        ("principles:\n", "principles: {}\nothers:\n", line_of("principles:") + 1, "unknown key 'others'"),
    ],
    ids=lambda value: value.strip()[:32] if isinstance(value, str) else None,
)
def test_a_fault_is_named_with_its_file_and_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in SHIPPED
    found, problem = error(tmp_path, SHIPPED.replace(old, new, 1))
    assert found == line and words in problem


def test_a_text_of_two_lines_is_refused_and_one_that_is_only_folded_is_not(tmp_path: Path) -> None:
    line = LINES[line_of("text: ") - 1]
    block = "    text: |\n      A response should\n      be short."
    assert error(tmp_path, SHIPPED.replace(line, block)) == (
        line_of("text: "),
        "text must be one line: a line break would end a prompt",
    )
    folded = load(tmp_path, SHIPPED.replace(line, block.replace("|", ">")))
    assert folded.principles[0].text == "A response should be short."


def test_too_few_principles_or_none_of_a_category_is_refused(tmp_path: Path, shipped: Constitution) -> None:
    start = line_of("- id:")
    cut = line_of("- id:", MIN_PRINCIPLES) - 1
    assert error(tmp_path, "\n".join(LINES[:cut])) == (start, "15 principles, at least 16 are needed")
    one_sided = SHIPPED.replace("category: honesty", "category: helpfulness")
    assert error(tmp_path, one_sided) == (start, "no principle of the category honesty")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "only words\n"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert error(tmp_path, text) == (1, "the constitution must be a mapping of keys")


def test_weights_of_nothing_and_principles_that_are_no_list_are_refused(tmp_path: Path) -> None:
    assert error(tmp_path, SHIPPED.replace(": 1.0", ": 0")) == (
        line_of("weights:"),
        "at least one weight must be above 0",
    )
    text = "\n".join([*LINES[: line_of("- id:") - 2], "principles: many"])
    assert error(tmp_path, text) == (line_of("- id:") - 1, "principles must be a list")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="none.yaml could not be read"):
        load_constitution(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("honesty: 1.0", "honesty: .nan"),
        ("honesty: 1.0", "honesty: .inf"),
        ("version: 1\n", "version: !own 1\n"),
        ("version: 1\n", "version: 2026-02-30\n"),
    ],
)
def test_a_value_that_yaml_cannot_make_or_that_is_no_finite_number_is_named(tmp_path: Path, old: str, new: str) -> None:
    assert error(tmp_path, SHIPPED.replace(old, new, 1))[0] == line_of(old.strip())


def test_principles_are_drawn_in_balance(shipped: Constitution) -> None:
    drawn = Counter(shipped.allot(1, 1, ITEMS, {}, {}).values())
    assert {abs(drawn[name] - len(ITEMS) * share) <= 1 for name, share in shipped.shares.items()} == {True}
    assert len(drawn) == 18  # 10 of each, as the three categories have six principles and equal weights


def test_principles_are_drawn_by_their_categories_weights(weighted: Constitution) -> None:
    drawn = Counter(weighted.allot(1, 1, ITEMS, {}, {}).values())
    wanted = {name: 15 if weighted.by_id[name].category == "helpfulness" else 7.5 for name in weighted.by_id}
    assert {name: drawn[name] for name in wanted if abs(drawn[name] - wanted[name]) > 1} == {}


def test_a_category_without_weight_is_never_drawn(tmp_path: Path) -> None:
    none = load(tmp_path, SHIPPED.replace("honesty: 1.0", "honesty: 0"))
    barred = {item: {"does_the_task"} for item in ITEMS}
    drawn = {none.by_id[name].category for name in none.allot(1, 1, ITEMS, {}, barred).values()}
    assert drawn == {"helpfulness", "harmlessness"}


def test_the_draw_belongs_to_the_seed_and_the_round(shipped: Constitution) -> None:
    first = shipped.allot(1, 1, ITEMS, {}, {})
    assert shipped.allot(1, 1, ITEMS, {}, {}) == first
    for seed, round_ in ((2, 1), (1, 2)):
        other = shipped.allot(seed, round_, ITEMS, {}, {})
        assert sum(other[item] != first[item] for item in ITEMS) > 90


def test_what_was_given_is_kept_and_counted(shipped: Constitution) -> None:
    given = dict.fromkeys(ITEMS[:60], "kind_words")
    found = shipped.allot(1, 1, ITEMS, given, {})
    assert {item: found[item] for item in given} == given
    # Far ahead of its share, it is drawn for none of the others.
    assert "kind_words" not in [found[item] for item in ITEMS[60:]]


@pytest.mark.parametrize("number", range(8))
def test_an_interrupted_round_goes_on_to_the_same_principles(weighted: Constitution, number: int) -> None:
    rng = random.Random(number)
    names = list(weighted.by_id)
    barred = {item: set(rng.sample(names, rng.randint(1, 3))) for item in ITEMS[::2]}
    whole = weighted.allot(7, 2, ITEMS, {}, barred)
    done = rng.sample(ITEMS, rng.randint(1, len(ITEMS)))
    assert weighted.allot(7, 2, ITEMS, {item: whole[item] for item in done}, barred) == whole


def test_later_items_change_no_earlier_ones(shipped: Constitution) -> None:
    whole = shipped.allot(3, 1, ITEMS, {}, {})
    for size in (1, 17, 100):
        assert list(shipped.allot(3, 1, ITEMS[:size], {}, {}).items()) == list(whole.items())[:size]


def test_no_item_gets_a_principle_that_it_is_barred_from(shipped: Constitution) -> None:
    names = list(shipped.by_id)
    rng = random.Random(5)
    barred = {item: set(rng.sample(names, 17)) for item in ITEMS}
    found = shipped.allot(1, 1, ITEMS, {}, barred)
    assert [item for item in ITEMS if found[item] in barred[item]] == []


def test_an_item_barred_from_all_still_gets_one(shipped: Constitution) -> None:
    assert shipped.allot(1, 1, ["s"], {}, {"s": set(shipped.by_id)})["s"] in shipped.by_id


def test_the_irrelevant_principle_is_always_of_another_category(shipped: Constitution) -> None:
    for principle in shipped.principles:
        drawn = [shipped.irrelevant_to(principle.id, 1, item) for item in ITEMS[:40]]
        assert {other.category for other in drawn} == set(CATEGORIES) - {principle.category}
        assert drawn == [shipped.irrelevant_to(principle.id, 1, item) for item in ITEMS[:40]]
        assert drawn != [shipped.irrelevant_to(principle.id, 2, item) for item in ITEMS[:40]]
