"""`cai status --prometheus`: text by the exposition format's grammar, also while another process owns the store."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from tests.store import rows
from tests.tui.cli.commands import HOSTILE, as_json, child, run_cai
from tests.tui.cli_fakes import RUN

# One line of a sample: a name, labels in braces, a value. Source: prometheus.io/docs/instrumenting/exposition_formats.
_SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\} '
    r"(?P<value>[-+]?[0-9.]+(?:e[-+]?[0-9]+)?|NaN|[-+]Inf)"
)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def parsed(text: str) -> dict[str, tuple[str, dict[tuple[tuple[str, str], ...], float]]]:
    """Each metric with its type and its samples; whatever the format does not allow fails."""
    assert text.endswith("\n")
    found: dict[str, tuple[str, dict[tuple[tuple[str, str], ...], float]]] = {}
    lines = text.split("\n")[:-1]
    at = 0
    while at < len(lines):
        helped, typed = lines[at].split(" ", 3), lines[at + 1].split(" ")
        assert helped[:2] == ["#", "HELP"] and typed[:2] == ["#", "TYPE"] and helped[2] == typed[2] and helped[3]
        name, kind = typed[2], typed[3]
        assert name not in found, "a metric's lines stand together"
        assert kind in ("gauge", "counter") and (kind == "counter") == name.endswith("_total")
        samples: dict[tuple[tuple[str, str], ...], float] = {}
        at += 2
        while at < len(lines) and not lines[at].startswith("#"):
            match = _SAMPLE.fullmatch(lines[at])
            assert match and match["name"] == name, lines[at]
            labels = tuple(
                (key, re.sub(r"\\.", lambda one: _ESCAPES[one[0]], value))
                for key, value in _LABEL.findall(match["labels"])
            )
            assert labels not in samples, "each sample has labels of its own"
            samples[labels] = float(match["value"])
            at += 1
        assert samples
        found[name] = kind, samples
    return found


def only(text: str, name: str) -> Any:
    (value,) = parsed(text)[f"cai_{name}"][1].values()
    return value


def kept(minutes_ago: int, phase: str, seconds: float, busy: float) -> list[dict[str, Any]]:
    figures = {"gpu_measured_s": seconds, "gpu_busy_percent": busy, "gpu_least_busy_percent": busy / 2,
               "gpu_memory_gib": 40.0, "gpu_power_w": 500.0}  # fmt: skip
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return [rows.metric(name, RUN, phase=phase, value=value, at=at) for name, value in figures.items()]


def test_every_line_is_by_the_grammar_and_no_text_of_the_model_is_in_it(
    capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    code, out, err = run_cai(capsys, "status", "--prometheus", "--store", store)
    assert code == 0 and err == ""
    found = parsed(out)
    assert all(dict(labels)["run"] == RUN for _, samples in found.values() for labels in samples)
    (info,) = found["cai_run_info"][1]
    assert dict(info)["state"] == "gate_failed" and only(out, "run_active") == 0
    assert only(out, "accepted_examples") == 2 and only(out, "completions_total") >= 0
    assert HOSTILE not in out and "\x1b" not in out and "Do i1." not in out
    assert not any(name.startswith("cai_gpu") for name in found)


def test_a_label_with_quotes_backslashes_and_control_characters_stays_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = 'a"b\\c\nd\x1b[31m'
    with Store.open(tmp_path / "s.duckdb") as opened:
        run = rows.small_run(RUN)
        run["runs"][0]["model"] = model
        opened.append(run)
    _, out, _ = run_cai(capsys, "status", "--prometheus", "--store", tmp_path / "s.duckdb")
    (info,) = parsed(out)["cai_run_info"][1]
    assert dict(info)["model"].startswith('a"b\\c↵d') and "\x1b" not in out


def test_idle_time_of_gpus_is_counted_by_phase_and_the_last_minute_told_while_it_is_fresh(
    capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    with Store.open(store) as opened:
        opened.append({"metrics": kept(9, "responses", 60, 80) + kept(8, "gate", 60, 10)})
    _, out, _ = run_cai(capsys, "status", "--prometheus", "--store", store)
    idle = parsed(out)["cai_gpu_idle_seconds_total"][1]
    assert {dict(labels)["phase"]: round(value, 6) for labels, value in idle.items()} == {"responses": 12, "gate": 54}
    assert "cai_gpu_busy_ratio" not in parsed(out)
    with Store.open(store) as opened:
        opened.append({"metrics": kept(0, "responses", 60, 80)})
    _, out, _ = run_cai(capsys, "status", "--prometheus", "--store", store)
    assert only(out, "gpu_busy_ratio") == pytest.approx(0.8) and only(out, "gpu_least_busy_ratio") == pytest.approx(0.4)
    assert only(out, "gpu_memory_bytes") == 40 * 2**30 and only(out, "gpu_power_watts") == 500
    _, out, _ = run_cai(capsys, "status", "--store", store)
    assert "57 % busy" in out and "most of it in QC gate" in out


@pytest.mark.integration
def test_it_is_read_while_another_process_has_the_store(store: Path) -> None:
    with Store.open(store):
        ran = child("status", "--prometheus", "--store", store)
    assert ran.returncode == 0, ran.stderr
    assert only(ran.stdout, "target_examples") > 0


def test_one_form_at_a_time_and_nothing_on_stdout_where_it_fails(
    capsys: pytest.CaptureFixture[str], store: Path, tmp_path: Path
) -> None:
    code, found = as_json(capsys, "status", "--prometheus", "--store", store)
    assert code == 2 and "two forms" in found["error"]["title"]
    code, out, _ = run_cai(capsys, "status", "--prometheus", "--store", tmp_path / "none.duckdb")
    assert code == 1 and out == ""
