"""The data set card: where an export comes from, every figure of it a query over the store's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from store import preferences, progress
from store.audits import good_among_accepted
from store.headline import of_run
from store.inert.markdown import inline
from store.names import AUDITED, CROSS_VALIDATED, FRESH
from store.outcomes import FAILING, GAP, in_percent, items_of, tally, title_of
from store.query import Row
from store.read import Reader

_AUDIT_COLUMNS = (
    "critic", "of", "part", "good", "bad", "AUC", "95 % interval", "calibration error", "threshold",
    "good among accepted", "may filter",
)  # fmt: skip
_LONGEST = 20_000  # characters of one value: all warnings of a run, all its changed settings
_CONTENTS = {
    "sft": "Supervised fine-tuning examples: `prompt` and `completion` apart, so that the loss can leave the prompt "
    "out; the completion begins with the space that separates the two.",
    "samples": "Samples with raw and cleaned response, the exact prompt they were generated with, and their verdict.",
    "pairs": "Preference pairs in TRL's format with the prompt apart: `prompt`, `chosen`, `rejected`; both sides begin "
    "with the space that separates them from the prompt. `source`, `margin_nats` and the ids say where a pair comes "
    "from.",
    "revisions": "Revisions that were kept: `prompt` and `completion` as in SFT data, with the original response, the "
    "critique and the principle that led from one to the other.",
    "judgements": "Judgements: one row a critic and subject, with the label logprobs of every model call.",
}


def card(
    reader: Reader, run: Row, what: str, fmt: str, rows_by_split: Mapping[str, int], verdicts: Sequence[str] | None
) -> str:
    """The card as Markdown with YAML front matter, for an export of `rows_by_split` rows."""
    run_id = run["run_id"]
    licence = str(run["manifest"].get("model_license") or "unknown")
    front: dict[str, Any] = {
        "license": licence,
        "size_categories": [_size(sum(rows_by_split.values()))],
        "tags": ["constitutional-ai", "synthetic"],
    }
    if fmt != "hf":
        files = [{"split": split, "path": f"{split}.{fmt}"} for split in rows_by_split]
        front["configs"] = [{"config_name": "default", "data_files": files}]
    kept = "every verdict, and rows without one" if verdicts is None else " or ".join(verdicts)
    sections = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {_text(run['spec'])}, run {_text(run_id)}: {what}",
        _CONTENTS[what],
        "## Origin",
        _table(
            ("what", "value"),
            [
                ("run", run_id),
                ("created", run["created_at"].isoformat()),
                ("state of the run", f"{run['state']} {run['reason']}".strip()),
                ("spec", run["spec"]),
                ("SHA-256 of the spec", run["spec_sha256"]),
                ("settings changed from the spec", _overrides(run["overrides"])),
                *_stage(run),
                ("generating model", run["model"]),
                ("fingerprint of its weights", run["fingerprint"] or "not recorded"),
                ("licence of the generating model", licence),
                ("seed", run["seed"]),
                *_constitution(run),
                *_warnings(reader, run_id),
            ],
        ),
        "## Rows",
        f"Rows of verdict: {kept}.",
        _table(("split", "rows"), [*rows_by_split.items(), ("all", sum(rows_by_split.values()))]),
        "All samples of the run, by split and verdict:",
        _table(("split", "verdict", "basis", "samples"), _verdicts(reader, run_id)),
        *_preferences(reader, run),
        "## How samples were accepted",
        acceptance(reader, run),
        *filter(None, [_good_ones(reader, run)]),
        _audits(reader, run_id),
        "## Gates",
        _gates(reader, run_id),
        "## Repetition",
        _repetition(reader, run_id),
    ]
    return "\n\n".join(sections) + "\n"


def _stage(run: Row) -> list[tuple[str, object]]:
    """The stage's kind of instruction, and the stage that it builds on."""
    kind = (run["settings"].get("instructions") or {}).get("kind")
    told = (("kind of instruction", kind), ("parent stage", run["settings"].get("parent")))
    return [(name, value) for name, value in told if value]


def _warnings(reader: Reader, run_id: str) -> list[tuple[str, object]]:
    """What the run warned of, each once: who wrote its data instead of the parent's adapter, which critics failed."""
    rows = reader.query(
        "SELECT payload ->> 'text' AS said, min(\"at\") AS first FROM events WHERE run_id = ? AND kind = 'Noted' "
        "AND payload ->> 'level' = 'warning' GROUP BY 1 ORDER BY 2, 1",
        [run_id],
    )
    return [("warnings", "; ".join(row["said"] for row in rows))] if rows else []


def _constitution(run: Row) -> list[tuple[str, object]]:
    found = run["manifest"].get("constitution")
    if not found:
        return []
    return [
        ("constitution", f"version {found['version']}, {len(found['principles'])} principles"),
        ("SHA-256 of the constitution", found["sha256"]),
    ]


def _preferences(reader: Reader, run: Row) -> list[str]:
    """Sources, counts and margins of the run's pairs, and how many revisions of each principle were kept."""
    rows = preferences.describe(reader, run)
    if not rows:
        return []
    by_principle = reader.query(preferences.BY_PRINCIPLE, [run["run_id"]])
    found = ["## Preference pairs", _table(preferences.SOURCE_COLUMNS, rows)]
    if by_principle:
        told = [(row["principle_id"], row["drawn"], row["kept"]) for row in by_principle]
        found += ["Revisions by principle:", _table(("principle", "revisions", "kept"), told)]
    return found


def acceptance(reader: Reader, run: Row) -> str:
    """One paragraph: the headline, and what it means where rules alone accepted some."""
    told = of_run(reader, run)
    rules = progress.RunCounts(reader, run["run_id"]).accepted_by_basis().get("rules", 0)
    means = (
        f" {rules} accepted samples passed rules of form only. No audited critic took part in that, the margins in the "
        "rows are unaudited, and how many are good is not known."
    )
    return f"**{_text(told.told)}**." + (means if rules else "")


def _verdicts(reader: Reader, run_id: str) -> list[tuple[object, ...]]:
    rows = reader.query(
        """
        SELECT split, verdict, basis, count(*) AS n
        FROM (
            SELECT coalesce(i.split, 'unassigned') AS split, coalesce(v.verdict, 'none yet') AS verdict,
                   coalesce(v.basis, '') AS basis
            FROM samples s
            LEFT JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id
            LEFT JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id
            WHERE s.run_id = ?
        )
        GROUP BY split, verdict, basis
        ORDER BY list_position(['train', 'validation', 'test'], split) NULLS LAST, verdict, basis
        """,
        [run_id],
    )
    return [(row["split"], row["verdict"], row["basis"], row["n"]) for row in rows]


def _good_ones(reader: Reader, run: Row) -> str:
    """For each kind what an audit says of the share of good ones among the accepted; each of one audit alone."""
    told = []
    for one in good_among_accepted(reader, run):
        name = {"instruction": "instructions", "sample": "samples"}[one["kind"]]
        if one["critic"] is None:
            told.append(f"- Good among the accepted {name}: **not known**, rules alone accept.")
        elif one["part"] is None or not one["taken"]:
            told.append(f"- Good among the accepted {name}: **not known**, no audit tells it.")
        else:
            n, of = one["n"], f"{_text(one['critic'])}, 95 % interval {100 * one['lo']:.0f} to {100 * one['hi']:.0f} %"
            how = (
                f"{n} labels of fresh candidates, read blind"
                if one["part"] in FRESH
                else f"cross-validation, {n} labels"
            )
            told.append(
                f"- Good among the accepted {name}: {100 * one['precision']:.0f} % by {how} ({of}); {one['taken']} of "
                f"{n} candidates are taken."
            )
    return "\n".join(told)


def _audits(reader: Reader, run_id: str) -> str:
    """Labelled sets, fresh candidates and a person's labels apart: their figures are never compared as if alike."""
    rows = reader.audits(run_id)
    if not rows:
        return "No critic was audited."
    found = ["Audits of the critics; the threshold is the score that reaches the wanted precision."]
    for title, parts in (
        ("Cross-validated on labelled sets", CROSS_VALIDATED),
        ("On fresh candidates, read blind", FRESH),
        ("On a person's labels", {row["part"] for row in rows} - {*AUDITED}),
    ):
        if inside := [row for row in rows if row["part"] in parts]:
            found += [f"{title}:", _table(_AUDIT_COLUMNS, [_audit_cells(row) for row in inside])]
    return "\n\n".join(found)


def _audit_cells(row: Row) -> tuple[object, ...]:
    detail = row["detail"]
    accepted = detail.get("accepted") or {}
    good = "none" if accepted.get("precision") is None or not accepted["natural"] else f"{accepted['precision']:.2f}"
    return (
        *(row[name] for name in ("critic", "subject_kind", "part", "n_good", "n_bad")),
        *("no scale" if "no_scale" in detail else _figure(row["auc"]), _interval(row["auc_lo"], row["auc_hi"])),
        *(_figure(detail.get("calibration_error")), _figure(row["threshold"])),
        *(good, "yes" if row["may_filter"] else "no"),
    )


def _gates(reader: Reader, run_id: str) -> str:
    gates = progress.gates(reader, run_id)
    if not gates:
        return "**No gate was decided**: this data is not fit for training."
    lines = []
    for gate in gates:
        failed = [
            f"{check['check_name']}, {check['result']}" for check in gate["evidence"] if check["result"] in FAILING
        ]
        outcome = gate["result"] if gate["passed"] else f"**{gate['result']}**"
        told = f"{outcome}, {tally(gate['evidence'])}" + (f": {'; '.join(map(_text, failed))}" if failed else "")
        lines.append(f"- {_text(gate['name'])}: {told}")
    if not all(gate["passed"] for gate in gates):
        lines.append("\nA gate has not passed: this data is not fit for training.")
    checks = [_check_cells({**check, "gate": gate["name"]}) for gate in gates for check in gate["evidence"]]
    header = ("gate", "check", "measured", "95 % interval", "n", "threshold", "result")
    return "\n".join(lines) + "\n\n" + _table(header, checks)


def _check_cells(check: Row) -> tuple[object, ...]:
    """A check as a row; of the gap gate in per cent, with the split of its items."""
    needs = f"{check['op']} {_figure(check['threshold'])}"
    figures = _figure(check["measured"]), _interval(check["lo"], check["hi"]), needs
    measured, interval, needs = in_percent(check) or figures
    name = title_of(check) if check["gate"] == GAP else check["check_name"]
    n = items_of(check["split"], check["n"]) if check["gate"] == GAP else check["n"]
    return check["gate"], name, measured, interval or "none", n, needs, _result(check)


def _result(check: Row) -> str:
    return f"{check['result']}: {check['untested']}" if check["untested"] else str(check["result"])


def _repetition(reader: Reader, run_id: str) -> str:
    found = progress.repeated(reader, run_id)
    if found is None:
        return "No part of this run was computed again."
    same = found["texts"] - found["texts_differing"]
    return (
        f"Computed again one at a time: {same:.0f} of {found['texts']:.0f} texts were the same, token for token; "
        f"{found['scores']:.0f} label scores differed by {found['largest_difference_nats']:.1e} nats at most."
    )


def _overrides(overrides: Any) -> str:
    if not overrides:
        return "none"
    return "; ".join(
        f"{key}: {' -> '.join(map(str, change)) if isinstance(change, list) else change}"
        for key, change in sorted(overrides.items())
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [[_text(cell) for cell in line] for line in (header, *rows)]
    lines.insert(1, ["---"] * len(header))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: object) -> str:
    """A value as one line of Markdown in which nothing is markup, whoever wrote it."""
    return inline(str(value), _LONGEST)


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _interval(lo: float | None, hi: float | None) -> str:
    return "none" if lo is None or hi is None else f"{lo:.4g} to {hi:.4g}"


def _size(n: int) -> str:
    """The size class as data set hubs name it."""
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if n < limit:
            return name
    return "n>1M"
