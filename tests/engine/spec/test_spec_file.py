"""A spec's file as editors write it, and what is said of characters that may not stand in it."""

from pathlib import Path

import pytest

from engine.core.errors import SpecError
from engine.core.yaml_text import YamlFault, compose_yaml, read_yaml
from engine.spec.constitution import CONSTITUTION, load_constitution
from engine.spec.stage import SPECS, load_spec
from store.names import LARGEST_SEED, MOST

SMALL = SPECS / "stage_1_small_model.md"
BOM = b"\xef\xbb\xbf"


def test_a_byte_order_mark_changes_no_setting(tmp_path: Path) -> None:
    spec, constitution = tmp_path / "mine.md", tmp_path / "mine.yaml"
    spec.write_bytes(BOM + SMALL.read_bytes())
    constitution.write_bytes(BOM + CONSTITUTION.read_bytes())
    assert load_spec(str(spec)).settings == load_spec(str(SMALL)).settings
    assert load_constitution(constitution).principles == load_constitution().principles


@pytest.mark.parametrize("character", ["\x00", "\x07", "\ud7ff\ufffe"])
def test_a_character_that_may_not_stand_in_yaml_is_named_with_its_line(tmp_path: Path, character: str) -> None:
    for source, read in ((SMALL, lambda path: load_spec(str(path))), (CONSTITUTION, load_constitution)):
        lines = source.read_text(encoding="utf-8").split("\n")
        lines[5] += f" # {character}"
        path = tmp_path / source.name
        path.write_text("\n".join(lines), encoding="utf-8")
        with pytest.raises(SpecError) as raised:
            read(path)
        code = f"U+{ord(character[-1]):04X}"
        assert f"{path}, line 6: the character {code} may not stand in YAML" in raised.value.title


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1, 2\n", 3, "expected ',' or ']'"),
        ("a: 2026-13-45", 0, "month must be in 1..12"),
        ("a: " + "9" * 5000, 0, "limit"),
        ("[" * 4000, 0, "brackets within brackets"),
        ("a: 1\n\x00", 2, "U+0000"),
    ],
    ids=["syntax", "a date", "digits", "brackets", "NUL"],
)
def test_every_fault_of_yaml_is_one_error_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(YamlFault) as raised:
        read_yaml(text)
    assert raised.value.line == line and words in str(raised.value)


def test_nodes_know_their_lines() -> None:
    assert compose_yaml("a: 1\nb: 2\n").value[1][0].start_mark.line == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"expected_gain": "0.6", "expected_loss": "0.5"}, "their sum is at most 1"),
        ({"power": "0.04"}, "power must be above alpha"),
    ],
)
def test_an_expectation_that_cannot_be_planned_for_is_refused(changed: dict[str, str], words: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_spec(str(SMALL), {f"evaluation.{name}": value for name, value in changed.items()})
    assert words in str(raised.value) + str(raised.value.title)


@pytest.mark.parametrize("setting", [f"seed={LARGEST_SEED}", f"seed={-LARGEST_SEED - 1}", f"target={MOST}"])
def test_the_largest_numbers_that_columns_hold_are_taken(setting: str) -> None:
    key, _, value = setting.partition("=")
    assert getattr(load_spec(str(SMALL), {key: value}).settings, key) == int(value)
