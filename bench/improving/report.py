"""What the benchmark of improvement found: the data of each run, and the differences of the conditions."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from bench.common import MODEL, machine, versions
from bench.improving.blind import COUNTS, GRADES, Outcomes, outcomes_of
from bench.improving.conditions import CONDITIONS, BenchFolder, BenchSettings, only_first
from bench.improving.differences import compared, table_of
from engine.evaluation.items import item_set
from engine.evaluation.plan import answers_of
from engine.evaluation.scorer_audit import blocked
from store.db import Store
from store.read import Reader


def report(place: BenchFolder) -> None:
    """Write what was found to report.json and report.md, and print the former as one line."""
    settings, runs = place.settings, place.runs
    differences: dict[str, Any] = {}
    with Store.open(place.store, read_only=True) as store, store.reader() as reader:
        items, templates, failed = _evaluated(reader, settings, runs)
        data: dict[str, Any] = {}
        for seed in settings.seeds:
            both = (f"{seed} rules", f"{seed} critic")
            data |= {one: _data(reader, runs[one], runs[two], settings) for one, two in (both, both[::-1])}
        trained = reader.query(
            "SELECT training_id, run_id, state, data_sha256, settings FROM trainings "
            "WHERE run_id IN (SELECT unnest(?)) ORDER BY updated_at, training_id",
            [list(runs.values())],
        )  # of a run and a method the last one is asked
    if items:
        differences["items"] = compared(items, settings.seeds, templates)
    key: dict[str, Any] = {}
    grades: dict[str, str] = {}
    if place.file("grades.json").exists():
        key, grades = place.read("key.json", "answers"), place.read("grades.json", "read")
    for measure in COUNTS:
        differences[measure] = compared(outcomes_of(key, grades, settings.seeds, measure), settings.seeds)
    figures = {
        "benchmark": "improvement",
        "model": MODEL,
        "settings": asdict(settings),
        "runs": runs,
        "data": data,
        "trainings": [row | {"settings": json.loads(row["settings"])} for row in trained],
        "scorer_audit_failed": failed,
        "answers": len(key),
        "graded": len(grades),
        "grades": _tally(key, grades),
        "differences": differences,
        "versions": versions("torch", "transformers", "trl", "peft"),
        "machine": machine(),
    }
    place.write("report.json", figures)
    place.write_text("report.md", f"{_data_table(data)}\n{table_of(differences, settings.seeds)}")
    print(json.dumps(figures))


def _evaluated(
    reader: Reader, settings: BenchSettings, runs: Mapping[str, str]
) -> tuple[Outcomes, dict[str, str], dict[str, list[str]]]:
    """Which test items went well, by seed and condition; their templates; and what failed of the scorer's audit."""
    sha256 = item_set().sha256
    outcomes: Outcomes = {}
    templates: dict[str, str] = {}
    failed: dict[str, list[str]] = {}
    for seed in settings.seeds:
        for arm in ("rules", "critic"):
            run_id = runs[f"{seed} {arm}"]
            asked = {"base_formatted": "base", **{of: name for name, (by, _, of) in CONDITIONS.items() if by == arm}}
            for row in answers_of(reader, run_id, sha256):
                if row["split"] == "test" and row["condition"] in asked and row["correct"] is not None:
                    outcomes.setdefault((seed, asked[row["condition"]]), {})[row["item_id"]] = bool(row["correct"])
                    templates[row["item_id"]] = row["template"]
            if wrong := blocked(reader.query("SELECT * FROM scorer_audits WHERE run_id = ?", [run_id])):
                failed[f"{seed} {arm}"] = wrong
    return outcomes, templates, failed


def _data(reader: Reader, run_id: str, other_id: str, settings: BenchSettings) -> dict[str, Any]:
    """What a run's examples cost in candidates, what they are like, and how many the seed's other run has, too."""
    counts = reader.query(
        "SELECT subject_kind, count(*) AS n, count(*) FILTER (WHERE verdict = 'accepted') AS accepted FROM verdicts "
        "WHERE run_id = ? AND subject_kind IN ('instruction', 'sample') GROUP BY ALL ORDER BY ALL",
        [run_id],
    )
    run = reader.run(run_id)
    found = only_first(settings.examples)(reader, run, "sft", 0.0)
    pairs = only_first(settings.examples)(reader, run, "dpo", 0.0)
    other = only_first(settings.examples)(reader, reader.run(other_id), "sft", 0.0)
    return {
        **{row["subject_kind"]: {"judged": row["n"], "accepted": row["accepted"]} for row in counts},
        "examples": len(found.train),
        "words": round(statistics.fmean(len(row["completion"].split()) for row in found.train), 1),
        "pairs": len(pairs.train),
        "shared": len({row["id"] for row in found.train} & {row["id"] for row in other.train}),
    }


def _tally(key: Mapping[str, Iterable[Mapping[str, Any]]], grades: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """How often each grade was given, by condition and seed."""
    found: dict[str, dict[str, int]] = {}
    for name, places in key.items():
        for one in places if name in grades else ():
            of = f"{one['condition']} {one['seed'] or ''}".strip()
            found.setdefault(of, dict.fromkeys(GRADES, 0))[grades[name]] += 1
    return dict(sorted(found.items()))


def _data_table(data: Mapping[str, Mapping[str, Any]]) -> str:
    heads = ["seed, run", "instructions judged, accepted", "samples judged, accepted", "examples", "words", "shared"]
    lines = [f"| {' | '.join([*heads, 'pairs'])} |", f"|{' --- |' * (len(heads) + 1)}"]
    for name, row in data.items():
        judged = [", ".join(str(n) for n in row.get(kind, {}).values()) for kind in ("instruction", "sample")]
        cells = [name, *judged, *(str(row[what]) for what in ("examples", "words", "shared", "pairs"))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
