"""Samples: filters, conditions, sorting, labels, lineage, over a store filled by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from store.db import Store
from tests.tui.fakes import fill
from tests.tui.screen import control_center, settle, shown
from tui.app.app import ControlCenter
from tui.rooms import Room
from tui.rooms.preferences import PreferencesRoom
from tui.rooms.samples import SamplesRoom
from tui.rooms.wish import parse_range
from tui.widgets.diff import word_diff
from tui.widgets.samples.detail import SampleDetail
from tui.widgets.samples.lineage import LineageScreen
from tui.widgets.samples.table import SamplesTable
from tui.words.text import as_json, as_text
from tui.words.wording import agreement


async def samples(app: ControlCenter, pilot: Pilot[Any], count: int) -> SamplesTable:
    await pilot.press("2")
    table = app.query_one(SamplesTable)
    await settle(pilot, lambda: table.count == count and table.row_at(0) is not None)
    return table


def column(table: SamplesTable, name: str) -> list[Any]:
    rows = [table.row_at(at) for at in range(table.count)]
    return [row[name] for row in rows if row is not None]


async def test_detail_shows_what_made_a_sample(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await samples(app, pilot, 4)
        await settle(pilot, lambda: "Exact prompt" in shown(app, "#detail-text"))
        detail = shown(app, "#detail-text")
        assert "‹ Instruction: next›" in detail and "A -0.250  B -1.500" in detail
        assert "prompt of q-s1" in detail and "seed      11" in detail and "q-s1" in detail
        await pilot.press("r")
        await settle(pilot, lambda: "runaway" in shown(app, "#detail-text"))
        assert "it went past its own end" in shown(app, "#detail-text")  # the rule that raised the flag


async def test_filters_conditions_and_sorting(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=300)
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        table = await samples(app, pilot, 304)

        async def after(*keys: str, count: int | None = None) -> None:
            before = app.query_one(SamplesRoom)._listing
            await pilot.press(*keys)
            await settle(
                pilot, lambda: app.query_one(SamplesRoom)._listing is not before and table.row_at(0) is not None
            )
            if count is not None:
                assert table.count == count

        await after("r")
        assert set(column(table, "verdict")) == {"rejected"}
        await after("f")  # every rejected one of this store carries a flag
        assert all(column(table, "flags"))
        await after("x", count=304)
        await after("o")
        await after("o")
        scores = [item["label"] for item in column(table, "scores") if "label" in item]
        assert len(scores) > 90 and scores == sorted(scores, reverse=True)
        await after("O")
        scores = [item["label"] for item in column(table, "scores") if "label" in item]
        assert scores == sorted(scores)
        await after("m", *"-0.1 .. 0.1", "enter")
        assert 0 < table.count < 304
        assert all(-0.1 <= item["label"] <= 0.1 for item in column(table, "scores"))
        await after("w", *"ordinal < 50 AND split = 'train'", "enter")
        assert table.count and max(column(table, "ordinal")) < 50
        await after("x", count=304)
        await after("slash", *"braces", "enter", count=3)
        await after("x", count=304)
        await after("t")
        assert set(column(table, "split")) == {"train"}


async def test_a_wrong_condition_is_explained_and_nothing_is_lost(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        table = await samples(app, pilot, 4)
        room, box = app.query_one(SamplesRoom), app.query_one("#samples-input", Input)
        for typed, told in (("verdit = 1", "verdit"), ("foo ++ 3", "'foo'")):
            await pilot.press("w", *typed, "enter")
            await settle(pilot, lambda told=told: told in shown(app, "#samples-told"))  # type: ignore[misc]
            assert app.query_one("#samples-told").display and not app.query_one("#notice").display
            assert box.display and box.has_focus and box.value == typed  # it stays open to be corrected
            assert room.wish.where == "" and " w " not in shown(app, "#samples-filter") and table.count == 4
            await pilot.press("y")  # no label: it is typed
            assert box.value == f"{typed}y"
            await pilot.press("escape")
            assert not box.display and not app.query_one("#samples-told").display
        await pilot.press("w", *"ordinal = 1", "enter")
        await settle(pilot, lambda: table.count == 1 and not box.display)
        assert room.wish.where == "ordinal = 1" and table.has_focus
        await pilot.press("m", *"from a to b", "enter")
        assert box.display
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store:
        assert not store.reader().query("SELECT * FROM person_labels")


async def test_a_note_needs_a_label_and_a_label_keeps_its_note(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        table = await samples(app, pilot, 4)
        await pilot.press("i")
        assert not app.query_one("#samples-input", Input).display
        await settle(pilot, lambda: any("Label the sample first" in note.message for note in app._notifications))
        await pilot.press("y", "k")
        await settle(pilot, lambda: column(table, "person")[0] == "good")
        await pilot.press("i", *"so clear", "enter")
        await settle(pilot, lambda: "so clear" in shown(app, "#detail-text"))
        await pilot.press("j", "k", "b")  # before the detail has followed the cursor
        await settle(pilot, lambda: column(table, "person")[0] == "bad")
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store:
        rows = store.reader().query("SELECT subject_id, label, note FROM person_labels")
    assert [tuple(row.values()) for row in rows] == [("s1", "bad", "so clear")]


async def test_a_note_follows_the_label_that_moved_the_cursor_on(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        table = await samples(app, pilot, 4)
        await pilot.press("b", "i")
        box = app.query_one("#samples-input", Input)
        assert table.cursor == 1 and "s1, bad" in box.placeholder
        await pilot.press(*"why", "enter")
        await settle(pilot, lambda: column(table, "person")[0] == "bad")
        assert table.cursor == 1
        await pilot.press("j", "i")  # the cursor went elsewhere: the note is about what is under it, which has no label
        assert not box.display
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store:
        rows = store.reader().query("SELECT subject_id, label, note FROM person_labels")
    assert [tuple(row.values()) for row in rows] == [("s1", "bad", "why")]


async def test_most_of_a_small_screen_lists_samples(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=40)
    async with control_center(tmp_path / "s.duckdb", None, size=(80, 24)) as (app, pilot):
        table = await samples(app, pilot, 44)
        await pilot.pause()
        height = app.query_one("#detail").content_size.height
        assert table.size.height - 1 >= 8
        await settle(pilot, lambda: "plain tail" in "".join(shown(app, "#detail-text").split("\n")[: height - 1]))


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (60, 16)])
async def test_lineage_opens_at_its_first_step(tmp_path: Path, size: tuple[int, int]) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
        await samples(app, pilot, 4)
        await pilot.press("l")
        await settle(pilot, lambda: bool(app.screen.query("#lineage-steps")))
        await pilot.pause(0.1)
        steps = app.screen.query_one("#lineage-steps", OptionList)
        assert steps.scroll_y == 0 and steps.highlighted is not None


def test_filters_are_shortened_before_any_is_cut() -> None:
    from tui.widgets.samples.filters import FilterBar

    bar = FilterBar()
    for width in (120, 76, 74, 60, 56):
        bar.show(verdict=None, flagged=False, split=None, label=None, margin="", text="", where="", width=width)
        assert len(str(bar.content)) <= width and "split" in str(bar.content) and "labels" in str(bar.content)


async def test_the_table_pages_through_everything(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=900)
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        table = await samples(app, pilot, 904)
        await pilot.press("end")
        await settle(pilot, lambda: table.cursor == 903 and table.row_at(903) is not None)
        assert "…" not in table.render_line(table.size.height - 1).text.strip("▌ …") or table.row_at(903)
        last = table.row_at(903)
        await settle(pilot, lambda: app.query_one(SamplesRoom)._sample is not None
                     and app.query_one(SamplesRoom)._sample["sample_id"] == last["sample_id"])  # fmt: skip
        await pilot.press("home", "j", "j", "k")
        assert table.cursor == 1
        await pilot.press("pagedown")
        assert table.cursor == 1 + table.size.height - 2


async def test_labels_are_kept_and_audit_the_critics(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    async with control_center(path, None) as (app, pilot):
        table = await samples(app, pilot, 4)
        await pilot.press("h")
        await settle(pilot, lambda: "hidden" in shown(app, "#detail-text"))
        assert "accepted" not in table.render_line(1).text and "+1.25" not in table.render_line(1).text
        await pilot.press("y")
        await settle(pilot, lambda: column(table, "person")[0] == "good")
        assert table.cursor == 1
        await pilot.press("b")
        await settle(pilot, lambda: column(table, "person")[1] == "bad")
        await settle(pilot, lambda: "s3" in str(app.query_one(SampleDetail).border_subtitle))  # it follows the cursor
        await settle(pilot, lambda: "κ" in str(app.query_one("#samples-list").border_subtitle))
        await pilot.press("h", "k", "k")
        await settle(pilot, lambda: "you: good" in shown(app, "#detail-text"))
        await pilot.press("i", *"clear and right", "enter")
        await settle(pilot, lambda: "clear and right" in shown(app, "#detail-text"))
        await pilot.press("L")
        await settle(pilot, lambda: table.count == 2)
    with Store.open(path, read_only=True) as store:
        reader = store.reader()
        labels = reader.query("SELECT subject_id, label, note FROM person_labels ORDER BY 1")
        parts = {
            (row["critic"], row["part"]): row["detail"]["kappa"]
            for row in reader.audits("run-a")
            if row["part"] == "person"
        }
    assert [tuple(row.values()) for row in labels] == [("s1", "good", "clear and right"), ("s2", "bad", "")]
    assert parts["label", "person"] == 1.0


async def test_lineage_leads_from_seeds_to_the_verdict_and_back(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await samples(app, pilot, 4)
        await pilot.press("l")
        await settle(pilot, lambda: isinstance(app.screen, LineageScreen))
        kinds = [step.kind for step in app.screen._found.steps]  # type: ignore[attr-defined]
        order = ["seed", "request", "instruction", "duplicate", "judgement", "request", "response", "verdict"]
        assert [kind for at, kind in enumerate(kinds) if kinds.index(kind) == at or kind == "request"] == order
        steps = app.screen.query_one(OptionList)
        await settle(pilot, lambda: steps.highlighted == kinds.index("response"))
        text = str(app.screen.query_one("#lineage-text", Static).content)
        assert "[-" in text and "next-]" in text  # what was trimmed, as a word diff
        assert "\x1b" not in text
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


def test_word_diff_marks_what_changed_without_colour() -> None:
    assert word_diff("the red cat sat", "the blue cat sat down").plain == "the [-red-]{+blue+} cat sat{+ down+}"
    assert word_diff("same", "same").plain == "same"
    assert "␛" in word_diff("\x1b[2J", "x").plain


@pytest.mark.parametrize("how", ["json", "text"])
def test_a_sample_is_copied_whole_and_inert(tmp_path: Path, how: str) -> None:
    fill(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store:
        sample = store.reader().sample("run-a", "s1")
    if how == "json":
        text = as_json(sample)
        assert json.loads(text)["response"] == sample["response"] and text.isascii()
    else:
        text = as_text(sample)
        assert "␛]52" in text and "prompt of q-s1" in text
    assert "\x1b" not in text and "\x07" not in text


@pytest.mark.parametrize(
    ("typed", "ends"),
    [
        ("", (None, None)), ("-0.5 … 0.5", (-0.5, 0.5)), ("1 …", (1.0, None)), ("..2", (None, 2.0)), ("−1 to 3", (-1.0, 3.0)),
        ("0,4", (0.0, 4.0)), ("1", None), ("a … b", None),
    ],
)  # fmt: skip
def test_a_range_is_read_as_it_is_typed(typed: str, ends: tuple[float | None, float | None] | None) -> None:
    assert parse_range(typed) == ends


def test_agreement_is_told_with_its_n_and_without_critics_the_label_alone() -> None:
    audit = {"critic": "grade", "n_good": 3, "n_bad": 2, "accuracy": 0.8, "detail": {"kappa": 0.5}}
    none = {**audit, "critic": "pmi", "detail": {"kappa": None}}
    told = agreement([audit, none])
    assert told == "grade agrees with you in 80% of 5, κ +0.50; pmi agrees with you in 80% of 5, κ undefined"
    assert agreement([]) == "label kept"


@pytest.mark.parametrize(("room", "named"), [(SamplesRoom, "samples"), (PreferencesRoom, "preferences")])
def test_rooms_with_a_list_share_their_keys_under_names_of_their_own(room: type[Room], named: str) -> None:
    keys = {binding.id: binding.key for binding in room.BINDINGS if isinstance(binding, Binding)}
    shared = {"accepted": "a", "rejected": "r", "every": "e", "clear": "x", "order": "o", "back": "escape"}
    assert {name: keys[f"{named}.{name}"] for name in shared} == shared
    assert ("u" in keys.values()) is (named == "samples")
