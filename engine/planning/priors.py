"""What is assumed of work that was not measured yet: each figure with its source, and what the store measured instead.

A prior is a point, without an interval, because nothing was seen. What the store measured on the same model and kind of
device takes its place, phase by phase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.budget.gpus import CPU, KINDS, kind_of
from engine.core.errors import SpecError
from engine.spec.sections import CriticsSpec
from store.names import ELSEWHERE
from store.read import Reader

BENCHMARKS, ASSUMED = "docs/BENCHMARKS.md", "assumed"
WRITE, READ, LEARN, LEARN_PAIRS, ALONE = "write", "read", "learn", "learn_pairs", "alone"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prior:
    """A figure that stands in until it is measured."""

    name: str
    value: float
    unit: str
    source: str

    def row(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"name": self.name, "value": self.value, "unit": self.unit, "source": self.source}


LINE = Prior("line", 24, "tokens of an instruction", ASSUMED)
RESPONSE = Prior("response", 60, "tokens of a response", ASSUMED)
OWN = Prior("own", 37, "tokens of a judged text behind the rubric", f"{BENCHMARKS}, Critics")
LISTED = Prior("listed", 152, "tokens of the ten seeds that a list goes on from", BENCHMARKS)
CRITIQUED = Prior("critiqued", 43, "tokens of a critique's prompt around its instruction and response", BENCHMARKS)
REVISED = Prior("revised", 71, "tokens of a revision's prompt around these and its critique", BENCHMARKS)
ITEM = Prior("item", 40, "tokens of a held-out item with its turns", BENCHMARKS)
FITS = Prior("fits", 300, "seconds of eight cores to fit the probes of a model of 32B", BENCHMARKS)
HALF = Prior("half", 0.5, "of a limit that critiques and answers reach", ASSUMED)
KEPT = Prior("kept_pairs", 1, "kept pair for each accepted training example", ASSUMED)
START = Prior("start", 120, "seconds to start a process with its model", ASSUMED)
WRITING = Prior("writing", 0.25, "of the peak while texts are written", ASSUMED)
READING = Prior("reading", 0.45, "of the peak while texts are judged", ASSUMED)
LEARNING = Prior("learning", 0.35, "of the peak while an adapter learns", ASSUMED)
BANDWIDTH = Prior("bandwidth", 0.6, "of the memory bandwidth with one text at a time", ASSUMED)
WRITTEN_MOST = Prior("written_most", 10_000, "tokens/s written at the most, however small the model", ASSUMED)
CPU_WRITE = Prior("cpu_write", 90, "tokens/s written by 270M weights on two CPU cores", f"{BENCHMARKS}, Generation")
CPU_READ = Prior("cpu_read", 529, "tokens/s judged by the same: 14.3 texts of 37", f"{BENCHMARKS}, Critics")
PRIORS = (
    LINE, RESPONSE, OWN, LISTED, CRITIQUED, REVISED, ITEM, FITS, HALF, KEPT, START, WRITING, READING, LEARNING,
    BANDWIDTH, WRITTEN_MOST, CPU_WRITE, CPU_READ,
)  # fmt: skip

# FLOPs for each weight and token. Weights under an adapter are frozen: forward, gradients of activations, and the
# forward again for what was not kept; of pairs the reference's forward besides.
FLOPS = {WRITE: 2, READ: 2, LEARN: 6, LEARN_PAIRS: 8}
_SHARES = {WRITE: WRITING, READ: READING, LEARN: LEARNING, LEARN_PAIRS: LEARNING}
_CPU_WEIGHTS = 0.27e9
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", re.IGNORECASE)
_EXPERTS = re.compile(r"\d+x\d+(?:\.\d+)?\s*[bm](?![a-z])", re.IGNORECASE)  # 8x7B: how much they share it doesn't say


def parameters_of(model: str) -> float:
    """How many weights a model has, by its name: Qwen2.5-32B has 32e9, Qwen3-30B-A3B 30e9, of which 3e9 are active.

    Raises SpecError where the name has no size, or that of an expert alone as Mixtral-8x7B.
    """
    name = model.rstrip("/").rpartition("/")[2]
    if not _SIZE.search(name):
        name = model  # a folder may say it
    found = [float(number) * {"b": 1e9, "m": 1e6}[unit.lower()] for number, unit in _SIZE.findall(name)]
    if not any(found) or _EXPERTS.search(name):
        raise SpecError(
            f"the name {model!r} does not say how many weights the model has",
            "Name it with --parameters, such as --parameters 32B. Nothing was started.",
        )
    return max(found)


def speeds(parameters: float, kind: str) -> dict[str, float]:
    """Tokens a second of a model on a kind of device, for each way to spend them: all of it priors."""
    if kind == CPU:
        smaller = _CPU_WEIGHTS / parameters
        read, write = CPU_READ.value * smaller, CPU_WRITE.value * smaller
        learning = {way: read * FLOPS[READ] / FLOPS[way] for way in (LEARN, LEARN_PAIRS)}
        return {WRITE: write, READ: read, ALONE: write, **learning}
    gpu = KINDS[kind]
    found = {way: _SHARES[way].value * gpu.tflops * 1e12 / (flops * parameters) for way, flops in FLOPS.items()}
    found[WRITE] = min(found[WRITE], WRITTEN_MOST.value)
    return found | {ALONE: BANDWIDTH.value * gpu.tb_per_s * 1e12 / (2 * parameters)}  # each token reads all weights


def fits(parameters: float, kind: str) -> str:
    """Why a model can't be used on a device of a kind, "" where it can: bfloat16 weights, and a tenth for the rest."""
    needed, has = 2 * parameters * 1.1 / 1e9, KINDS[kind].memory_gb if kind != CPU else None
    if has is None:
        return "" if parameters < 2e9 else "a model of that size takes weeks on a CPU"
    return "" if needed <= has else f"its weights need {needed:,.0f} GB, it has {has:g}"


def asked_alone(name: str, shuffles: int) -> int:
    """How many texts a critic has scored to judge one instruction or one response.

    A rubric is read in each order of its examples, letters with A as good and with B as good, pointwise mutual
    information reads the response under two beginnings, a probe and an adapter read it once, a mean of others never.
    """
    each = {"mean": 0, "ended": 0, "probe": 1, "adapter": 1, "pmi": 2, "letters": 2 * shuffles}
    return each.get(name, shuffles)


def scores_of(critics: CriticsSpec, kind: str) -> int:
    """How many texts are scored to judge one thing of a kind.

    Two responses are compared in both places, or each is judged.
    """
    asked = sum(asked_alone(name, critics.shuffles) for name in getattr(critics, kind))
    return 2 * asked if kind == "pair" else asked


@dataclass(frozen=True, slots=True)
class Rate:
    """Device-seconds of one unit of a part, over `n` units of the runs named."""

    seconds: float
    n: int
    runs: tuple[str, ...]


@dataclass(frozen=True)
class MeasuredWork:
    """What a store measured on one model and one kind of device; nothing without a store."""

    rates: Mapping[str, Rate]
    yields: Mapping[int, tuple[int, int, int]]  # by stage: instructions judged, samples judged, samples accepted


NOTHING_MEASURED = MeasuredWork({}, {})

_UNITS = """
    SELECT 'instructions' AS part, count(*) AS n FROM instructions WHERE run_id = $1 AND status = 'distinct'
    UNION ALL SELECT 'instruction_judgements', count(*) FROM verdicts
        WHERE run_id = $1 AND subject_kind = 'instruction'
    UNION ALL SELECT 'responses', count(*) FROM samples WHERE run_id = $1
    UNION ALL SELECT 'response_judgements', count(*) FROM verdicts WHERE run_id = $1 AND subject_kind = 'sample'
    UNION ALL SELECT 'accepted', count(*) FROM verdicts
        WHERE run_id = $1 AND subject_kind = 'sample' AND verdict = 'accepted'
    UNION ALL SELECT 'revisions', count(*) FROM revisions WHERE run_id = $1
    UNION ALL SELECT 'candidates', count(*) FROM candidates WHERE run_id = $1 AND request_id IS NOT NULL
    UNION ALL SELECT 'pairs', count(*) FROM pairs WHERE run_id = $1
    UNION ALL SELECT 'audit', 1
"""
# Answers that were computed for a run and not found: of a model call that another run had paid for no time was taken.
_ANSWERED = """
    SELECT condition, sum(n - 1)::BIGINT AS n, sum(seconds) AS seconds FROM (
        SELECT a.condition, count(*) AS n, epoch(max(c.created_at) - min(c.created_at)) AS seconds
        FROM {asked} a JOIN {calls} c USING (request_id) JOIN sessions s ON s.session_id = c.session_id
        WHERE a.run_id = $1 AND s.run_id = $1 AND a.condition != 'reference' GROUP BY a.condition, c.session_id)
    GROUP BY 1 HAVING sum(n - 1) > 0 ORDER BY 1
"""
# An example that an optimiser's step learns from, each time that it does.
_LEARNED = """
    SELECT CASE WHEN (t.settings->'$.dpo') IS NULL THEN 'sft' ELSE 'dpo' END AS part, sum(s.seconds) AS seconds,
           sum(coalesce(t.settings->>'$.sft.effective_batch', t.settings->>'$.dpo.effective_batch')::INTEGER)::BIGINT
               AS n
    FROM training_steps s JOIN trainings t USING (run_id, training_id) WHERE s.run_id = $1 GROUP BY 1 ORDER BY 1
"""


def measured_work(reader: Reader, model: str) -> dict[str, MeasuredWork]:
    """Seconds of each part on a model by kind of device, over all runs of a store, and what its stages yielded."""
    sums: dict[str, dict[str, tuple[float, int, list[str]]]] = {kind: {} for kind in (*KINDS, CPU)}
    yields: dict[int, tuple[int, int, int]] = {}
    for run in reversed(reader.runs()):  # of two runs of a stage the newer one counts
        if run["model"] != model:
            continue
        units = {row["part"]: int(row["n"]) for row in reader.query(_UNITS, [run["run_id"]])}
        if units["response_judgements"]:
            counted = units["instruction_judgements"], units["response_judgements"], units["accepted"]
            yields[int(run["settings"]["stage"])] = counted
        kind, devices = device_of(reader, run)
        if kind is None or run["manifest"].get(ELSEWHERE):
            continue
        for part, n, seconds in _timed(reader, run["run_id"], units):
            before = sums[kind].get(part, (0.0, 0, []))
            sums[kind][part] = (before[0] + seconds * devices, before[1] + n, [*before[2], run["run_id"]])
    return {
        kind: MeasuredWork({part: Rate(s / n, n, tuple(runs)) for part, (s, n, runs) in of_kind.items()}, yields)
        for kind, of_kind in sums.items()
    }


def answered(reader: Reader, run_id: str, asked: str = "evaluation_answers", calls: str = "completions") -> list[Row]:
    """What each condition of a run took where a session of the run computed it: {condition, n, seconds}.

    Time runs from the first answer of a session to its last, so the first is not in `n`. `asked` and `calls` may be
    evaluation_logprobs and scores.
    """
    return reader.query(_ANSWERED.format(asked=asked, calls=calls), [run_id])


def device_of(reader: Reader, run: Mapping[str, Any]) -> tuple[str | None, int]:
    """The kind that a run was made on: as its backend says, else as a training process saw it."""
    told = [str((run["manifest"].get("model") or {}).get("device") or "")]
    told += [row["device"] for row in reader.query("SELECT device FROM trainings WHERE run_id = ?", [run["run_id"]])]
    return next((found for found in map(kind_of, told) if found[0] is not None), (None, 1))


def _timed(reader: Reader, run_id: str, units: Mapping[str, int]) -> Iterator[tuple[str, int, float]]:
    spent = reader.query(
        "SELECT phase, sum(value) AS seconds FROM metrics WHERE run_id = ? AND name = 'elapsed_s' "
        "GROUP BY 1 ORDER BY 1",
        [run_id],
    )
    yield from ((row["phase"], units[row["phase"]], row["seconds"]) for row in spent if units.get(row["phase"]))
    answers = answered(reader, run_id)
    whole = {"part": "evaluation"} | {name: sum(row[name] for row in answers) for name in ("n", "seconds")}
    for row in (whole, *reader.query(_LEARNED, [run_id])):
        if row["n"] and row["seconds"]:
            yield row["part"], row["n"], row["seconds"]
