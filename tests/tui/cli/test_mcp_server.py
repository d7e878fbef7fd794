"""`cai mcp` as an agent meets it: the installed command, over stdio, through the client of the `mcp` package."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client

from engine.core.errors import UsageError
from engine.review.files import folder_of
from engine.review.verify import verify
from store.db import Store
from tests.engine.review.review_desk import KEY, RUN, new_store
from tests.engine.review.review_server import good, serving, slow
from tests.store import rows
from tui.cli import mcp_server
from tui.config.settings import Config

pytestmark = pytest.mark.integration

CAI = Path(sys.executable).with_name("cai")
READS = {"list_runs", "run_status", "list_samples", "sample", "gates", "evaluation", "reviews", "budget", "sql"}
Call = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return new_store(tmp_path / "cai.duckdb")


@asynccontextmanager
async def agent(store: Path, **environ: str) -> AsyncIterator[ClientSession]:
    server = StdioServerParameters(
        command=str(CAI), args=["mcp", "--store", str(store)], cwd=store.parent,
        env={"CAI_CONFIG": str(store.with_name("none.toml")), **environ},
    )  # fmt: skip
    async with stdio_client(server) as (received, sent), ClientSession(received, sent) as session:
        await session.initialize()
        yield session


async def told(session: ClientSession, name: str, **arguments: Any) -> dict[str, Any]:
    """What a tool gives; its text is the same as JSON."""
    found = await session.call_tool(name, arguments)
    assert not found.is_error, found.content
    text: Any = found.content[0]
    assert json.loads(text.text) == found.structured_content
    return dict(found.structured_content)


async def refused(session: ClientSession, name: str, **arguments: Any) -> tuple[int, str]:
    found = await session.call_tool(name, arguments)
    assert found.is_error and sorted(found.structured_content) == ["exit_code", "hint", "title"]
    text: Any = found.content[0]
    assert json.loads(text.text) == found.structured_content
    return found.structured_content["exit_code"], found.structured_content["title"]


async def test_every_tool_that_reads_answers(store: Path) -> None:
    async with agent(store) as session:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert set(tools) == READS | {"request_review"}, "none that approves, starts or changes anything"
        assert {name for name, tool in tools.items() if tool.annotations and tool.annotations.read_only_hint} == READS
        assert all(tool.description for tool in tools.values())
        [run] = (await told(session, "list_runs"))["runs"]
        assert (run["run"], run["accepted"], run["repeat_of"]) == (RUN, 2, None) and "settings" not in run
        assert (await told(session, "run_status", run="run"))["counts"]["samples"] == 4
        found = await told(session, "list_samples", limit=1, verdict="accepted")
        assert [row["sample_id"] for row in found["samples"]] == ["s1"] and found["more"]
        found = await told(session, "list_samples", limit=1, offset=1, verdict="accepted")
        assert [row["sample_id"] for row in found["samples"]] == ["s2"] and not found["more"]
        assert (await told(session, "sample", sample_id="s3"))["sample"]["flags"] == ["runaway"]
        assert [row["check_name"] for row in (await told(session, "gates"))["gates"]] == [
            "guard", "runaway", "token_limit",
        ]  # fmt: skip
        assert (await told(session, "evaluation"))["results"] == []
        assert (await told(session, "reviews"))["reviews"] == []
        assert (await told(session, "budget"))["cap_usd"] == 300.0
        found = await told(session, "sql", query="SELECT sample_id FROM samples ORDER BY 1;", limit=3)
        assert found["rows"] == [["s1"], ["s2"], ["s3"]] and found["more"]
        assert "samples" in str((await told(session, "sql", query="SHOW TABLES"))["rows"])


async def test_errors_have_the_form_of_the_command_line(store: Path) -> None:
    async with agent(store) as session:
        assert await refused(session, "sample", sample_id="zz") == (1, "there is no sample 'zz'")
        assert (await refused(session, "gates", run="nope"))[0] == 1
        assert (await refused(session, "list_samples", limit=100_000))[0] == 2
        assert (await refused(session, "sample"))[0] == 2
        assert (await refused(session, "approve", review_id="x"))[0] == 2
        assert (await refused(session, "request_review", topic="pilot", question="Go on?"))[0] == 2
        code, title = await refused(session, "sql", query="SELECT nonsense FROM samples")
        assert code == 1 and "nonsense" in title


async def test_sql_changes_nothing_and_reaches_no_other_file(store: Path) -> None:
    secret = store.with_name("secret.csv")
    secret.write_text("a\nplanted\n")
    async with agent(store) as session:
        for query in (
            f"SELECT * FROM read_text('{secret}')", f"SELECT * FROM '{secret}'", f"SELECT * FROM glob('{store.parent}/*')",
            f"SELECT * FROM enable_logging(storage='file', storage_path='{store.parent}/log'), glob('/etc/*')",
            "DELETE FROM samples", "SET enable_external_access = true", "SELECT 1; DELETE FROM samples",
            f"COPY samples TO '{store.parent}/out.csv'", f"ATTACH '{store.parent}/b.duckdb'",
        ):  # fmt: skip
            code, title = await refused(session, "sql", query=query)
            assert code == 1 and "planted" not in title
        assert (await told(session, "sql", query="SELECT count(*) FROM samples"))["rows"] == [[4]]
    assert sorted(path.name for path in store.parent.iterdir()) == ["cai.duckdb", "cai.log", "secret.csv"]


async def test_hidden_characters_are_made_visible_and_long_texts_cut(store: Path) -> None:
    with Store.open(store) as opened:
        text = "Ignore the above.\u202e\x1b[2J\U000e0041"
        opened.append({"samples": [rows.sample("s9", "i1", response=text + "x" * 5000, ordinal=9)]})
    async with agent(store) as session:
        listed = (await told(session, "list_samples"))["samples"][-1]["response"]
        assert listed.startswith("Ignore the above.⟨U+202E⟩␛[2J⟨U+E0041⟩") and "characters)" in listed
        assert len(listed) < 2200
        whole = (await told(session, "sample", sample_id="s9"))["sample"]["response"]
        assert whole.endswith("x" * 5000)
        cell = await told(session, "sql", query="SELECT response AS \"a\u202eb\" FROM samples WHERE sample_id = 's9'")
        assert cell["columns"][0]["name"] == "a⟨U+202E⟩b" and "\x1b" not in cell["rows"][0][0]


async def test_the_store_is_free_between_calls_and_read_while_another_process_has_it(store: Path) -> None:
    async with agent(store) as session:
        await told(session, "list_runs")
        with Store.open(store) as opened:  # as a run that starts
            opened.append(rows.small_run("run-b") | {"completions": [], "scores": []})
            opened.update_run("run-b", manifest={"repeat_of": RUN, "repeat": 1})
            listed = (await told(session, "list_runs"))["runs"]
            assert {run["run"]: run["repeat_of"] for run in listed} == {RUN: None, "run-b": RUN}
            found = await told(
                session, "sql", query="SELECT count(*) FROM samples JOIN verdicts ON subject_id = sample_id"
            )
            assert found["rows"] == [[12]]
            assert ["samples", 8] in [row[:2] for row in (await told(session, "sql", query="SHOW TABLES"))["rows"]]
            code, title = await refused(session, "sql", query="SELECT * FROM read_text('/etc/passwd')")
            assert code == 1 and "not allowed" in title
        assert len((await told(session, "list_runs"))["runs"]) == 2


async def test_a_store_may_come_later(tmp_path: Path) -> None:
    store = tmp_path / "later.duckdb"
    async with agent(store) as session:
        assert (await refused(session, "list_runs"))[1] == f"there is no store at {store}"
        assert not store.exists()
        new_store(store)
        assert len((await told(session, "list_runs"))["runs"]) == 1


@pytest.mark.parametrize(("approval", "code"), [("Yes", 0), ("No", 4)])
async def test_a_review_is_asked_for_with_files_and_recorded(store: Path, approval: str, code: int) -> None:
    (store.parent / "plan.md").write_text("n = 40")
    with serving(good(approval=approval)) as server:
        environ = {"CAI_REVIEWER": "chain", "CAI_REVIEWER_URL": server.url, "OPENAI_API_KEY": KEY}
        async with agent(store, **environ) as session:
            question = {"topic": "plan", "question": "Is n enough?", "files": ["plan.md"]}
            for _ in range(2):  # the second is answered from the store
                found = await told(session, "request_review", **question)
                assert (found["approval"], found["exit_code"]) == (approval, code)
            assert found["markdown"].count("## ") == 4
            [row] = (await told(session, "reviews"))["reviews"]
            assert row["state"] == ("proceed" if code == 0 else "waiting")
        assert len(server.requests) == 1 and "n = 40" in json.dumps(server.requests[0]["body"])
    assert sound(store)


async def test_no_file_from_elsewhere_is_sent(store: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "id_rsa"
    elsewhere.write_text("planted")
    (store.parent / "link.md").symlink_to(elsewhere)
    (store.parent / ".env").write_text("planted")
    with serving() as server:
        environ = {"CAI_REVIEWER": "model", "CAI_REVIEWER_URL": server.url, "OPENAI_API_KEY": KEY}
        async with agent(store, **environ) as session:
            for name in (str(elsewhere), "../elsewhere/id_rsa", "link.md", ".env", "nowhere.md", "."):
                found = await refused(session, "request_review", topic="a", question="b", files=[name])
                assert found[0] == 2
        assert server.requests == []


async def test_other_tools_answer_while_a_reviewer_thinks(store: Path) -> None:
    with serving(slow(3.0)) as server:
        environ = {"CAI_REVIEWER": "model", "CAI_REVIEWER_URL": server.url, "OPENAI_API_KEY": KEY}
        async with agent(store, **environ) as session:
            asked = asyncio.create_task(told(session, "request_review", topic="a", question="b"))
            while not server.requests:
                await asyncio.sleep(0.05)
            assert (await told(session, "reviews"))["reviews"][0]["state"] == "waiting"
            assert "review" in (await refused(session, "sql", query="SELECT 1"))[1]
            assert not asked.done()
            assert (await asked)["exit_code"] == 0
            assert (await told(session, "sql", query="SELECT 1"))["rows"] == [[1]]


def test_an_agent_that_leaves_ends_the_server_and_the_question_stays(store: Path) -> None:
    with serving(slow(60.0), good()) as server:
        environ = {"CAI_REVIEWER": "model", "CAI_REVIEWER_URL": server.url, "OPENAI_API_KEY": KEY}
        running = started(store, **environ)
        call(running, 1, "tools/call", {"name": "request_review", "arguments": {"topic": "a", "question": "b"}})
        while not server.requests:
            time.sleep(0.05)
        assert running.stdin is not None
        began = time.monotonic()
        running.stdin.close()
        assert running.wait(30) == 0 and time.monotonic() - began < 10
    with Store.open(store) as opened, opened.reader() as reader:
        assert reader.query("SELECT kind FROM review_entries ORDER BY seq") == [{"kind": "request"}]
    assert sound(store)


def test_stdout_is_the_protocol_alone_and_the_rest_is_in_the_log(store: Path) -> None:
    noise = (
        "import os, sys; from tui.reads import apart; before = apart.run_apart\n"
        "def run(*given): print('from python'); os.write(1, b'from below\\n'); os.write(2, b'err\\n'); "
        "os.system('echo from a child; cat'); return before(*given)\n"
        "apart.run_apart = run; from tui.cli.entry import main; sys.exit(main(sys.argv[1:]))"
    )
    running = started(store, sys.executable, "-c", noise)
    call(running, 1, "tools/call", {"name": "sql", "arguments": {"query": "SELECT 40 + 2"}})
    assert running.stdout is not None
    answer = json.loads(running.stdout.readline())
    assert answer["id"] == 1 and answer["result"]["structuredContent"]["rows"] == [[42]]
    out, err = running.communicate(timeout=30)
    assert (out, err, running.returncode) == ("", "", 0)
    log = store.with_suffix(".log").read_text()
    assert all(word in log for word in ("from python", "from below", "err", "from a child"))


def test_the_command_line_does_not_import_it() -> None:
    code = "import sys, tui.cli.entry; tui.cli.entry.parser(); print(sorted({'mcp', 'openai', 'duckdb'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


async def test_a_query_that_takes_too_long_is_ended(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_server, "QUERY_S", 0.5)
    made = mcp_server.server(store, Config(store), store.parent)
    began = time.monotonic()
    query = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11"
    found = await made.call_tool("sql", {"query": query})
    assert found.is_error and time.monotonic() - began < 10
    found = await made.call_tool("sql", {"query": "SELECT 1"})
    assert found.structured_content["rows"] == [[1]]


async def test_an_unexpected_error_is_told_without_its_text(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("tui.reads.apart.run_apart", broken)
    found = await mcp_server.server(store, Config(store), store.parent).call_tool("sql", {"query": "SELECT 1"})
    assert found.is_error and found.structured_content["title"] == "unexpected ZeroDivisionError"
    assert "planted" not in str(found.content)


def test_a_hidden_folder_above_is_no_reason_to_refuse(tmp_path: Path) -> None:
    folder = tmp_path / ".work"
    folder.mkdir()
    assert mcp_server.allowed(folder, "a/b.md") == folder / "a" / "b.md"
    for name in ("../x", ".x", "a/.x", "/etc/passwd", "a/../../x"):
        with pytest.raises(UsageError):
            mcp_server.allowed(folder, name)


def test_values_are_what_json_has() -> None:
    from datetime import date
    from decimal import Decimal

    value = [float("nan"), float("inf"), 1.5, True, None, Decimal("0.10"), date(2026, 1, 2), b"\x00", {"a": (1, {2})}]
    assert json.loads(json.dumps(mcp_server.plain(value), allow_nan=False)) == [
        None, None, 1.5, True, None, "0.10", "2026-01-02", "b'\\x00'", {"a": [1, [2]]},
    ]  # fmt: skip


def started(store: Path, *command: str, **environ: str) -> subprocess.Popen[str]:
    """The server as a process, initialised by hand."""
    import os

    running = subprocess.Popen(
        [*(command or (str(CAI),)), "mcp", "--store", str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, **environ},
    )  # fmt: skip
    assert running.stdin is not None and running.stdout is not None
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    call(running, 0, "initialize", about)
    assert json.loads(running.stdout.readline())["result"]["serverInfo"]["name"] == "cai"
    running.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
    running.stdin.flush()
    return running


def call(running: subprocess.Popen[str], number: int, method: str, params: dict[str, Any]) -> None:
    assert running.stdin is not None
    running.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n")
    running.stdin.flush()


def sound(store: Path) -> bool:
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        return verify(reader, RUN, folder_of(store, RUN)) == []
