"""The queue of samples to label: its order, what is drawn at random, and what labels of either kind count for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.quality.labels import audit, mark, put_back, stored_label
from engine.quality.queue import EVERY, Queued, drawn_of, places, standing
from store.db import Store
from tests.store import rows

N = 40


def many(n: int = N, critic: str = "probe", run_id: str = "run-a", **fields: Any) -> dict[str, list[dict[str, Any]]]:
    """A run of n samples of different margins, in no order; the first is one that rules reject."""
    settings = {"critics": {"sample": [critic], "accept_above": 0.0}}
    found: dict[str, list[dict[str, Any]]] = {"runs": [rows.run(run_id, settings=settings, **fields)]}
    of = {"run_id": run_id}
    margins = [((7 * at) % n - n / 3) / 4 for at in range(n)]
    found["instructions"] = [
        rows.instruction(f"i{at}", **of, ordinal=at, text=f"Name {at} tall green trees.") for at in range(n)
    ]
    found["samples"] = [rows.sample(f"s{at}", f"i{at}", **of, ordinal=at, response=f"Tree {at}.") for at in range(n)]
    found["judgements"] = [
        rows.judgement(f"s{at}", critic, **of, margin_nats=margin, score=margin - 0.5)
        for at, margin in enumerate(margins)
    ]
    found["verdicts"] = [
        rows.verdict(f"s{at}", "rejected" if at == 0 else "accepted", **of, basis="rules") for at in range(n)
    ]
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s.duckdb") as opened:
        opened.append(many())
        yield opened


def queue(store: Store, run_id: str = "run-a") -> list[Queued]:
    with store.reader() as reader:
        return places(reader, run_id)


def margins(store: Store) -> dict[str, float]:
    with store.reader() as reader:
        return {row["subject_id"]: row["margin_nats"] for row in reader.query("SELECT * FROM judgements")}


def test_the_least_sure_come_first_and_every_tenth_place_is_drawn_at_random(store: Store) -> None:
    found, margin = queue(store), margins(store)
    assert len(found) == N - 1 and "s0" not in {place.sample_id for place in found}  # rules reject it
    unsure = [abs(margin[place.sample_id]) for place in found if place.drawn == "queue"]
    assert unsure == sorted(unsure) and len(set(found)) == len(found)
    at_random = [at for at, place in enumerate(found, 1) if place.drawn == "random"]
    assert at_random == [10, 20, 30, 39]  # of 39 a tenth is 4: what is left stands at the end
    assert found == queue(store)


def test_another_run_draws_others(store: Store) -> None:
    store.append(many(run_id="run-b"))
    drawn = [[p.sample_id for p in queue(store, run) if p.drawn == "random"] for run in ("run-a", "run-b")]
    assert drawn[0] != drawn[1]


def test_without_a_probe_the_first_critic_of_the_spec_orders_by_its_score(tmp_path: Path) -> None:
    with Store.open(tmp_path / "g.duckdb") as store:
        store.append(many(critic="grade"))
        margin = margins(store)
        unsure = [abs(margin[place.sample_id] - 0.5) for place in queue(store) if place.drawn == "queue"]
        assert unsure == sorted(unsure)
        with store.reader() as reader:
            assert standing(reader, "run-a").critic == "grade" and standing(reader, "run-a").unlearnt is None


def test_what_is_drawn_at_random_is_the_same_whatever_else_was_labelled(store: Store) -> None:
    before = queue(store)
    wanted = [place.sample_id for place in before if place.drawn == "random"]
    for place in [place for place in before if place.drawn == "queue"][:25]:
        mark(store, "run-a", place.sample_id, "good", drawn=place.drawn, by="ana")
    assert [place.sample_id for place in queue(store) if place.drawn == "random"] == wanted


def test_the_queue_goes_on_where_it_was_left_and_comes_back_with_an_undo(store: Store) -> None:
    before = queue(store)
    for place in before[:13]:
        mark(store, "run-a", place.sample_id, "bad", drawn=place.drawn, by="ana")
    assert queue(store) == before[13:]
    for place in before[9:13][::-1]:
        put_back(store, "run-a", place.sample_id, None, "ana")
    assert queue(store) == before[9:] and queue(store)[0].drawn == "random"
    assert drawn_of(before, before[EVERY - 1].sample_id) == "random" and drawn_of(before, "s0") == "chosen"


def test_only_labels_at_random_count_in_the_part_drawn_and_only_chosen_ones_in_person(store: Store) -> None:
    found = queue(store)
    for number, place in enumerate(found[:20]):
        mark(store, "run-a", place.sample_id, "good" if number % 2 else "bad", drawn=place.drawn, by="ana")
    chosen = found[25].sample_id
    mark(store, "run-a", chosen, "good", by="ana")
    with store.reader() as reader:
        parts = {row["part"]: row for row in reader.audits("run-a")}
        assert stored_label(reader, "run-a", found[9].sample_id, "ana")["drawn"] == "random"  # type: ignore[index]
        told = standing(reader, "run-a")
    assert parts.keys() == {"person", "drawn"}
    assert set(parts["drawn"]["detail"]["labels"]) == {found[9].sample_id, found[19].sample_id}
    assert set(parts["person"]["detail"]["labels"]) == {chosen}
    assert (told.labels, told.at_random, told.critic) == (21, 2, "probe")


def test_a_label_keeps_how_it_was_drawn_when_it_is_changed(store: Store) -> None:
    place = queue(store)[9]
    mark(store, "run-a", place.sample_id, "good", drawn=place.drawn, by="ana")
    mark(store, "run-a", place.sample_id, "bad", None, by="ana")
    with store.reader() as reader:
        row = stored_label(reader, "run-a", place.sample_id, "ana")
    assert row is not None and (row["label"], row["drawn"]) == ("bad", "random")


def test_a_label_that_is_taken_back_leaves_nothing_and_one_that_was_changed_comes_back_as_it_was(store: Store) -> None:
    mark(store, "run-a", "s3", "good", "first", by="ana")
    with store.reader() as reader:
        before = stored_label(reader, "run-a", "s3", "ana")
    mark(store, "run-a", "s3", "bad", "second", by="ana")
    assert [row["n_good"] for row in put_back(store, "run-a", "s3", before, "ana")] == [1]
    with store.reader() as reader:
        assert stored_label(reader, "run-a", "s3", "ana") == before
    assert put_back(store, "run-a", "s3", None, "ana") == []
    with store.reader() as reader:
        assert stored_label(reader, "run-a", "s3", "ana") is None and reader.audits("run-a") == []


def test_what_a_probe_was_fitted_on_counts_by_a_probe_without_it_and_its_near_duplicates_not_at_all(
    store: Store,
) -> None:
    kept = [{"run": "run-a", "sample": "s3", "good": True, "at_random": True, "held_out": -2.0}]
    store.update_run("run-a", manifest={"taught": {"labels": kept}})
    store.append({"instructions": [rows.instruction("far", ordinal=99, text="Why is the sea salty and blue?")],
                  "samples": [rows.sample("far", "far", ordinal=99)],
                  "judgements": [rows.judgement("far", "probe", margin_nats=1.0, score=0.5)]})  # fmt: skip
    for name in ("s3", "s4", "far"):
        mark(store, "run-a", name, "good", drawn="random", by="ana")
    with store.reader() as reader:
        (row,) = audit(reader, "run-a")
    # s4 asks nearly what s3 asked, and s3 is in the fit; a score is the log-odds less 0.5 here.
    assert row["detail"]["scores"] == {"s3": -2.5, "far": 0.5}
