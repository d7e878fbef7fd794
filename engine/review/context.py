"""What a question of the engine is about, out of the store: figures with intervals, samples, costs, the spec's section.

Every number comes from a query over the rows, and everything that a model or a person worded is quoted as data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import yaml

from engine.core.figures import cents
from engine.core.text import flat
from engine.review.prompt import Context, Section, code_sha256
from engine.review.text import cut, words
from engine.spec.stage import StageSpec
from store.outcomes import EMPTY, FAILED, GAP, READ_NAMES, gap_figure, in_percent
from store.read import Reader
from store.text import json_text

Decision = Literal["pilot", "override", "gap", "sft", "dpo", "claim"]
WORDS_AT_MOST = 5_500  # of what is sent about a question, boundaries and headings included
TEXT_AT_MOST = 1_200  # characters of an instruction or a response
SECTION_AT_MOST = 5_000  # characters of what is not a sample
RESULTS_AT_MOST = 40
SHORTEST_TEXT = 75
_GATES = {
    "pilot": ("guard", "pilot", "pilot pairs"),
    "override": ("guard", "pilot", "final"),
    "gap": ("gap",),
    "sft": ("guard", "pilot", "final", "gap"),
    "dpo": ("guard", "final", "final pairs", "pilot pairs", "gap"),
    "claim": ("gap", "final", "final pairs"),
}
_PARTS = {
    "pilot": ("pilot", "target", "instructions", "responses", "critics", "rules", "gate", "pairs"),
    "override": ("pilot", "target", "gate", "critics", "rules"),
    "gap": ("evaluation",),
    "sft": ("adapter", "sft", "splits"),
    "dpo": ("adapter", "dpo", "pairs"),
    "claim": ("evaluation",),
}


def asks(spec: StageSpec, decision: str) -> bool:
    """Whether the spec has a decision of that kind reviewed."""
    return spec.review is not None and decision in get_args(Decision) and decision in spec.review.ask


def context_of(
    reader: Reader, run: Mapping[str, Any], spec: StageSpec, what: Decision, extra: Sequence[Section] = ()
) -> Context:
    """The context of one of the engine's own questions about a run; `extra` are sections such as a forecast of costs.

    Its evidence is spec, data, figures and code: an approval on it lapses when any of them changes. Raises StoreError.
    """
    run_id = str(run["run_id"])
    gates = [row for row in reader.gates(run_id) if row["gate"] in _GATES[what]]
    gates.sort(key=lambda row: (row["gate"], row["check_name"]))
    results = _results(reader, run_id) if what == "claim" else []
    overrides = run.get("overrides") or {}
    sections = [
        Section("Run", _run(run, spec), quoted=False),
        Section(
            "Figures of the gates: measured [95 % interval], n, threshold", _lines(map(_gate, gates)), quoted=False
        ),
    ]
    if results:
        sections.append(Section("Differences between conditions", _lines(map(_result, results)), quoted=False))
    if cost := _cost(reader):
        sections.append(Section("Cost so far, of all runs in this store", cost, quoted=False))
    if overrides:
        sections.append(Section("Settings that differ from the spec: [spec's value, value]", json_text(overrides)))
    part = {name: value for name, value in spec.model_dump(mode="json").items() if name in _PARTS[what]}
    sections += [Section("The spec's section", yaml.safe_dump(part, sort_keys=False)), *extra]
    sections = [replace(section, text=cut(section.text, SECTION_AT_MOST)) for section in sections]
    n = spec.review.samples if spec.review is not None else 10
    left = WORDS_AT_MOST - sum(words(section.text) for section in sections)
    sections += _samples(reader, run_id, n, left)
    of_data = [row for row in gates if row["check_name"] not in READ_NAMES]  # a person may read before or after
    figures = [[row[name] for name in ("gate", "check_name", "measured", "n", "op", "threshold")] for row in of_data]
    evidence = {
        "spec": [run.get("spec_sha256"), spec.model_dump(mode="json"), overrides],
        # A deviation is the same whatever has been made under it since.
        "data": {} if what == "override" else _data(reader, run_id, what),
        "figures": [] if what == "override" else [figures, [list(row.values()) for row in results]],
        "code": code_sha256(),
    }
    return Context(tuple(sections), evidence)


def _run(run: Mapping[str, Any], spec: StageSpec) -> str:
    """What the run is; names come from a file that somebody wrote, and are cut to a line."""
    return (
        f"- run {run['run_id']}, stage {spec.stage}, spec {flat(str(run['spec']), 80)}\n"
        f"- model {flat(str(run['model']), 80)}, spec written for {flat(spec.written_for, 80)}\n"
        f"- pilot {run['pilot']}, target {run['target']} accepted examples"
    )


def _gate(row: Mapping[str, Any]) -> str:
    interval = f" [{row['lo']:.3g}, {row['hi']:.3g}]" if row["lo"] is not None and row["hi"] is not None else ""
    measured = "not measured" if row["measured"] is None else f"{row['measured']:.4g}{interval}"
    needs = f"n = {row['n']}, {row['op']} {row['threshold']:g}"
    if row["gate"] == GAP:
        told = in_percent(row)
        measured, needs = gap_figure(row), needs.partition(", ")[2] if told is None else told[2]
    passed = {FAILED: "FAILED", EMPTY: "EMPTY"}.get(row["result"], row["result"])
    name = f"{flat(row['gate'], 40)}: {flat(row['check_name'], 80)}"
    return f"- {name}: {measured}, {needs}: {passed}"


def _results(reader: Reader, run_id: str) -> list[dict[str, Any]]:
    return reader.query(
        "SELECT * EXCLUDE (run_id, \"at\") FROM evaluation_results WHERE run_id = ? ORDER BY role != 'primary', "
        "role != 'secondary', capability, before, after, item_type LIMIT ?",
        [run_id, RESULTS_AT_MOST],
    )


def _result(row: Mapping[str, Any]) -> str:
    names = [flat(row[name], 40) for name in ("capability", "before", "after", "item_type")]
    corrected = "" if row.get("p_corrected") is None else f", corrected {row['p_corrected']:.3g}"
    return (
        f"- {names[0]}: {names[1]} to {names[2]}, {names[3]}: "
        f"{row['difference']:+.3f} [{row['lo']:+.3f}, {row['hi']:+.3f}], n = {row['n']}, "
        f"{row['clusters']} templates, {row['test']} p = {row['p']:.3g}{corrected}, "
        f"{row['effect_name']} {row['effect']:.3g}, {row['role']}"
    )


def _cost(reader: Reader) -> str:
    rows = reader.query(
        "SELECT kind, state, sum(micro_usd)::BIGINT AS micro_usd FROM ledger GROUP BY kind, state ORDER BY kind, state"
    )
    return _lines(f"- {row['kind']}, {row['state']}: {cents(row['micro_usd'] / 1e6)}" for row in rows) if rows else ""


def _samples(reader: Reader, run_id: str, n: int, words_left: int) -> list[Section]:
    """Samples chosen by the hash of their ids, half of them accepted as far as there are; cut so that they fit."""
    chosen = "SELECT s.*, v.verdict, v.reason, row_number() OVER (PARTITION BY v.verdict = 'accepted' ORDER BY "
    rows = reader.query(
        f"WITH ranked AS ({chosen} sha256(s.run_id || s.sample_id), s.sample_id) AS place FROM samples s "
        "JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id "
        "WHERE s.run_id = ?), taken AS (SELECT * FROM ranked ORDER BY place, verdict, sample_id LIMIT ?) "
        "SELECT t.sample_id, i.text AS instruction, t.response, t.verdict, t.reason, "
        "(SELECT list({'critic': j.critic, 'margin_nats': j.margin_nats, 'score': j.score, 'audited': j.audited} "
        "ORDER BY j.critic) FROM judgements j WHERE j.run_id = t.run_id AND j.subject_kind = 'sample' "
        "AND j.subject_id = t.sample_id) AS judged FROM taken t "
        "JOIN instructions i ON i.run_id = t.run_id AND i.instruction_id = t.instruction_id "
        "ORDER BY t.verdict, t.sample_id",
        [run_id, n],
    )
    limit = TEXT_AT_MOST
    while True:
        found = [Section(f"Sample {place} of {len(rows)}", _sample(row, limit)) for place, row in enumerate(rows, 1)]
        if sum(words(section.text) + 12 for section in found) <= words_left or not found:
            return found
        limit = limit // 2
        if limit < SHORTEST_TEXT:
            rows, limit = rows[:-1], SHORTEST_TEXT


def _sample(row: Mapping[str, Any], limit: int) -> str:
    judged = "; ".join(map(_margin, row["judged"] or ()))
    return (
        f"id: {row['sample_id']}\nverdict: {row['verdict']}: {flat(row['reason'] or 'no reason', 200)}\n"
        f"margins: {judged or 'none'}\ninstruction: {cut(row['instruction'], limit)}\n"
        f"response: {cut(row['response'], limit)}"
    )


def _margin(one: Mapping[str, Any]) -> str:
    audited = "" if one["audited"] else " (not audited)"
    return f"{one['critic']} {one['margin_nats']:+.3f} nats, score {one['score']:+.2f}{audited}"


def _data(reader: Reader, run_id: str, what: str) -> dict[str, Any]:
    """What the rows are that were judged, as hashes: texts, verdicts, trainings and answers to held-out items."""
    asked = {
        "samples": "SELECT sample_id || md5(response) AS one FROM samples WHERE run_id = ?",
        "verdicts": "SELECT subject_kind || subject_id || verdict AS one FROM verdicts WHERE run_id = ?",
    }
    if what in ("dpo", "claim"):
        asked["trainings"] = (
            "SELECT training_id || state || md5(settings::VARCHAR) AS one FROM trainings WHERE run_id = ?"
        )
    if what in ("gap", "sft", "dpo", "claim"):
        asked["answers"] = (
            "SELECT condition || item_id || items_sha256 || coalesce(correct::VARCHAR, '') || md5(answer) AS one "
            "FROM evaluation_answers "
            "WHERE run_id = ?"
        )
    found = {}
    for name, sql in asked.items():
        [row] = reader.query(
            f"SELECT count(*) AS n, sha256(coalesce(string_agg(one, chr(10) ORDER BY one), '')) AS hash FROM ({sql})",
            [run_id],
        )
        found[name] = [row["n"], row["hash"]]
    return found


def _lines(lines: Any) -> str:
    return "\n".join(lines) or "- none yet"
