"""The reader's answers on a small run made by hand."""

from __future__ import annotations

import json
import math
import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.connect import not_opened, query_failed
from store.db import Store
from store.errors import NotFound, StoreDamaged, StoreError
from store.read import Reader
from tests.store import rows

PHASES = ["guard", "audit", "instructions", "instruction_judgements", "responses", "response_judgements", "gate"]


@pytest.fixture
def store(small_store: Store) -> Store:
    return small_store


@pytest.fixture
def reader(store: Store) -> Reader:
    return store.reader()


def test_an_empty_store(tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty.duckdb") as store, store.reader() as reader:
        assert reader.latest_run_id() is None
        assert reader.runs() == []
        assert reader.completions([]) == reader.completions(["q"]) == {}
        assert reader.samples("run-a") == reader.events("run-a") == reader.gates("run-a") == []
        with pytest.raises(NotFound) as caught:
            reader.status("run-a")
        assert "no runs yet" in caught.value.hint


def test_a_run_is_found_by_the_beginning_of_its_id(store: Store, reader: Reader) -> None:
    store.append({"runs": [rows.run("run-ab"), rows.run("other", settings={"x": [1]})]})
    assert reader.run("o")["settings"] == {"x": [1]}
    assert reader.run("run-a")["run_id"] == "run-a"
    with pytest.raises(NotFound, match="beginning of 2 runs") as caught:
        reader.run("run")
    assert "run-a, run-ab" in caught.value.hint
    with pytest.raises(NotFound) as caught:
        reader.run("othre")
    assert "did you mean other?" in caught.value.hint
    with pytest.raises(NotFound) as caught:
        reader.run("")
    assert "known" in caught.value.hint


def test_runs_are_newest_first_with_their_counts(store: Store, reader: Reader) -> None:
    store.append({"runs": [rows.run("run-b", created_at=rows.T0 + timedelta(days=1))]})
    assert reader.latest_run_id() == "run-b"
    found = [(row["run_id"], row["instructions"], row["samples"], row["accepted"]) for row in reader.runs()]
    assert found == [("run-b", 0, 0, 0), ("run-a", 4, 4, 2)]
    assert reader.runs()[1]["manifest"] == {"model_license": "gemma"}


def test_completions_and_scores_by_request(reader: Reader) -> None:
    found = reader.completions(["q-s1", "q-s1", "nowhere", "q-i2"])
    assert set(found) == {"q-s1", "q-i2"}
    assert found["q-s1"]["decoding"] == {"temperature": 0.7, "max_tokens": 96}
    assert found["q-s1"]["token_ids"] == [1, 2, 3]
    assert reader.scores(["r-1", "r-2"])["r-1"]["logprobs"] == [-0.25, -1.5]


def phase(reader: Reader, name: str) -> dict[str, Any]:
    return next(row for row in reader.phases("run-a") if row["name"] == name)


def test_phases_from_events(store: Store, reader: Reader) -> None:
    assert [row["name"] for row in reader.phases("run-a")] == PHASES
    assert phase(reader, "guard") == {"name": "guard", "state": "done", "done": 2, "planned": 2, "accepted": None}
    assert phase(reader, "responses") == {
        "name": "responses",
        "state": "running",
        "done": 3,
        "planned": 41,
        "accepted": 2,
    }
    assert phase(reader, "instructions")["state"] == "waiting"
    store.append({"events": [rows.event(5, "PhaseFinished", {"phase": "responses", "done": 40, "accepted": 30})]})
    assert phase(reader, "responses") | {"name": ""} == {
        "name": "",
        "state": "done",
        "done": 40,
        "planned": 41,
        "accepted": 30,
    }


@pytest.mark.parametrize("state", ["paused", "stopped", "failed", "waiting", "budget_reached"])
def test_a_phase_under_way_in_a_halted_run_is_stopped(store: Store, reader: Reader, state: str) -> None:
    store.update_run("run-a", state=state)
    assert phase(reader, "responses")["state"] == "stopped"
    assert phase(reader, "guard")["state"] == "done"


def test_a_resumed_phase_keeps_what_it_had_done(store: Store, reader: Reader) -> None:
    later = {"session_id": "session-2", "at": rows.T0 + timedelta(hours=1)}
    store.append({"events": [rows.event(1, "PhaseStarted", {"phase": "responses", "planned": 50}, **later)]})
    found = phase(reader, "responses")
    assert (found["state"], found["done"], found["planned"], found["accepted"]) == ("running", 3, 50, 2)


def test_a_phase_without_a_count_counts_its_rows(store: Store, reader: Reader) -> None:
    store.append({"events": [rows.event(9, "PhaseStarted", {"phase": "instructions", "planned": 6})]})
    assert (phase(reader, "instructions")["done"], phase(reader, "instructions")["planned"]) == (4, 6)


def test_a_run_whose_process_died_is_stopped(store: Store, reader: Reader) -> None:
    here = {"pid": os.getpid(), "host": socket.gethostname()}
    store.append({"sessions": [rows.session(**here)]})
    assert reader.status("run-a")["state"] == "running"
    gone = rows.session("session-2", pid=os.getpid() + 1, host=here["host"], started_at=rows.T0 + timedelta(hours=1))
    store.append({"sessions": [gone]})
    status = reader.status("run-a")
    assert status["state"] == "stopped"
    assert str(gone["pid"]) in status["reason"]
    assert phase(reader, "responses")["state"] == "stopped"
    assert reader.runs()[0]["state"] == reader.run("run-a")["state"] == "stopped"
    store.update_run("run-a", state="done", reason="target reached")
    assert (reader.run("run-a")["state"], reader.run("run-a")["reason"]) == ("done", "target reached")


def test_status_is_ready_for_json(store: Store, reader: Reader) -> None:
    store.put({"gates": [rows.gate("runaway", measured=math.nan)]})
    status = json.loads(json.dumps(reader.status("run"), allow_nan=False))
    wanted = "run spec spec_sha256 model seed state phases gates counts elapsed_s"
    assert set(wanted.split()) <= set(status)
    assert (status["run"], status["seed"], status["elapsed_s"]) == ("run-a", 7, 12.5)
    assert [(gate["name"], gate["passed"], len(gate["evidence"])) for gate in status["gates"]] == [
        ("guard", True, 1),
        ("pilot", False, 2),
    ]
    failed = status["gates"][1]["evidence"][1]
    assert (failed["check_name"], failed["measured"], failed["subject_ids"]) == ("token_limit", 0.3, ["s3"])
    assert status["gates"][1]["evidence"][0]["measured"] is None
    counts = status["counts"]
    assert [counts[name] for name in ("candidates", "instructions", "samples", "accepted", "rejected", "unsure")] == [
        5,
        4,
        4,
        2,
        1,
        0,
    ]
    assert counts["instruction_statuses"] == {"distinct": 4, "duplicate": 1}
    assert counts["accepted_by_basis"] == {"rules": 2}
    assert counts["accepted_by_split"] == {"test": 1, "train": 1}


def test_samples_by_verdict_and_page(reader: Reader) -> None:
    every = reader.samples("run-a")
    assert [row["sample_id"] for row in every] == ["s1", "s2", "s3", "s4"]
    assert every[0]["scores"] == {"label": 1.25, "rules": 1.0}
    assert every[0]["instruction"] == "Do i1."
    assert (every[2]["flags"], every[2]["reason"], every[2]["scores"]) == (["runaway"], "runaway", {})
    assert (every[3]["verdict"], every[3]["flags"], every[3]["basis"]) == (None, [], None)
    assert [row["sample_id"] for row in reader.samples("run-a", verdict="accepted")] == ["s1", "s2"]
    assert reader.samples("run-a", verdict="unsure") == []
    assert reader.samples("run-a", limit=2, offset=1) == every[1:3]
    assert reader.samples("run-z") == []
    with pytest.raises(ValueError, match="good"):
        reader.samples("run-a", verdict="good")


def test_one_sample_with_all_that_made_it(store: Store, reader: Reader) -> None:
    label = {"run_id": "run-a", "subject_kind": "sample", "subject_id": "s1", "reader": "ana", "label": "bad",
             "note": "", "at": rows.T0}  # fmt: skip
    store.append({"person_labels": [label]})
    found = reader.sample("run-a", "s1")
    assert reader.samples("run-a")[0].items() <= found.items()
    assert found["raw"] == "answer s1\n\n"
    assert found["trimmed"] == [{"rule": "whitespace", "start": 9, "end": 11}]
    assert (found["prompt"], found["seed"], found["fingerprint"]) == ("prompt of q-s1", 11, "fp-1")
    assert found["decoding"]["temperature"] == 0.7
    assert [row["critic"] for row in found["judgements"]] == ["label", "rules"]
    assert found["judgements"][0]["parts"][0]["labels"] == ["A", "B"]
    assert found["instruction_row"]["seed_ids"] == ["seed-1", "seed-2"]
    assert found["instruction_prompt"] == "prompt of q-i1"
    assert [row["score"] for row in found["instruction_judgements"]] == [0.75]
    assert found["instruction_verdict"]["basis"] == "critic"
    assert found["person_label"]["label"] == "bad"
    with pytest.raises(NotFound) as caught:
        reader.sample("run-a", "s11")
    assert "did you mean" in caught.value.hint


def test_a_sample_whose_completion_is_not_there(store: Store, reader: Reader) -> None:
    store.append({"samples": [rows.sample("s9", "i9", ordinal=9)]})
    found = reader.sample("run-a", "s9")
    assert (found["prompt"], found["instruction"], found["instruction_row"], found["judgements"]) == (
        None,
        None,
        None,
        [],
    )
    assert reader.samples("run-a")[-1]["sample_id"] == "s9"


def test_the_rest(store: Store, reader: Reader) -> None:
    store.append({"judgements": [rows.judgement("s3", score=math.nan), rows.judgement("s4", score=-math.inf)]})
    assert reader.margins("run-a", "label", "sample") == [1.25, -0.5]
    assert reader.margins("run-a", "label", "instruction") == [0.75]
    assert reader.margins("run-a", "nobody", "sample") == []
    assert [row["gate"] for row in reader.gates("run-a")] == ["guard", "pilot", "pilot"]
    assert [row["condition"] for row in reader.guard("run-a")] == ["encoding", "raw"]
    assert reader.guard("run-a")[0]["measured"] == {"ended": False}
    assert reader.audits("run-a")[0]["detail"] == {"minimum_auc": 0.7}
    events = reader.events("run-a", 3)
    assert [row["seq"] for row in events] == [2, 3, 4]
    assert events[-1]["payload"]["done"] == 3


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM runs", "SELECT 1; SELECT 2", "COPY runs TO '/tmp/x.csv'", "SELEC", "SELECT nothing FROM runs", ""],
)
def test_a_reader_only_reads(reader: Reader, sql: str) -> None:
    with pytest.raises(StoreError):
        reader.query(sql)
    assert len(reader.runs()) == 1


def test_queries_take_parameters(reader: Reader) -> None:
    assert reader.query("SELECT ? AS a, ? AS b", ["'; --", None]) == [{"a": "'; --", "b": None}]
    assert reader.query("SELECT 1 AS n WHERE false") == []
    assert reader.query("WITH x AS (SELECT 1 AS n) FROM x") == [{"n": 1}]


def test_no_warning_reaches_the_terminal(reader: Reader, recwarn: pytest.WarningsRecorder) -> None:
    reader.status("run-a")
    reader.sample("run-a", "s1")
    assert not recwarn.list


def test_rows_read_in_order_come_once_each_while_others_are_written(store: Store, reader: Reader) -> None:
    def written(first: int, n: int) -> list[dict[str, Any]]:
        return [rows.instruction(f"i-{at}", "run-o", ordinal=at) for at in range(first, first + n)]

    def asked() -> list[int]:
        sql = "SELECT instruction_id, ordinal FROM instructions WHERE run_id = $1 AND status = 'distinct'"
        return [row["ordinal"] for row in reader.in_order(sql, ["run-o"], size=4)]

    assert asked() == []
    store.append({"instructions": [*reversed(written(-2, 8)), rows.instruction("i-x", "run-p", ordinal=3)]})
    assert asked() == list(range(-2, 6))  # two pages
    found = []
    sql = "SELECT instruction_id, ordinal FROM instructions WHERE run_id = $1 AND status = 'distinct'"
    for row in reader.in_order(sql, ["run-o"], size=4):
        found.append(row["ordinal"])
        if row["ordinal"] == 1:  # what comes behind the page is read, what changes in a page that was read is not
            changed = [rows.instruction(f"i-{at}", "run-o", ordinal=at, status="duplicate") for at in (0, 4)]
            store.put({"instructions": changed})
            store.append({"instructions": written(6, 3)})
    assert found == [-2, -1, 0, 1, 2, 3, 5]


def test_rows_of_one_place_are_both_read(store: Store, reader: Reader) -> None:
    """A run whose settings were changed on the way counts its instructions from the beginning again."""
    for way in ("before", "after"):
        made = [rows.instruction(f"i-{way}-{at}", "run-o", ordinal=at) for at in range(50)]
        store.append({"instructions": made})
    sql = "SELECT instruction_id, ordinal FROM instructions WHERE run_id = $1"
    for size in (1, 3, 7, 64):
        found = list(reader.in_order(sql, ["run-o"], size=size))
        assert len({row["instruction_id"] for row in found}) == len(found) == 100
        assert [row["ordinal"] for row in found] == sorted(row["ordinal"] for row in found)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 300::TINYINT",
        "SELECT CAST('corrupt' AS INT)",
        "SELECT CAST(if(range > 5000, 'checksum', '1') AS INT) FROM range(100000)",
        "SELECT substring('a', 9223372036854775807, 9223372036854775807)",
        "SELECT error('IO Error: could not read block id 3')",
    ],
)
def test_a_statement_that_fails_by_its_values_is_no_damage(reader: Reader, sql: str) -> None:
    def in_parts() -> None:
        with reader.as_of_now() as parts:
            list(parts(sql))

    for read in (lambda: reader.query(sql), in_parts):
        with pytest.raises(StoreError, match="failed") as caught:
            read()
        assert not isinstance(caught.value, StoreDamaged) and "salvage" not in caught.value.hint


def test_only_an_error_by_what_is_in_the_file_is_damage(tmp_path: Path) -> None:
    (path := tmp_path / "cai.duckdb").touch()
    full = duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate block of size 256.0 KiB (0/1 MiB used)")
    damaged = "Corrupt database file: computed checksum 1 does not match stored checksum 2 in block at location 12288"
    for told in (query_failed, not_opened):
        assert type(told(path, full)) is StoreError
        assert type(told(path, duckdb.Error(damaged))) is StoreDamaged
    for kind in ("Data Corruption", "IO", "INTERNAL", "Serialization"):
        assert type(query_failed(path, OSError(f"{kind} Error: {damaged}"))) is StoreDamaged  # as Arrow has it
