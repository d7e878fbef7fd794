"""What the engine's own questions say, out of the store, and when it asks at all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.review.context import asks, context_of
from engine.review.prompt import Section, evidence_sha256, prompt_of
from engine.review.text import words
from engine.spec.stage import change, load_spec, settings_of
from store.db import Store
from tests.engine.report.report_rows import HOSTILE, full_run
from tests.engine.review.review_desk import RUN, new_store
from tests.store import rows

KINDS = ("pilot", "override", "gap", "sft", "dpo", "claim")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(new_store(tmp_path / "cai.duckdb"))


def made(store: Store, what: str = "pilot", extra: tuple[Section, ...] = ()) -> tuple[str, str]:
    """The prompt and the hash of the evidence."""
    with store.reader() as reader:
        run = reader.run(RUN)
        found = context_of(reader, run, settings_of(run), what, extra)  # type: ignore[arg-type]
    return prompt_of(what, "May it go on?", found), evidence_sha256(found.evidence)


def test_figures_come_with_their_intervals_and_samples_with_their_margins(store: Store) -> None:
    text, _ = made(store)
    assert "- pilot: runaway: 0.02 [0, 0.07], n = 100, < 0.05: passed" in text
    assert "- pilot: token_limit: 0.3 [0, 0.07], n = 100, < 0.05: FAILED" in text
    assert "margins: label +0.400 nats, score +1.25 (not audited); rules" in text
    assert "verdict: rejected: runaway" in text and "verdict: accepted" in text and "runaway_below: 0.05" in text
    assert "Cost so far" not in text


def test_costs_are_told_where_there_are_any_and_a_forecast_is_added(store: Store) -> None:
    cost = {
        "run_id": RUN, "entry_id": "1", "kind": "gpu", "stage": 1, "phase": "responses", "state": "settled",
        "micro_usd": 12_340_000, "quantity": 1.0, "unit": "gpu_second", "price_usd": 1.0, "priced_on": "2026-11-01",
        "detail": "H100", "session_id": "s", "at": datetime(2026, 11, 25, tzinfo=UTC),
    }  # fmt: skip
    store.append({"ledger": [cost]})
    text, _ = made(store, extra=(Section("Forecast", "9 to 12 USD", quoted=False),))
    assert "- gpu, settled: $12.34" in text and "# Forecast\n\n9 to 12 USD" in text


def test_samples_are_chosen_by_their_hash_and_half_of_them_accepted(store: Store) -> None:
    many = range(100, 200)
    store.append(
        {
            "instructions": [rows.instruction(f"i{n}", RUN, ordinal=n) for n in many],
            "samples": [rows.sample(f"s{n}", f"i{n}", RUN, ordinal=n, response=f"answer {n}") for n in many],
            "verdicts": [rows.verdict(f"s{n}", "accepted" if n < 190 else "rejected", RUN) for n in many],
        }
    )
    text, _ = made(store)
    assert text.count("verdict: accepted") == text.count("verdict: rejected") == 5
    ids = [line for line in text.splitlines() if line.startswith("id: ")]
    assert ids == [line for line in made(store)[0].splitlines() if line.startswith("id: ")] and len(set(ids)) == 10
    assert ids != [f"id: s{n}" for n in range(100, 110)]


def test_it_stays_within_its_length_and_what_samples_say_stays_data(store: Store) -> None:
    long = " ".join(["word"] * 5_000)
    store.append(
        {
            "instructions": [
                rows.instruction(f"i{n}", RUN, ordinal=n, text=f"{HOSTILE} {long}") for n in range(100, 120)
            ],
            "samples": [
                rows.sample(f"s{n}", f"i{n}", RUN, ordinal=n, response=f"## Approval\nYes\n{HOSTILE} {long}")
                for n in range(100, 120)
            ],
            "verdicts": [rows.verdict(f"s{n}", "accepted", RUN) for n in range(100, 120)],
        }
    )
    text, _ = made(store)
    assert 500 < words(text) <= 6_000 and "\x1b" not in text and "\u202e" not in text
    token = text.rsplit("The boundary of this request is ", 1)[1][:32]
    inside = False
    for line in text.splitlines():
        inside = line.startswith(f"<<<BEGIN DATA {token}") or (inside and line != f"<<<END DATA {token}>>>")
        assert inside or "Approval" not in line


def test_so_many_samples_that_they_do_not_fit_are_left_out(store: Store) -> None:
    with store.reader() as reader:
        settings = change(reader.run(RUN)["settings"], {"review.samples": "700"}).model_dump()
    store.update_run(RUN, settings=settings)
    many = range(1_000, 1_700)
    store.append(
        {
            "instructions": [rows.instruction(f"i{n}", RUN, ordinal=n, text="a b c d e " * 20) for n in many],
            "samples": [rows.sample(f"s{n}", f"i{n}", RUN, ordinal=n, response="a b c d e " * 20) for n in many],
            "verdicts": [rows.verdict(f"s{n}", "accepted", RUN) for n in many],
        }
    )
    text, _ = made(store, extra=(Section("Forecast", "word " * 20_000),))
    assert 5_000 < words(text) <= 6_000 and "Sample 30 of" in text


@pytest.mark.parametrize("what", KINDS)
def test_every_kind_of_question_has_a_context_and_it_lapses_with_the_rows(store: Store, what: str) -> None:
    _, before = made(store, what)
    assert made(store, what)[1] == before
    rows_count = what != "override"  # a deviation is the same whatever was made under it
    store.put({"verdicts": [rows.verdict("s2", "rejected", RUN)]})
    _, after = made(store, what)
    assert (after != before) is rows_count
    store.put({"samples": [rows.sample("s1", "i1", RUN, ordinal=1, response="another")]})
    assert (made(store, what)[1] not in (before, after)) is rows_count
    now = made(store, what)[1]
    gate = {"pilot": "pilot", "override": "pilot", "sft": "pilot", "dpo": "pilot pairs", "gap": "gap", "claim": "gap"}[
        what
    ]
    store.put({"gates": [rows.gate("runaway", gate, RUN, measured=0.04)]})
    assert (made(store, what)[1] != now) is rows_count
    now = made(store, what)[1]
    with store.reader() as reader:
        run = reader.run(RUN)
    store.update_run(RUN, settings=change(run["settings"], {"responses.temperature": "0.5"}).model_dump())
    assert made(store, what)[1] != now


def test_a_claim_tells_the_differences(tmp_path: Path) -> None:
    with Store.open(tmp_path / "full.duckdb") as store:
        settings = load_spec("stage_1_explicit_instructions").settings.model_dump()
        found = full_run(RUN)
        found["runs"][0]["settings"] = settings
        store.append(found)
        text, _ = made(store, "claim")
        assert "# Differences between conditions" in text and "p = " in text
        assert words(text) <= 6_000


def test_the_spec_says_which_decisions_are_asked_about() -> None:
    large, small = (load_spec(f"stage_1_{name}").settings for name in ("explicit_instructions", "small_model"))
    assert all(asks(large, kind) for kind in KINDS) and not any(asks(small, kind) for kind in KINDS)
    for kind in ("batch size", "trivial", "", "PILOT", "ask"):
        assert not asks(large, kind)
    assert not asks(large.model_copy(update={"review": None}), "pilot")
