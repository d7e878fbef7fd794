"""Data sets out of the store: written aside, forced to disk, renamed into place, with a card of their origin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from store import preferences
from store.card import card
from store.disk import volume, whole_folder
from store.errors import StoreError, StoreWriteFailed
from store.names import SPLITS, VERDICTS, Format, What
from store.preferences import REAL, TEXT, WHOLE, named
from store.query import Row
from store.read import Reader
from store.text import json_line

PROMPT_TEMPLATE = "Instruction: {instruction}\nResponse:"

_MARGINS = pa.list_(pa.struct([("critic", TEXT), ("margin_nats", REAL), ("score", REAL), ("audited", pa.bool_())]))
_PARTS = pa.list_(
    pa.struct(
        [*named(TEXT, "variant", "request_id"), ("labels", pa.list_(TEXT)), ("logprobs", pa.list_(REAL))],
    )
)
# The columns are the same whatever the rows hold: an empty list or an absent value must not change a column's type.
SCHEMAS: dict[str, Any] = {
    "sft": pa.schema(
        [
            *named(TEXT, "prompt", "completion", "instruction", "response", "split", "sample_id", "instruction_id"),
            *named(TEXT, "verdict", "basis"),
            ("margins", _MARGINS),
        ]
    ),
    "samples": pa.schema(
        [
            ("ordinal", WHOLE),
            *named(TEXT, "sample_id", "instruction_id", "instruction", "response", "raw", "split", "verdict", "basis"),
            ("flags", pa.list_(TEXT)),
            *named(TEXT, "reason", "stop_reason"),
            ("n_tokens", WHOLE),
            *named(TEXT, "request_id", "fingerprint"),
            ("seed", WHOLE),
            ("generation_prompt", TEXT),
            ("margins", _MARGINS),
        ]
    ),
    "judgements": pa.schema(
        [
            *named(TEXT, "subject_kind", "subject_id", "instruction", "response", "split", "critic"),
            *named(REAL, "margin_nats", "score"),
            ("audited", pa.bool_()),
            *named(TEXT, "verdict", "basis"),
            ("parts", _PARTS),
        ]
    ),
    "pairs": preferences.PAIRS,
    "revisions": preferences.REVISIONS,
}
FOR_TRAINING = ("sft", "pairs", "revisions")  # accepted rows, where nothing else is asked for

_SAMPLES = """
    SELECT s.ordinal, s.sample_id, s.instruction_id, i.text AS instruction, s.response, s.raw, i.split, v.verdict,
           v.basis, coalesce(v.flags, []) AS flags, v.reason, s.stop_reason, s.n_tokens, s.request_id, c.fingerprint,
           c.seed, c.prompt AS generation_prompt, coalesce(j.margins, []) AS margins
    FROM samples s
    JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id
    LEFT JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id
    LEFT JOIN completions c ON c.request_id = s.request_id
    LEFT JOIN (
        SELECT subject_id, list({critic: critic, margin_nats: margin_nats, score: score, audited: audited}
                                ORDER BY critic) AS margins
        FROM judgements WHERE run_id = $1 AND subject_kind = 'sample' GROUP BY subject_id
    ) j ON j.subject_id = s.sample_id
    WHERE s.run_id = $1 AND ($2 IS NULL OR list_contains($2::VARCHAR[], v.verdict))
    ORDER BY s.ordinal, s.sample_id
"""

_JUDGEMENTS = """
    SELECT j.subject_kind, j.subject_id, i.text AS instruction, s.response, i.split, j.critic, j.margin_nats, j.score,
           j.audited, v.verdict, v.basis, j.parts
    FROM judgements j
    LEFT JOIN samples s ON j.subject_kind = 'sample' AND s.run_id = j.run_id AND s.sample_id = j.subject_id
    LEFT JOIN instructions i ON i.run_id = j.run_id AND i.instruction_id = coalesce(s.instruction_id, j.subject_id)
    LEFT JOIN verdicts v
        ON v.run_id = j.run_id AND v.subject_kind = j.subject_kind AND v.subject_id = j.subject_id
    WHERE j.run_id = $1 AND ($2 IS NULL OR list_contains($2::VARCHAR[], v.verdict))
    ORDER BY j.subject_kind, i.ordinal, j.subject_id, j.critic
"""
_ROWS: dict[str, str] = {
    "sft": _SAMPLES,
    "samples": _SAMPLES,
    "judgements": _JUDGEMENTS,
    "pairs": preferences.PAIR_ROWS,
    "revisions": preferences.REVISION_ROWS,
}


def export(
    reader: Reader,
    run_id: str,
    what: What,
    fmt: Format,
    out: Path,
    *,
    verdicts: Sequence[str] | None = None,
) -> list[Path]:
    """Write a data set of one run into the folder `out`, with its card README.md, and return the files' paths.

    `what` is sft (prompt and completion kept apart), pairs (TRL's preference format), revisions, samples or judgements;
    `fmt` is jsonl or parquet (one file a split) or hf (a DatasetDict as `save_to_disk` writes it). Rows have one of
    `verdicts`; without it sft, pairs and revisions take what was accepted, the other two every row, also those without
    a verdict. The folder appears whole or not at all.

    Raises NotFound for an unknown run, StoreError when `out` holds something already, there is no row, or a pair is of
    an instruction outside the training split, and StoreWriteFailed when the folder cannot be written.
    """
    if what not in SCHEMAS or fmt not in _WRITERS:
        raise StoreError(f"no export of {what!r} as {fmt!r}", f"{', '.join(SCHEMAS)}; as jsonl, parquet or hf")
    chosen = ("accepted",) if verdicts is None and what in FOR_TRAINING else verdicts
    unknown = next((verdict for verdict in chosen or () if verdict not in VERDICTS), None)
    if unknown is not None:
        raise StoreError(f"no verdict {unknown!r}", f"one of {', '.join(VERDICTS)}")
    out = Path(out).expanduser().absolute()
    _require_free(out)
    run = reader.run(run_id)
    rows = _rows(reader, run, what, chosen)
    if not rows:
        raise StoreError(
            f"run {run['run_id']} has nothing to export: no {what} rows, verdict {' or '.join(chosen or ('any',))}",
            "Nothing was written. See how far it is with: cai status",
        )
    splits = _by_split(rows)
    tables = {split: pa.Table.from_pylist(group, schema=SCHEMAS[what]) for split, group in splits.items()}
    try:
        with whole_folder(out) as aside:
            _WRITERS[fmt](tables, aside)
            counts = {split: table.num_rows for split, table in tables.items()}
            text = card(reader, run, what, fmt, counts, chosen)
            (aside / "README.md").write_text(text, encoding="utf-8", newline="\n")
            _require_free(out)
    except OSError as error:
        raise StoreWriteFailed(
            f"the export to {out} failed: {error}",
            f"Nothing was left behind, and the store is intact. Check {volume(out)}, or choose another --out.",
        ) from error
    return sorted(path for path in out.rglob("*") if path.is_file())


def _rows(reader: Reader, run: Row, what: What, verdicts: Sequence[str] | None) -> list[Row]:
    """The rows with prompt and completions as training takes them, logprobs as numbers.

    Raises StoreError where a preference is of an instruction that is not in the training split.
    """
    rows = reader.query(_ROWS[what], [run["run_id"], None if verdicts is None else list(verdicts)])
    if what == "judgements":
        for row in rows:
            row["parts"] = [
                # An infinite logprob is text in the store's JSON; float() reads both.
                part | {"logprobs": [float(value) for value in part.get("logprobs") or []]}
                for part in json.loads(row["parts"])
            ]
    elif what != "samples":
        template = prompt_template(run["settings"])
        if what != "sft":
            preferences.require_training_split(rows, what)
        for row in rows:
            row["prompt"] = template.replace("{instruction}", row["instruction"])
            if what == "pairs":
                row |= {side: f" {row[side]}" for side in ("chosen", "rejected")}
            else:
                row["completion"] = f" {row['response']}"
    return rows


def prompt_template(settings: Any) -> str:
    """The prompt of training, from `responses.prompt_template` of the run's settings where it is given.

    Raises StoreError when it has no place for the instruction.
    """
    section = settings.get("responses") if isinstance(settings, dict) else None
    template = (section.get("prompt_template") if isinstance(section, dict) else None) or PROMPT_TEMPLATE
    if not isinstance(template, str) or "{instruction}" not in template:
        raise StoreError(
            "responses.prompt_template has no place for the instruction", "it must contain {instruction}, once"
        )
    return template


def _by_split(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each split that has any, train first; rows without a split never mix with a named one."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        row["split"] = row["split"] or "unassigned"
        groups.setdefault(row["split"], []).append(row)
    order = [*SPLITS, *sorted(set(groups) - set(SPLITS))]
    return {split: groups[split] for split in order if split in groups}


def _write_jsonl(tables: dict[str, Any], folder: Path) -> None:
    for split, table in tables.items():
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for row in table.to_pylist():
                file.write(json_line(row))


def _write_parquet(tables: dict[str, Any], folder: Path) -> None:
    for split, table in tables.items():
        pq.write_table(table, folder / f"{split}.parquet", compression="zstd")


def _write_hf(tables: dict[str, Any], folder: Path) -> None:
    try:
        import datasets
    except ImportError as error:
        raise StoreError(
            "the format hf needs the package datasets",
            "Install it with: pip install 'cai-control-center[local]', or choose jsonl or parquet.",
        ) from error
    quiet = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()  # nothing that a library prints may reach the terminal
    try:
        found = datasets.DatasetDict({split: datasets.Dataset(table) for split, table in tables.items()})
        found.save_to_disk(str(folder))
    finally:
        if quiet:
            datasets.enable_progress_bars()


_WRITERS = {"jsonl": _write_jsonl, "parquet": _write_parquet, "hf": _write_hf}


def _require_free(out: Path) -> None:
    try:
        taken = out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir())))
    except OSError as error:
        raise StoreError(f"{out} cannot be read: {error}", "Nothing was written; choose another --out.") from error
    if taken:
        raise StoreError(
            f"{out} is there already",
            "Nothing was written, so that no data set is overwritten. Move it away, or choose another --out.",
        )
