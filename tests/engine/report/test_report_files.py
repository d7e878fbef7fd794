"""The report of a run: written whole or not at all, the same byte for byte, and asked for by a command."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from engine.report import numbers
from store.errors import CaiError, StoreWriteFailed
from tests.engine.report.conftest import ROOT, built
from tui.cli import report
from tui.config.settings import load as load_config


def test_two_builds_are_equal_byte_for_byte(folder: Path, store_file: Path, tmp_path: Path) -> None:
    import matplotlib

    matplotlib.rcParams["lines.linewidth"] = 9  # a person's own settings are of no effect
    try:
        built(store_file, "run-a", tmp_path / "again", price_per_hour=2.0)
    finally:
        matplotlib.rcdefaults()
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert len(names) == 13
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_figures_are_vectors_with_text_and_a_description(folder: Path) -> None:
    space = "{http://www.w3.org/2000/svg}"
    for path in (folder / "figures").glob("*.svg"):
        top = ElementTree.fromstring(path.read_text())
        assert top.tag == f"{space}svg" and top.get("role") == "img"
        title, about = top[0], top[1]
        assert title.tag == f"{space}title" and title.text and about.tag == f"{space}desc" and about.text
        assert top.get("aria-labelledby") == f"{title.get('id')} {about.get('id')}"
        assert len(list(top.iter(f"{space}text"))) > 5
        assert path.with_suffix(".csv").read_text().count("\n") > 1
        assert "dc:date" not in path.read_text() and "DOCTYPE" not in path.read_text()


def test_a_folder_that_is_there_is_left_as_it_is(store_file: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(CaiError, match="is there already") as raised:
        built(store_file, "run-a", tmp_path / "there")
    assert "--out" in raised.value.hint and list(tmp_path.iterdir()) == [tmp_path / "there"]


def test_nothing_is_left_behind_by_a_build_that_fails(
    store_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("store.disk.force_to_disk", full)
    with pytest.raises(StoreWriteFailed, match="No space left"):
        built(store_file, "bare", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_number_forms() -> None:
    told = {
        ("p", 0.012): "0.012", ("p", 0.5): "0.50", ("p", 6.1e-15): "6.1e-15", ("p", 1.0): "1.0", ("p", 0.00064): "0.00064",
        ("share", 0.1234): "12.3 %", ("points", -0.0001): "+0.0", ("count", 1234): "1,234", ("figure", 0.12345): "0.123",
        ("figure", 40.0): "40", ("hours", 0.001): "3.6 s", ("hours", 0.5): "30.0 min", ("dollars", 0.001): "0.001 USD",
        ("loss", 1.23456): "1.2346", ("decimals", -0.00001): "0.000",
    }  # fmt: skip
    for (kind, value), words in told.items():
        assert numbers.written(kind, (value,)) == words
    assert numbers.written("shares", (0.1, None)) == "–" and numbers.written("figure", (float("nan"),)) == "–"
    assert numbers.written("points_interval", (-0.05, 0.1)) == "[-5.0, +10.0]"


# -- the command ---------------------------------------------------------------------------------------------------------


class Screen:
    """A terminal that keeps what is written to it."""

    interactive = False

    def __init__(self) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()

    def take_over(self, *_: object) -> None: ...


def arguments(store: Path, **fields: Any) -> argparse.Namespace:
    return argparse.Namespace(store=str(store), config=load_config({"store": str(store)}), argv=[], **fields)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_writes_a_report(store_file: Path, tmp_path: Path, as_json: bool) -> None:
    shutil.copyfile(store_file, tmp_path / "s.duckdb")
    screen: Any = Screen()
    args = arguments(tmp_path / "s.duckdb", run="bare", out=str(tmp_path / "out"), json=as_json)
    assert report.report_run(args, screen) == 0
    told = screen.stdout.getvalue()
    files = json.loads(told)["files"] if as_json else told.split()
    assert str(tmp_path / "out/report.md") in files and all(Path(name).is_file() for name in files)


def test_nothing_is_drawn_with_before_a_report_is_asked_for() -> None:
    program = (
        "import sys; import tui.app.app, engine, engine.report.build, tui.cli.report; "
        "heavy = {'matplotlib', 'torch', 'transformers', 'trl', 'vllm'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
