"""What a person reads blind: the same draw after a restart, labels that count, and what the gate says of them."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.quality.gates import Check, evidence_sha256, reading_checks
from engine.quality.labels import mark, put_back, read_anew, stored_label
from engine.quality.queue import places
from engine.quality.readings import Lot, draw, how_far, to_read
from engine.quality.remedies import reading_offer, what_may_be_done
from engine.quality.teaching import lessons
from engine.stats.shares import wilson
from store.db import Store
from store.headline import Readings, of_run, plain_readings, read_words, readings_from, readings_of
from store.names import READING
from store.outcomes import READ, READ_GOOD, gate_result, with_result
from tests.engine.quality.test_queue import many
from tests.store import rows

RUN = "run-a"
ASKED = 8


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A run of forty samples whose pilot gate was decided, every third of them rejected; eight are to be read."""
    found = many()
    for at, row in enumerate(found["verdicts"]):
        row["verdict"] = "accepted" if at % 3 else "rejected"
    found["runs"] = [rows.run(RUN, settings={"gate": {"read_at_least": ASKED}})]
    found["gates"] = [
        rows.gate("marker leaks", "pilot", RUN, measured=0.0, lo=None, hi=None, op="<=", threshold=0, n=40)
    ]
    with Store.open(tmp_path / "g.duckdb") as opened:
        opened.append(found)
        yield opened


def lots(store: Store) -> list[Lot]:
    with store.reader() as reader:
        return to_read(reader, RUN)


def told(store: Store) -> dict[str, dict[str, object]]:
    with store.reader() as reader:
        return {row["check_name"]: row for row in reader.gates(RUN) if row["check_name"] in (READ, *READ_GOOD.values())}


def read_all(store: Store, label: str = "good") -> None:
    for lot in lots(store):
        mark(store, RUN, lot.sample_id, label, drawn=READING, by="ana")


def test_the_draw_is_of_all_that_was_decided_and_the_same_after_a_restart(store: Store) -> None:
    first = [lot.sample_id for lot in lots(store)]
    assert len(set(first)) == ASKED
    with store.reader() as reader:
        verdicts = {row["subject_id"]: row["verdict"] for row in reader.query(
            "SELECT * FROM verdicts WHERE subject_kind = 'sample'")}  # fmt: skip
        everything = draw(reader, RUN)
    assert {lot.sample_id for lot in everything} == set(verdicts)
    assert {"accepted", "rejected"} <= {verdicts[lot.sample_id] for lot in everything}
    store.close()
    with Store.open(store.path, read_only=True) as again, again.reader() as reader:
        assert [lot.sample_id for lot in to_read(reader, RUN)] == first


def test_two_runs_draw_differently_and_a_longer_draw_goes_on_from_a_shorter_one(store: Store) -> None:
    store.append(many(run_id="run-b"))
    with store.reader() as reader:
        a, b = ([lot.sample_id for lot in draw(reader, run, 20)] for run in (RUN, "run-b"))
        assert a != b and [lot.sample_id for lot in draw(reader, RUN, 5)] == a[:5]


def test_a_draw_has_the_shares_of_the_run(store: Store) -> None:
    """Of many runs that differ by name alone, each sample is drawn about as often as any other."""
    found: Counter[str] = Counter()
    names = [f"run-{n}" for n in range(20)]
    for name in names:
        store.append(many(run_id=name))
    with store.reader() as reader:
        for name in names:
            found.update(lot.sample_id for lot in draw(reader, name, 20))
    assert len(found) == 40 and min(found.values()) >= 3 and max(found.values()) <= 17


def test_until_all_are_read_the_gate_tells_how_many_and_no_shares(store: Store) -> None:
    for number, lot in enumerate(lots(store)[:-1]):
        mark(store, RUN, lot.sample_id, "good", drawn=READING, by="ana")
        row = told(store)[READ]
        assert (row["measured"], row["n"], row["result"]) == (number + 1, ASKED, "not tested")
        assert row["untested"] == f"{number + 1} of {ASKED} read"
        assert all(told(store)[name]["measured"] is None for name in READ_GOOD.values())


def test_what_is_read_is_told_by_verdict_with_wilsons_interval_and_taken_back_with_a_label(store: Store) -> None:
    read_all(store)
    with store.reader() as reader:
        found, headline = readings_of(reader, [RUN])[RUN], of_run(reader, reader.run(RUN))
        accepted = {row["subject_id"] for row in reader.query(
            "SELECT subject_id FROM verdicts WHERE subject_kind = 'sample' AND verdict = 'accepted'")}  # fmt: skip
    n = sum(lot.sample_id in accepted for lot in lots(store))
    assert found.read == ASKED and found.good[True] == (1.0, *wilson(n, n), n) and found.enough
    assert headline.read and "read by a person: 100 % good of" in headline.told
    assert told(store)[READ]["result"] == "passed"
    assert readings_from(plain_readings(found)) == found
    put_back(store, RUN, lots(store)[0].sample_id, None, "ana")
    assert told(store)[READ]["result"] == "not tested" and told(store)[READ_GOOD[True]]["measured"] is None


def test_unsure_is_read_and_not_good() -> None:
    drawn = [Lot("a", "good"), Lot("b", "unsure"), Lot("c", "bad")]
    read, accepted, others = reading_checks(drawn, {"a": "accepted", "b": "accepted", "c": "rejected"}, 3)
    assert (read.measured, read.result) == (3, "passed")
    assert (accepted.measured, accepted.n, accepted.subject_ids) == (0.5, 2, ("b",))
    assert (others.measured, others.n, others.result) == (0.0, 1, "not tested")


def test_fewer_candidates_than_are_asked_for_are_never_enough() -> None:
    read, accepted, _ = reading_checks([Lot("a", "good")], {"a": "accepted"}, 30)
    assert read.result == "not tested" and accepted.measured == 1.0
    assert how_far([Lot("a", "good")]) == "1 of 1 read"
    assert "(1 of 30 asked for)" in read_words(Readings(30, 1, 1, {True: (1.0, 0.2, 1.0, 1)}))[0]
    assert not Readings(30, 1, 1, {True: (1.0, 0.2, 1.0, 1)}).enough
    assert not Readings(30, 30, 30, {False: (0.1, 0.0, 0.3, 30)}).enough  # no accepted one among them


@pytest.mark.parametrize(("drawn", "counts"), [("queue", True), ("random", True), ("chosen", False)])
def test_a_label_from_before_counts_where_its_verdict_was_hidden_and_a_reading_takes_its_place(
    store: Store, drawn: str, counts: bool
) -> None:
    before = lots(store)[0].sample_id
    mark(store, RUN, before, "bad", drawn=drawn, by="ana")
    assert lots(store)[0].label == ("bad" if counts else None) and told(store)[READ]["measured"] == int(counts)
    mark(store, RUN, before, "good", drawn=READING, by="ana")
    with store.reader() as reader:
        row = stored_label(reader, RUN, before, "ana")
        assert lessons(reader, reader.run(RUN)["fingerprint"]).rows == ()
    assert row is not None and (row["label"], row["drawn"]) == ("good", READING)
    assert lots(store)[0].label == "good" and told(store)[READ]["measured"] == 1


def test_a_reading_that_is_changed_with_its_verdict_in_sight_is_to_be_read_again(store: Store) -> None:
    name = lots(store)[0].sample_id
    mark(store, RUN, name, "good", drawn=READING, by="ana")
    mark(store, RUN, name, "good", "a note", by="ana")
    assert lots(store)[0].label == "good"
    mark(store, RUN, name, "bad", by="ana")
    assert lots(store)[0].label is None and told(store)[READ]["measured"] == 0


def test_what_was_read_while_a_gate_was_decided_is_told_once_its_rows_are_there(store: Store) -> None:
    mark(store, RUN, lots(store)[0].sample_id, "good", drawn=READING, by="ana")
    with store.reader() as reader:
        counted = next(row for row in reader.gates(RUN) if row["check_name"] == READ)
    late = rows.gate(READ, "final", RUN, measured=0.0, lo=None, hi=None, op=">=", threshold=ASKED, n=ASKED)
    store.put({"gates": [late]})
    read_anew(store, RUN)
    with store.reader() as reader:
        final = next(row for row in reader.gates(RUN) if (row["gate"], row["check_name"]) == ("final", READ))
    assert (final["measured"], final["n"]) == (counted["measured"], ASKED) == (1, ASKED)


def test_what_is_read_teaches_no_probe_and_audits_no_critic(store: Store) -> None:
    with store.reader() as reader:
        waiting = places(reader, RUN)
    read_all(store)
    with store.reader() as reader:
        assert lessons(reader, reader.run(RUN)["fingerprint"]).rows == () and reader.audits(RUN) == []
        assert {place.sample_id for place in places(reader, RUN)} < {place.sample_id for place in waiting}


def test_reading_leaves_what_the_gate_was_decided_on_and_what_it_came_to(store: Store) -> None:
    with store.reader() as reader:
        before = next(row for row in reader.gates(RUN) if row["check_name"] == "marker leaks")
    read_all(store, "bad")
    with store.reader() as reader:
        gates = [row for row in reader.gates(RUN) if row["gate"] == "pilot"]
    assert {row["evidence_sha256"] for row in gates} == {before["evidence_sha256"]}
    assert {row["decided_at"] for row in gates} == {before["decided_at"]} and gate_result(gates) == "passed"
    data = [Check.of("marker leaks", 0.0, 40, "<=", 0)]
    assert evidence_sha256(data) == evidence_sha256([*data, *reading_checks([Lot("a", "good")], {"a": "accepted"}, 1)])


def test_a_run_without_a_gate_has_nothing_to_tell_it_in(store: Store) -> None:
    store.append(many(run_id="run-b"))
    mark(store, "run-b", "s3", "good", drawn=READING, by="ana")
    with store.reader() as reader:
        assert reader.gates("run-b") == [] and readings_of(reader, ["run-b"])["run-b"] == Readings()
        assert read_words(Readings()) == ("not read by a person", "unread")


def test_what_is_left_to_read_is_asked_of_the_latest_gate_alone() -> None:
    def check(gate: str, read: float) -> dict[str, Any]:
        return with_result(rows.gate(READ, gate, RUN, measured=read, lo=None, hi=None, op=">=", threshold=8, n=8))

    stale, whole, open_ = check("pilot", 0), check("final", 8), check("final", 5)
    assert reading_offer([stale], RUN).startswith("read 8 candidates blind")
    assert reading_offer([stale, whole], RUN) == "" and what_may_be_done([stale, whole], "pilot", RUN, "s", ()) == []
    assert reading_offer([open_, stale], RUN).startswith("read 3 candidates blind")
