"""A process that asks one question and dies at a step of it, for the test of kills; and what forks such processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engine.core.control import Control
from engine.review.model import ModelReviewer
from engine.review.prompt import Context, Section
from engine.review.reviewers import Request
from store.db import Store
from tests.engine.review.review_desk import QUESTION, Person, desk, model


def ask(store: Store | Path, url: str, who: str) -> bool:
    """One question to a reviewer that says Yes, or to one that says No and a person who overrides it."""
    server: Any = SimpleNamespace(url=url)
    person = Person(("override", "Known.")) if who == "person" else None
    context = Context((Section("figures", "0.1"),), {"spec": 1})
    with desk(store, model(server), person) as opened:
        return bool(opened.review("pilot", QUESTION, context).outcome.proceed)


def die(path: Path, url: str, who: str, step: str, when: str, nth: int) -> None:
    """Ask, and die without a word before or after the n-th rename, commit, request or answer."""
    calls = 0

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            mine = calls == nth
            if mine and when == "before":
                os._exit(9)
            found = function(*arguments, **named)
            if mine and when == "after":
                os._exit(9)
            return found

        return replaced

    owner, name = {
        "rename": (Path, "replace"), "commit": (Store, "append"), "send": (ModelReviewer, "_try"),
        "answer": (Control, "answer"),
    }[step]  # fmt: skip
    setattr(owner, name, deadly(getattr(owner, name)))
    ask(path, url, who)
    os._exit(1)


class Killer:
    """A process without threads that forks one to die for each call: starting Python for each takes a second."""

    def __enter__(self) -> Killer:
        command = [sys.executable, "-c", "from tests.engine.review.review_kill import serve; serve()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def __call__(self, *arguments: Any) -> int:
        """The exit status of a process that was to `die`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(arguments[0]), *arguments[1:]]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def serve() -> None:
    """Fork a process for each line, with the client's parts loaded, which it loads as it needs them."""
    nowhere: Any = SimpleNamespace(url="http://127.0.0.1:1/v1")
    model(nowhere).ask(Request("run", "review", 1, "topic", "question", "prompt"))
    for line in sys.stdin:
        path, *rest = json.loads(line)
        child = os.fork()
        if child == 0:
            die(Path(path), *rest)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201
