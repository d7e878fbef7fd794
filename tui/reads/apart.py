"""A typed statement in a process of its own: whatever it does to that process, the one that asked goes on.

DuckDB bounds what tables and sorts take, but not what a function of text allocates, and a statement cannot be
interrupted while it is planned. The process has a limit of memory from the system, and it is killed when it is late.
While another process works on the store the statement doesn't run there either, but here, on a copy of the tables that
it names.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import CaiError, StoreError
from tui.reads.sql import ROWS_SHOWN, Result, asks_for_tables, plain_select, result_of

if TYPE_CHECKING:
    from store.read import Reader

MEMORY = "1GB"  # for DuckDB
ADDRESSES = 4 * 2**30  # bytes of address space that the system gives the process
SENT_AT_MOST = 64 * 2**20  # bytes of a result
BEGIN_S = 40.0  # until the statement begins, with what has to be copied for it
GRACE_S = 10.0  # to end by itself after an interrupt
_LOOK_S = 0.2
_CATALOG = re.compile(r"\b(duckdb|pragma|sqlite)_|\binformation_schema\b", re.IGNORECASE)


def run_apart(path: Path, sql: str, seconds: float) -> Result:
    """Run one SELECT on the store at `path`, which others may read meanwhile, in a process of its own.

    Raises StoreError where it may not run, fails, takes longer than `seconds` or ends its process, or does not
    begin because what it reads is still being copied.
    """
    with tempfile.TemporaryDirectory(prefix="cai-") as aside:
        order = json.dumps({"path": str(path), "sql": sql, "seconds": seconds, "aside": aside})
        child = subprocess.Popen(
            [sys.executable, "-m", "tui.reads.apart"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        try:
            answer = _output(child, order.encode("utf-8", "surrogatepass"), seconds + GRACE_S)
        except subprocess.TimeoutExpired as error:
            raise _ended(f"it took longer than {seconds:g} s") from error
        finally:
            child.kill()
            child.wait()
    head, _, rows = answer.partition(b"\n")
    if child.returncode == 0 and _begun_at(head) is not None:
        head, _, rows = rows.partition(b"\n")
    if child.returncode != 0 or not head:
        raise _ended(f"its process ended with status {child.returncode}")
    told = json.loads(head)
    if "title" in told:
        raise StoreError(told["title"], told["hint"])
    import pyarrow as pa

    return result_of(plain_select(sql), pa.ipc.open_stream(io.BytesIO(rows)).read_all(), told["seconds"])


def _output(child: subprocess.Popen[bytes], order: bytes, most_s: float) -> bytes:
    """What the process writes, at most `most_s` seconds after the statement began.

    Raises TimeoutExpired, and StoreError where it does not begin.
    """
    given: bytes | None = order
    last_start = time.monotonic() + BEGIN_S
    while True:
        try:
            return child.communicate(given, timeout=_LOOK_S)[0]
        except subprocess.TimeoutExpired as late:
            given = None
            head, newline, _ = (late.output or b"").partition(b"\n")
            began = _begun_at(head) if newline else None
            if began is None and time.monotonic() > last_start:
                raise StoreError(
                    f"the statement had not begun after {BEGIN_S:g} s",
                    "Nothing was changed. While another process works on the store, the tables that a statement names "
                    "are copied first: name fewer or smaller ones, or copy the store once with: "
                    "cai export --snapshot FILE",
                ) from late
            if began is not None and time.monotonic() > began + most_s:
                raise


def _begun_at(line: bytes) -> float | None:
    """When the statement began, by the machine's clock, where a line of the process tells that."""
    return json.loads(line).get("begun") if line else None


def _ended(why: str) -> StoreError:
    return StoreError(f"the statement was ended: {why}", "Nothing was changed. Ask for less, or for a part of the run.")


def _answer(order: dict[str, object], say: Callable[[bytes], object]) -> bytes:
    """One line of JSON, and behind it the rows as a stream of Arrow; `say` is told by such a line when it begins."""
    import pyarrow as pa

    try:
        sql = str(order["sql"])
        statement = plain_select(sql)
        with _own(Path(str(order["path"])), sql, Path(str(order["aside"]))) as reader:
            say(json.dumps({"begun": time.monotonic()}).encode() + b"\n")
            began = time.perf_counter()
            found = reader.typed(statement, rows=ROWS_SHOWN + 1, seconds=float(str(order["seconds"])))
            if found.nbytes > SENT_AT_MOST:
                raise _ended(f"its result is larger than {SENT_AT_MOST / 2**20:.0f} MiB")
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, found.schema) as stream:
                stream.write_table(found)
            return json.dumps({"seconds": time.perf_counter() - began}).encode() + b"\n" + bytes(sink.getvalue())
    except CaiError as error:
        wrong = error
    except MemoryError:
        wrong = _ended(f"it needed more than {ADDRESSES / 2**30:.0f} GiB")
    return json.dumps({"title": wrong.title, "hint": wrong.hint}).encode() + b"\n"


@contextlib.contextmanager
def _own(path: Path, sql: str, aside: Path) -> Iterator[Reader]:
    """A reader for a statement: of the store, or of a copy of what the statement names in the folder `aside`."""
    from store.db import Store, reading
    from store.serving.attached import Attached
    from store.serving.snapshot import snapshot

    with contextlib.ExitStack() as stack:
        store: Store | Attached = reading(path, MEMORY)
        stack.enter_context(store)
        if not isinstance(store, Store) and not asks_for_tables(sql):
            with store.reader() as reader:
                statement = plain_select(sql)
                snapshot(reader, aside / path.name, _named(statement, reader.typed_tree(statement)))
            store = Store.open(aside / path.name, read_only=True, memory=MEMORY)
            stack.enter_context(store)
        yield stack.enter_context(store.reader())


def _named(sql: str, tree: dict[str, Any]) -> list[str] | None:
    """The tables that a statement names; None, which is all, where it may ask the catalog about them."""
    from store.console.statement import nodes

    if _CATALOG.search(sql):
        return None
    return [str(node["table_name"]).lower().strip('"') for node in nodes(tree) if node.get("type") == "BASE_TABLE"]


def main() -> None:
    """Read the order from stdin and write the answer to stdout, where nothing else can write."""
    out = os.dup(1)
    os.dup2(2, 1)
    order = json.loads(sys.stdin.buffer.read().decode("utf-8", "surrogatepass"))
    seconds = int(order["seconds"] + BEGIN_S + GRACE_S) * (os.cpu_count() or 1)  # of all threads, should nobody end it
    for limit, most in ((resource.RLIMIT_AS, ADDRESSES), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # a lower one is in force
            resource.setrlimit(limit, (most, most))
    with os.fdopen(out, "wb", buffering=0) as raw, io.BufferedWriter(raw) as answer:
        answer.write(_answer(order, raw.write))


if __name__ == "__main__":
    main()
