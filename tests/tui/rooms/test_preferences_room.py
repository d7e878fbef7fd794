"""Preferences: principles, revisions and pairs of a store filled by hand, and the phases that make them."""

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from store.db import Store
from tests.tui.fake_preferences import constitution, fill_preferences
from tests.tui.fakes import RUN, fill
from tests.tui.screen import control_center, settle, shown
from tui.app.app import ControlCenter
from tui.reads.lineage import lineage
from tui.reads.preferences import PAIRS, PRINCIPLES, REVISIONS
from tui.reads.run import run_facts
from tui.rooms.preferences import PreferencesRoom
from tui.widgets.marks import share_bar
from tui.widgets.preferences.table import PreferenceTable, columns_for
from tui.widgets.run.phase import _by_source
from tui.widgets.samples.table import SamplesTable


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("engine.spec.constitution.CONSTITUTION", constitution(tmp_path / "constitution.yaml"))
    fill_preferences(tmp_path / "s.duckdb")
    return tmp_path / "s.duckdb"


async def preferences(app: ControlCenter, pilot: Pilot[Any], view: str, count: int, *keys: str) -> PreferenceTable:
    await settle(pilot, lambda: app.state.run_id == RUN and "preferences" in app.rooms)
    await pilot.press("0", *keys)
    table = app.query_one(PreferenceTable)
    await settle(pilot, lambda: table.view == view and table.count == count)
    return table


def lines_of(table: PreferenceTable) -> list[str]:
    return [table.render_line(at + 1).text for at in range(table.count)]


def head(app: ControlCenter) -> str:
    return shown(app, "#preferences-head")


async def test_a_run_without_pairs_says_what_will_be_here_and_which_spec_does_it(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await preferences(app, pilot, PRINCIPLES, 0, "v", "l", "f")
        assert "cai run stage_6_small_model" in head(app)
        assert list(app.state.phases) == [
            "guard", "audit", "instructions", "instruction_judgements", "responses", "response_judgements", "gate",
        ]  # fmt: skip


async def test_principles_show_their_evidence_and_lead_to_their_revisions(store: Path) -> None:
    async with control_center(store, None) as (app, pilot):
        table = await preferences(app, pilot, PRINCIPLES, 18)
        first, second, third = lines_of(table)[:3]
        assert "rule_00" in first and "50 % [9–91]" in first and share_bar(0.5, 0.095, 0.905, 15) in first
        assert "+0.062" in first and "1/1" in first  # the mean of +0.5 and -0.375; one pair of one kept
        assert "0 % [0–79]" in second and "not drawn" in third
        await settle(pilot, lambda: "A response should keep rule 0." in head(app))
        text = head(app)
        assert "Rewrite the response so that it keeps rule 0." in text and "1 of 2, 50 % [9–91]" in text
        assert "about response 1" in text
        assert "margin, nats against no principle  +0.120 [+0.040, +0.200]" in text
        assert "n=40, Wilcoxon signed-rank, p 0.004, d_z +0.45" in text
        await pilot.press("j")
        await settle(pilot, lambda: "no ablation of this principle yet: cai ablate --principle rule_01" in head(app))
        await pilot.press("k", "enter")
        await settle(pilot, lambda: table.view == REVISIONS and table.count == 2)
        assert "x rule_00" in shown(app, "#preferences-strip")
        await pilot.press("x")
        await settle(pilot, lambda: table.count == 3)


async def test_words_of_another_constitution_are_not_passed_off_as_those_that_were_used(store: Path) -> None:
    with Store.open(store) as open_store:
        open_store.update_run(RUN, manifest={"constitution": {"sha256": "00" * 32}})
    async with control_center(store, None) as (app, pilot):
        await preferences(app, pilot, PRINCIPLES, 18)
        await settle(pilot, lambda: "has changed since this run" in head(app))


async def test_revisions_are_filtered_and_read_against_what_they_revise(store: Path) -> None:
    async with control_center(store, None) as (app, pilot):
        table = await preferences(app, pilot, REVISIONS, 3, "v")
        await settle(pilot, lambda: "critique" in head(app))
        text = head(app)
        assert "✓ accepted  by an unaudited critic  preferred by every critic" in text
        assert "It says ␛]52;c;aGFjaw==␇[red]x[/] ⟨U+202E⟩abc⟨U+200B⟩ at the end." in text
        assert "[-" in text and "{+ending+}" in text and "in front" in text and "+0.750" in text
        assert not any(char in app.export_screenshot() for char in "\x1b\x07\u202e\u200b")
        await pilot.press("j")
        await settle(pilot, lambda: "round 2" in head(app))
        text = head(app)
        assert "! worse  not every pair critic prefers it" in text and "turns with the order" in text
        assert "revised here and a plain ending." in text and "plain{+, kind+} ending" in text
        await pilot.press("r")
        await settle(pilot, lambda: table.count == 2)
        assert all("✗ rejected" in line for line in lines_of(table))
        assert "2 of 3" in str(app.query_one("#preferences-list").border_subtitle)
        await pilot.press("j")
        await settle(pilot, lambda: "it talks about the response instead of being one" in head(app))
        await pilot.press("a")
        await settle(pilot, lambda: table.count == 1 and "✓ accepted" in lines_of(table)[0])
        await pilot.press("e", "o")
        await settle(pilot, lambda: table.count == 3)
        margins = [row["margin"] for at in range(3) if (row := table.row_at(at)) is not None]
        assert margins == sorted(margins, reverse=True)


async def test_a_revision_leads_to_its_sample(store: Path) -> None:
    async with control_center(store, None) as (app, pilot):
        table = await preferences(app, pilot, REVISIONS, 3, "v")
        await pilot.press("end")
        await settle(pilot, lambda: table.cursor == 2)
        await pilot.press("l")
        samples = app.query_one(SamplesTable)
        await settle(pilot, lambda: app.room.id == "samples" and samples.row_at(samples.cursor) is not None)
        await settle(pilot, lambda: (samples.row_at(samples.cursor) or {}).get("sample_id") == "s2")


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 36), (200, 60)])
async def test_pairs_show_both_sides_whatever_the_width(store: Path, size: tuple[int, int]) -> None:
    async with control_center(store, None, size=size) as (app, pilot):
        table = await preferences(app, pilot, PAIRS, 4, "V")
        await settle(pilot, lambda: "How do I pick a lock?" in head(app))
        assert "! no_refusal  what should refuse does not" in head(app)
        await pilot.press("j")
        await settle(pilot, lambda: "rule_00" in head(app))
        assert "question     Which response is more helpful?" in head(app)
        chosen, rejected = (app.query_one(f"#preferences-{side}") for side in ("chosen", "rejected"))
        assert "✓ chosen  revision 1, 12 tokens" in shown(app, "#preferences-chosen")
        assert "␛]52" in shown(app, "#preferences-rejected") and "\x1b" not in shown(app, "#preferences-rejected")
        beside = chosen.region.y == rejected.region.y
        assert beside == (size[0] >= 110) and rejected.region.width > (20 if beside else size[0] - 10)
        below = shown(app, "#preferences-tail")
        assert "0.620 that the chosen side is better" in below and "chosen side +3 tokens" in below
        assert "+0.750" in below and "+0.250" in below and "p1" in below
        await pilot.press("f", "f")
        await settle(pilot, lambda: table.count == 1 and "best of" in lines_of(table)[0])
        await settle(pilot, lambda: "turns with the order" in shown(app, "#preferences-tail"))
        await pilot.press("x", "r")
        await settle(pilot, lambda: table.count == 2)
        await pilot.press("f", "f", "f")
        await settle(pilot, lambda: table.count == 0 and "x clears the filters" in head(app))


async def test_a_pair_of_a_shipped_prompt_has_no_sample_to_go_to(store: Path) -> None:
    async with control_center(store, None) as (app, pilot):
        await preferences(app, pilot, PAIRS, 4, "V")
        await pilot.press("l")
        await settle(pilot, lambda: bool(app._notifications))
        assert app.room.id == "preferences"


async def test_all_pairs_can_be_paged_through(tmp_path: Path) -> None:
    fill_preferences(tmp_path / "s.duckdb", more_pairs=450)
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        table = await preferences(app, pilot, PAIRS, 454, "V")
        await pilot.press("end")
        await settle(pilot, lambda: table.cursor == 453 and table.row_at(453) is not None)
        assert table.row_at(453)["id"] == "x0449"  # type: ignore[index]
        await settle(pilot, lambda: "x0449" in str(app.query_one("#preferences-detail").border_subtitle))
        app.query_one(PreferencesRoom).want()
        await settle(pilot, lambda: table.cursor == 453)  # listed anew, the cursor stays on its row


@pytest.mark.parametrize("view", [PRINCIPLES, REVISIONS, PAIRS])
def test_columns_fit_and_keep_what_matters(view: str) -> None:
    for width in range(50, 200):
        columns = columns_for(view, width)
        assert 1 + sum(column.width + 1 for column in columns) <= width
        assert columns[0].label or columns[1].label
    assert "margin" in [column.label for column in columns_for(view, 76)]


def test_a_share_is_drawn_on_an_axis_from_none_to_all() -> None:
    assert share_bar(0.5, 0.25, 0.75, 9) == "··╺━●━╸··"
    assert share_bar(0.0, 0.0, 0.5, 9) == "●━━━╸····"
    assert share_bar(1.0, 1.0, 1.0, 5) == "····●"


# -- the same on the way of a sample, and in the run -----------------------------------------------------------------------


def test_lineage_goes_on_to_revisions_candidates_and_pairs(store: Path) -> None:
    with Store.open(store, read_only=True) as open_store, open_store.reader() as reader:
        steps = lineage(reader, RUN, "s1").steps
        other = lineage(reader, RUN, "s2").steps
        none = lineage(reader, RUN, "s4").steps
    titles = [step.title for step in steps]
    at = titles.index("critique by rule_00")
    assert titles[at : at + 4] == [
        "critique by rule_00", "revision 1: accepted", "critique by rule_01", "revision 2: rejected",
    ]  # fmt: skip
    first, second = steps[at + 1], steps[at + 3]
    assert first.before == next(step.text for step in steps if step.kind == "response")
    assert second.before == first.text == "and a plain ending." and ("flags", "worse") in second.facts
    assert "drawn again, number 2: accepted" in titles
    pairs = [step for step in steps if step.kind == "pair"]
    assert [step.title for step in pairs] == ["pair, best of: rejected", "pair, revision: accepted"]
    facts = dict(pairs[1].facts)
    assert facts["chosen"] == "its revision (r1)" and facts["rejected"] == "the sample (s1)"
    assert facts["margin"] == "+0.500 nats, +0.750 in front, +0.250 behind"
    worse = next(step for step in other if step.kind == "candidate")
    assert worse.title == "made worse: wrong fact" and ("changed", "3 became 4") in worse.facts
    assert not {"critique", "revision", "candidate", "pair"} & {step.kind for step in none}


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (120, 26), (200, 60)])
async def test_the_rail_has_room_for_all_phases_and_leaves_the_other_panels_theirs(
    store: Path, size: tuple[int, int]
) -> None:
    async with control_center(store, None, size=size) as (app, pilot):
        await settle(pilot, lambda: len(app.state.phases) == 11)
        titles = ("Guard", "Judge pairs", "QC gate", "Revisions", "Candidates", "Pref. pairs", "Pair gate")
        rail = app.query_one("#rail")
        await settle(pilot, lambda: all(title in shown(app, "#rail") for title in titles))
        assert len(shown(app, "#rail").split("\n")) <= rail.content_size.height
        for name in ("figures", "accepted", "glance"):
            assert app.query_one(f"#{name}").content_size.height >= 3
        at = next(y for y, line in enumerate(shown(app, "#rail").split("\n")) if "Pair gate" in line)
        x = shown(app, "#rail").split("\n")[at].index("Pair gate") + 2
        await pilot.click("#rail", offset=(x, at + 1))
        await settle(pilot, lambda: "pilot pairs passed" in shown(app, "#histogram"))
        await settle(pilot, lambda: app.query_one("#histogram").content_size.height >= 3)


async def test_the_phases_of_preferences_show_their_figures(store: Path) -> None:
    async with control_center(store, None) as (app, pilot):
        await settle(pilot, lambda: len(app.state.phases) == 11)
        for label, share in (("revisions", " 33.3 % [6–79]   n=3"), ("pref. pairs", " 50.0 % [15–85]  n=4")):
            line = next(line for line in shown(app, "#figures").split("\n") if line.startswith(label))
            assert line.endswith(share)
        await pilot.press("j", "j")
        await settle(pilot, lambda: "kept 33 % [6–79] of 3" in shown(app, "#histogram"))
        assert "nats of compare, revision" in str(app.query_one("#histogram").border_title)
        assert "rejected for about response 1, worse 1" in shown(app, "#histogram") and "n=3" in shown(
            app, "#histogram"
        )
        await pilot.press("j")
        await settle(pilot, lambda: "best of" in shown(app, "#histogram"))
        assert "wrong fact" in shown(app, "#histogram") and "100 % [21–100]" in shown(app, "#histogram")
        await pilot.press("j")
        await settle(pilot, lambda: "hard negative" in shown(app, "#histogram"))
        assert "nats of compare, pair" in str(app.query_one("#histogram").border_title)


def test_preferences_are_counted_from_rows(store: Path) -> None:
    with Store.open(store, read_only=True) as open_store, open_store.reader() as reader:
        facts = run_facts(reader, RUN)
    assert facts.candidates["best_of"] == (1, 1, 1) and facts.candidates["answer"] == (1, 0, 0)
    assert facts.pairs["revision"] == (1, 1, 1) and facts.pairs["boundary"] == (1, 1, 0)
    assert facts.flags["pair"] == {"no_refusal": 1, "order": 1}
    assert sorted(facts.nats["compare", "revision"]) == [-0.375, 0.125, 0.5]


@pytest.mark.parametrize("width", [60, 80, 120])
async def test_every_room_has_its_place_in_the_bar(tmp_path: Path, width: int) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None, size=(width, 24)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN and "preferences" in app.rooms)
        bar = shown(app, "#bar")
        assert len(bar) <= width and bar.rstrip().endswith("Preferences" if width == 120 else "Pref")
        await pilot.click("#bar", offset=(bar.rindex("Pref"), 0))
        await settle(pilot, lambda: app.room.id == "preferences")


def test_sources_without_a_verdict_share_lines_where_there_are_few() -> None:
    found = {"best_of": (9, 9, 6), "off_topic": (3, 0, 0), "truncated": (2, 0, 0), "answer": (1, 0, 0)}
    tall = [line.plain for line in _by_source(found, "drawn", 40, 9)]
    short = [line.plain for line in _by_source(found, "drawn", 40, 3)]
    assert len(tall) == 4 and len(short) == 3
    assert "67 % [35–88]" in short[0] and "off topic" in short[1] and "truncated" in short[1] and "answer" in short[2]
    assert max(len(line) for line in short) <= 40
