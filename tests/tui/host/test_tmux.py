"""Over SSH the program offers to move into tmux: asked once, remembered, with what it needs and no secret."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.host.test_hangup import Screen, on_a_screen
from tui.config import settings
from tui.host import tmux

pytestmark = pytest.mark.integration

SSH = {"SSH_CONNECTION": "10.0.0.1 50000 10.0.0.2 22", "TMUX": "", "STY": "", "ZELLIJ": ""}
TMUX = shutil.which("tmux")


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """SSH, a configuration of its own, and a tmux that only writes down what it was asked."""
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "tmux"
    fake.write_text(
        '#!/bin/sh\ncase "$1" in has-session|list-sessions) exit 1;; esac\n'
        f'printf "%s\\n" "$@" > {tmp_path}/asked\necho IN-TMUX\n'
    )
    fake.chmod(0o755)
    return SSH | {"PATH": f"{folder}:{os.environ['PATH']}", "CAI_CONFIG": str(tmp_path / "config.toml")}


def asked_for(tmp_path: Path) -> list[str]:
    return (tmp_path / "asked").read_text().splitlines()


def test_yes_becomes_a_session_of_this_store_with_the_same_arguments(tmp_path: Path, environ: dict[str, str]) -> None:
    store = tmp_path / "my.store.duckdb"
    environ |= {"CAI_STORE": str(store), "HF_TOKEN": "hf_secret", "CAI_API_KEY": "sk-secret"}
    with on_a_screen("commits", "run", "--pilot", "8", environ=environ) as screen:
        screen.wait_for("Move into a tmux session? [Y/n")
        screen.type("\n")
        screen.wait_for("IN-TMUX")
        assert screen.wait_for_end() == 0
    asked = asked_for(tmp_path)
    assert asked[:4] == ["new-session", "-A", "-s", tmux.session_name(store)]
    assert asked[-4:] == ["run", "--pilot", "8", "--no-tmux"]
    assert f"CAI_STORE={store}" in asked and any(word.startswith("PATH=") for word in asked)
    assert not any("secret" in word for word in asked)
    assert not (tmp_path / "config.toml").exists()


def test_never_and_always_are_remembered(tmp_path: Path, environ: dict[str, str]) -> None:
    store = tmp_path / "cai.duckdb"
    with on_a_screen("commits", "--store", store, environ=environ) as screen:
        screen.wait_for("Move into a tmux session?")
        screen.type("perhaps\n")
        screen.wait_for("Please answer y, n, a or v.")
        screen.type("v\n")
        screen.wait_for("No run yet")
    assert settings.load().offer_tmux == "never"
    with on_a_screen("commits", "--store", store, environ=environ) as screen:
        screen.wait_for("No run yet")
        assert b"tmux" not in screen.seen
    (tmp_path / "config.toml").write_text("# mine\noffer_tmux = 'always'\n")
    with on_a_screen("commits", "--store", store, environ=environ) as screen:
        screen.wait_for("IN-TMUX")
        assert b"Move into" not in screen.seen


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (["--no-tmux"], {}),
        ([], {"SSH_CONNECTION": ""}),
        ([], {"TMUX": "/tmp/tmux-0/default,1,0"}),
        ([], {"STY": "1234.pts-0"}),
        ([], {"PATH": "/nowhere"}),
    ],
)
def test_it_is_not_offered_where_it_makes_no_sense(
    tmp_path: Path, environ: dict[str, str], arguments: list[str], changed: dict[str, str]
) -> None:
    with on_a_screen("commits", *arguments, "--store", tmp_path / "a.duckdb", environ=environ | changed) as screen:
        screen.wait_for("No run yet")
        assert b"tmux" not in screen.seen
    assert not (tmp_path / "asked").exists()


def test_two_stores_of_one_name_have_two_sessions() -> None:
    one, other = Path("/a/cai.duckdb"), Path("/b/cai.duckdb")
    assert tmux.session_name(one) != tmux.session_name(other)
    assert tmux.session_name(one).startswith("cai-cai-")
    name = tmux.session_name(Path("/a/we:ird name.v2.duckdb"))
    assert not set(name) & set(":. \n")


@pytest.mark.parametrize(
    ("name", "carried"),
    [("CAI_STORE", True), ("CUDA_VISIBLE_DEVICES", True), ("HF_HOME", True), ("NO_COLOR", True), ("LC_ALL", True),
     ("HF_TOKEN", False), ("CAI_API_KEY", False), ("CAI_PASSWORD", False), ("AWS_SECRET_ACCESS_KEY", False),
     ("HOME", False), ("TMUX", False)],
)  # fmt: skip
def test_settings_are_carried_and_secrets_are_not(name: str, carried: bool) -> None:
    assert tmux.is_carried(name) is carried


@pytest.fixture
def real(tmp_path: Path, environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """The real tmux, on a socket of its own."""
    socket = f"cai-test-{os.getpid()}"
    (tmp_path / "bin" / "tmux").write_text(f'#!/bin/sh\nexec {TMUX} -L {socket} -f /dev/null "$@"\n')
    yield environ
    subprocess.run([str(TMUX), "-L", socket, "kill-server"], capture_output=True, check=False)
    Path(os.environ.get("TMUX_TMPDIR", "/tmp"), f"tmux-{os.getuid()}", socket).unlink(missing_ok=True)


@pytest.mark.skipif(TMUX is None, reason="there is no tmux")
def test_a_lost_connection_costs_nothing_in_the_real_tmux(tmp_path: Path, real: dict[str, str]) -> None:
    store = tmp_path / "cai.duckdb"

    def open_and_answer() -> Screen:
        screen = Screen("commits", "--store", store, environ=real)
        screen.wait_for("[Y/n")
        screen.type("y\n")
        screen.wait_for("No run yet")
        return screen

    first = open_and_answer()
    first.hang_up()
    first.wait_for_end()
    time.sleep(0.2)
    again = open_and_answer()
    try:
        assert b"cai is open on this store in the tmux session" in again.seen
        again.type("q")
        again.wait_for("[exited]")
    finally:
        again.close()
