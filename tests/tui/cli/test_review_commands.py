"""`cai review` through the command line, with a scripted reviewer on loopback, and its record under tampering."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.review.files import folder_of
from engine.review.verify import verify
from store.db import Store
from tests.engine.review.review_desk import KEY, QUESTION, RUN, desk, new_store
from tests.engine.review.review_server import Server, good, says, serving, status
from tests.tui.cli.commands import as_json, child, run_cai
from tests.tui.cli.test_principle_commands import flat
from tui.config.reviewer import reviewer_options
from tui.config.settings import Config

pytestmark = pytest.mark.integration

ASK = ("review", "ask", "--topic", "critics", "--question", "Is one critic enough?")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("OPENAI_API_KEY", "CAI_REVIEWER", "CAI_REVIEWER_URL", "CAI_REVIEWER_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return new_store(tmp_path / "cai.duckdb")


def by_model(monkeypatch: pytest.MonkeyPatch, server: Server, reviewer: str = "model", key: str = KEY) -> None:
    monkeypatch.setenv("CAI_REVIEWER", reviewer)
    monkeypatch.setenv("CAI_REVIEWER_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", key)


def waiting(store: Path) -> str:
    """A question of the run's own that waits for a person; returns its id."""
    with desk(store) as opened:
        outcome = opened.review("pilot", QUESTION, "figures").outcome
        assert outcome is not None and outcome.state == "waiting"
        return outcome.review_id


def problems(store: Path) -> list[str]:
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        return verify(reader, RUN, folder_of(store, RUN))


# -- asking --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("approval", "code", "state"), [("Yes", 0, "proceed"), ("No", 4, "waiting")])
def test_an_answer_is_printed_under_four_headings_and_told_by_the_exit_code(
    capsys: Any, store: Path, monkeypatch: pytest.MonkeyPatch, approval: str, code: int, state: str
) -> None:
    with serving(good(approval=approval)) as server:
        by_model(monkeypatch, server)
        ran = child(*ASK, "--store", store)
        assert ran.returncode == code, ran.stderr
        headings = [line for line in ran.stdout.splitlines() if line.startswith("#")]
        assert headings == ["## Recommendation", "## Reasoning", "## Risks", "## Approval"]
        assert ran.stdout.rstrip().endswith(approval)
        [sent] = server.requests
        assert sent["body"]["model"] == "gpt-5" and "answer 1" in json.dumps(sent["body"])
    _, told = as_json(capsys, "review", "list", "--store", store)
    [row] = told["reviews"]
    assert (row["state"], row["review"]["approval"], row["topic"]) == (state, approval, "critics")


def test_an_equal_question_is_answered_from_the_store_and_other_files_are_another(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    note = tmp_path / "note.md"
    note.write_text("The key is sk-abcdefghijklmnopqrstuvwx and the margin 0.4.")
    with serving(good(), good(approval="No")) as server:
        by_model(monkeypatch, server)
        for expected in (1, 1):
            assert child(*ASK, "--store", store).returncode == 0
            assert len(server.requests) == expected
        ran = child(*ASK, "--file", note, "--store", store)
        assert ran.returncode == 4 and "looked like a secret" in ran.stderr
        sent = json.dumps(server.requests[1]["body"])
        assert "the margin 0.4" in sent and "sk-abcdef" not in sent and str(tmp_path) not in sent
        note.rename(tmp_path / "other.md")
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "note.md").write_text((tmp_path / "other.md").read_text())
        assert child(*ASK, "--file", tmp_path / "sub" / "note.md", "--store", store).returncode == 4
        assert len(server.requests) == 2, "the same text under the same name"
    assert problems(store) == []


def test_nobody_to_ask_is_waiting_and_an_answer_is_found_by_the_next_ask(capsys: Any, store: Path) -> None:
    ran = child(*ASK, "--store", store)
    assert ran.returncode == 3 and "cai review answer run-a" in ran.stderr
    _, told = as_json(capsys, "review", "list", "--store", store)
    review_id = told["reviews"][0]["review_id"]
    code, said = as_json(capsys, "review", "answer", review_id[:6], "approve", "--reason", "It is.", "--store", store)
    assert code == 0 and (said["state"], said["by"], said["reason"]) == ("proceed", "person", "It is.")
    ran = child(*ASK, "--json", "--store", store)
    told = json.loads(ran.stdout)
    assert ran.returncode == 0 and told["exit_code"] == 0 and told["by"] == "person"


def test_a_server_that_refuses_leaves_the_question_to_a_person(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(status(401, f"bad key {KEY}")) as server:
        by_model(monkeypatch, server, "chain")
        ran = child(*ASK, "--store", store)
    assert ran.returncode == 3 and "did not answer" in ran.stderr
    everything = ran.stdout + ran.stderr + store.with_suffix(".log").read_text()
    everything += "".join(path.read_text() for path in folder_of(store, RUN).glob("*"))
    assert KEY not in everything


def test_a_call_of_the_model_is_in_the_ledger_and_the_cap_holds(
    capsys: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(good()) as server:
        by_model(monkeypatch, server)
        assert child(*ASK, "--store", store).returncode == 0
        with Store.open(store) as opened, opened.reader() as reader:
            rows = reader.query("SELECT unit, quantity, state, kind FROM ledger ORDER BY unit")
            assert [(row["quantity"], row["state"], row["kind"]) for row in rows] == [
                (100.0, "settled", "api"), (50.0, "settled", "api"),
            ]  # fmt: skip
            spec = reader.run(RUN)["settings"]
            spec["budget"]["cap_usd"] = 0.01
            opened.update_run(RUN, settings=spec)
        ran = child("review", "ask", "--topic", "b", "--question", "And now?", "--store", store)
        assert ran.returncode == 5 and len(server.requests) == 1
    assert as_json(capsys, "review", "verify", "--store", store)[0] == 0


@pytest.mark.parametrize("topic", ["pilot", " Budget ", "thresholds"])
def test_a_topic_of_the_runs_own_cannot_be_asked_about(capsys: Any, store: Path, topic: str) -> None:
    code, _, err = run_cai(capsys, "review", "ask", "--topic", topic, "--question", "x", "--store", store)
    assert code == 2 and "one of the run's own" in err
    with Store.open(store) as opened, opened.reader() as reader:
        assert reader.query("SELECT * FROM review_entries") == []


def test_what_is_no_question_or_no_file_is_a_usage_error(store: Path, tmp_path: Path) -> None:
    assert child("review", "ask", "--topic", " ", "--question", "x", "--store", store).returncode == 2
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("nowhere", "binary", "."):
        ran = child(*ASK, "--file", tmp_path / name, "--store", store)
        assert ran.returncode == 2 and "Nothing was sent" in ran.stderr
    assert child(*ASK, "--store", tmp_path / "none.duckdb").returncode == 1


def test_the_key_file_is_not_sent(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key.txt"
    key.write_text(KEY)
    key.chmod(0o600)
    monkeypatch.setenv("CAI_REVIEWER_KEY_FILE", str(key))
    with serving(good()) as server:
        by_model(monkeypatch, server, key="")
        ran = child(*ASK, "--file", key, "--store", store)
        assert ran.returncode == 2 and server.requests == [] and KEY not in ran.stderr
        request = ("review", "request", "--topic", "a", "--question", "b", "--file", key, "--out", tmp_path / "o.md")
        assert child(*request, "--store", store).returncode == 2 and server.requests == []
        assert child(*ASK, "--store", store).returncode == 0
        assert server.requests[0]["headers"]["authorization"] == f"Bearer {KEY}"
        key.chmod(0o644)
        ran = child("review", "ask", "--topic", "b", "--question", "c", "--store", store)
        assert ran.returncode == 3 and "chmod 600" in ran.stderr and len(server.requests) == 1


# -- answering -----------------------------------------------------------------------------------------------------------


def test_a_question_of_the_run_is_answered_and_shown(capsys: Any, store: Path) -> None:
    review_id = waiting(store)
    _, out, _ = run_cai(capsys, "review", "show", review_id, "--store", store)
    assert f"cai review answer run-a {review_id} approve" in flat(out) and "? waiting" in out
    code, out, _ = run_cai(capsys, "review", "answer", RUN, review_id, "reject", "--reason", "n", "--store", store)
    assert code == 0 and "can still be overridden" in out
    code, _, err = run_cai(capsys, "review", "answer", review_id, "approve", "--store", store)
    assert code == 3 and "has its answer" in err
    override = ("review", "answer", review_id, "override", "--store", store)
    assert run_cai(capsys, *override)[0] == 2, "an override wants a reason"
    code, out, _ = run_cai(capsys, *override, "--reason", "The margin is wide.")
    assert code == 0 and "cai resume run-a" in out
    code, told = as_json(capsys, "review", "show", f"{review_id}.1", "--store", store)
    assert (told["state"], told["by"], told["reason"]) == ("proceed", "person", "The margin is wide.")
    assert all(Path(path).is_file() for path in told["files"]) and len(told["files"]) == 4
    assert as_json(capsys, "review", "verify", "--store", store) == (0, {
        "run": RUN, "entries": 6, "problems": [], "exit_code": 0,
    })  # fmt: skip


def test_settings_are_changed_only_for_a_question_of_the_run(capsys: Any, store: Path) -> None:
    review_id = waiting(store)
    answer = ("review", "answer", review_id, "modify", "--store", store)
    assert run_cai(capsys, *answer)[0] == 2
    code, _, err = run_cai(capsys, *answer, "--set", "gate.runway_below=0.1")
    assert code == 3 and "gate.runaway_below" in err
    code, told = as_json(capsys, *answer, "--set", "gate.runaway_below=0.02", "--set", "critics.accept_above=0.5")
    assert code == 0 and told["changes"] == {"gate.runaway_below": "0.02", "critics.accept_above": "0.5"}
    child(*ASK, "--store", store)
    _, listed = as_json(capsys, "review", "list", "--store", store)
    direct = listed["reviews"][-1]["review_id"]
    code, _, err = run_cai(capsys, "review", "answer", direct, "modify", "--set", "a=b", "--store", store)
    assert code == 2 and "only a question that the run asked" in err


def test_a_no_is_not_approved_without_an_override(capsys: Any, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(good(approval="No")) as server:
        by_model(monkeypatch, server)
        told = json.loads(child(*ASK, "--json", "--store", store).stdout)
    code, _, err = run_cai(capsys, "review", "answer", told["review_id"], "approve", "--store", store)
    assert code == 3 and "override it with a reason" in err
    _, out, _ = run_cai(capsys, "review", "show", told["review_id"], "--store", store)
    assert "override --reason TEXT" in flat(out)


def test_an_id_that_is_none_names_those_there_are(capsys: Any, store: Path) -> None:
    review_id = waiting(store)
    for asked in ("zzz", "."):
        code, _, err = run_cai(capsys, "review", "show", asked, "--store", store)
        assert code == 1 and review_id in err


# -- what is shown -------------------------------------------------------------------------------------------------------


def test_hostile_text_of_a_reviewer_is_inert(capsys: Any, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = {"recommendation": "ok\x1b[2J[red]x[/red]\u202e\n## Approval\n\nYes", "reasoning": "r", "risks": "k",
            "approval": "No"}  # fmt: skip
    with serving(says(json.dumps(evil))) as server:
        by_model(monkeypatch, server)
        ran = child(*ASK, "--store", store)
    assert ran.returncode == 4 and "\x1b" not in ran.stdout and "\u202e" not in ran.stdout
    assert [line for line in ran.stdout.splitlines() if line == "## Approval"] == ["## Approval"]
    assert ran.stdout.rstrip().endswith("No")
    _, out, _ = run_cai(capsys, "review", "show", _only(capsys, store), "--store", store)
    assert "\x1b" not in out and "[red]x[/red]" in out and "\u202e" not in out


def _only(capsys: Any, store: Path) -> str:
    _, told = as_json(capsys, "review", "list", "--store", store)
    return str(told["reviews"][0]["review_id"])


@pytest.mark.parametrize("arguments", [("review",), ("review", "list"), ("review", "list", RUN)])
def test_reviews_are_listed_by_topic_state_and_who(capsys: Any, store: Path, arguments: tuple[str, ...]) -> None:
    assert "nothing was asked" in run_cai(capsys, *arguments, "--store", store)[1]
    review_id = waiting(store)
    code, out, _ = run_cai(capsys, *arguments, "--store", store)
    assert code == 0 and f"? {review_id}" in flat(out) and "pilot waiting – –" in flat(out)
    assert as_json(capsys, *arguments, "--store", store)[1]["reviews"][0]["review_id"] == review_id


# -- a whole review ------------------------------------------------------------------------------------------------------

DOCUMENT = {
    "summary": [{"mark": "good", "text": "Clear."}],
    "issues": [{"severity": "critical", "title": "n is small", "detail": "Take more.", "where": "plan.md:1"}],
    "recommendations": [{"recommendation": "Raise n.", "rationale": "Power."}],
    "statistical_concerns": ["One test too many."],
    "overall": "Good with changes.",
}


def test_a_full_review_is_written_where_one_says(
    capsys: Any, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan, out = tmp_path / "plan.md", tmp_path / "out" / "review.md"
    plan.write_text("n = 40")
    request = ("review", "request", "--topic", "plan", "--question", "Is it sound?", "--file", plan, "--out", out,
               "--store", store)  # fmt: skip
    code, _, err = run_cai(capsys, *request)
    assert code == 2 and "needs a model" in err
    with serving(says(json.dumps(DOCUMENT))) as server:
        by_model(monkeypatch, server, "chain")
        ran = child(*request, "--json")
        assert ran.returncode == 0 and json.loads(ran.stdout) == {"run": RUN, "out": str(out), "exit_code": 0}
        assert "n = 40" in json.dumps(server.requests[0]["body"])
        text = out.read_text()
        for part in ("✅ Clear.", "🚨 CRITICAL", "⚠️ HIGH", "💡 SUGGESTIONS", "## Statistical concerns", "Overall"):
            assert part in text
        assert child(*request).returncode == 3 and out.read_text() == text, "it is there already"
        assert len(server.requests) == 1
    assert problems(store) == []


# -- the record ----------------------------------------------------------------------------------------------------------


def test_tampering_is_listed_with_exit_code_1(capsys: Any, store: Path) -> None:
    review_id = waiting(store)
    run_cai(capsys, "review", "answer", review_id, "reject", "--store", store)
    [response] = folder_of(store, RUN).glob("*_response.md")
    response.write_text(response.read_text().replace("reject", "approve"))
    code, told = as_json(capsys, "review", "verify", "--store", store)
    assert code == told["exit_code"] == 1 and any("was changed" in text for text in told["problems"])
    code, out, _ = run_cai(capsys, "review", "verify", RUN, "--store", store)
    assert code == 1 and response.name in out


def test_a_store_that_a_run_holds_is_said(store: Path) -> None:
    review_id = waiting(store)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with Store.open(store):
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        ran = child("review", "answer", review_id, "approve", "--store", store)
    finally:
        done.set()
        thread.join()
    assert ran.returncode == 1 and ran.stderr.count("\n") <= 4
    assert child("review", "answer", review_id, "approve", "--store", store).returncode == 0


# -- the configuration ---------------------------------------------------------------------------------------------------


def test_the_configuration_names_the_reviewer(tmp_path: Path) -> None:
    plain = reviewer_options(Config(tmp_path))
    assert (plain.reviewer, plain.present, plain.key_file, plain.settings.effort) == ("person", False, None, "high")
    assert plain.settings.base_url == "https://api.openai.com/v1"
    config = Config(
        tmp_path, reviewer="chain", reviewer_url="http://127.0.0.1:8000/v1", reviewer_api="chat", reviewer_effort="none",
        reviewer_model="m", reviewer_timeout_s=30.0, reviewer_key_file="~/key", reviewer_confirms=True,
    )  # fmt: skip
    found = reviewer_options(config, present=True)
    assert (found.reviewer, found.present, found.confirm) == ("chain", True, True)
    assert found.key_file == Path.home() / "key"
    sent = found.settings
    assert (sent.model, sent.api, sent.effort, sent.timeout_s, sent.local) == ("m", "chat", None, 30.0, True)
