"""A run with everything that a report tells of, its report, and ways to read one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.report.build import build
from store.db import Store
from tests.engine.report.report_rows import full_run
from tests.store import rows

NOW = datetime(2026, 2, 3, 4, 5, tzinfo=UTC)
ROOT = Path(__file__).parents[3]
REF = re.compile(r"\[(Q\d+)\]")
NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


@pytest.fixture(scope="module")
def store_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "cai.duckdb"
    with Store.open(path) as store:
        store.append(full_run())
        store.append({"runs": [rows.run("bare", created_at=rows.T0)]})
    return path


@pytest.fixture(scope="module")
def folder(store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "report"
    assert built(store_file, "run-a", out, price_per_hour=2.0)
    return out


@pytest.fixture(scope="module")
def bare(store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("out") / "bare"
    built(store_file, "bare", out)
    assert not (out / "figures").exists()
    return (out / "report.md").read_text()


def built(store: Path, run_id: str, out: Path, **options: Any) -> list[Path]:
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        return build(reader, run_id, out, now=NOW, **options)


def section(markdown: str, title: str) -> str:
    found = re.search(rf"^## \d+\. {re.escape(title)}\n(.*?)(?=^## |\Z)", markdown, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def table(markdown: str, caption: str) -> list[dict[str, str]]:
    found = re.search(rf"^\*\*{re.escape(caption)}[^\n]*\n\n((?:\|.*\n)+)", markdown, re.MULTILINE)
    assert found, caption
    lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in found[1].splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def statements(folder: Path) -> dict[str, str]:
    """The statements of the file of queries by name, as the file has them."""
    text = (folder / "queries.sql").read_text()
    parts = re.split(r"^-- (Q\d+): .*$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))
