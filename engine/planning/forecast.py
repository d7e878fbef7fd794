"""What the rest will take, from what a run measured: seconds of each phase, laid on the candidates that they went to.

A phase's seconds (metric `elapsed_s`; those of phases side by side are parts of one time) are divided among the
instructions that it worked on: evenly where an instruction costs as much as any other, by tokens written where texts
differ in length, by pairs where pairs are compared. So each candidate has its own cost, its own outcome and its own
pairs, and all figures are ratios of sums over candidates. Their intervals are percentiles of a bootstrap over
candidates in which numerator and denominator are drawn together: rates and costs are carried through as they hang
together. They say what the pilot left unknown about the mean, not how the rest will scatter around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.core.figures import NO_GPU_PRICE
from store.read import Reader

DRAWS = 2000
GROUPS = 500  # more candidates than that are put together by chance into so many groups, which are then drawn
METHOD = f"ratio of sums, percentile bootstrap over candidates, {DRAWS} draws"
SAMPLE_PHASES = ("instructions", "instruction_judgements", "responses", "response_judgements")
PAIR_PHASES = ("revisions", "candidates", "pairs")

Floats = NDArray[np.float64]
Figure = dict[str, Any]

# One row for each instruction that was judged, with what was made of it.
_CANDIDATES = """
    SELECT i.instruction_id, 1 AS instructions, 1 AS instruction_judgements,
           coalesce(s.n_tokens, 0) AS responses, (s.sample_id IS NOT NULL AND sv.verdict IS NOT NULL)::INTEGER
               AS response_judgements,
           (iv.verdict = 'rejected' OR s.sample_id IS NULL OR sv.verdict IS NOT NULL) AS finished,
           coalesce(sv.verdict = 'accepted', false) AS accepted,
           coalesce(sv.verdict = 'accepted' AND i.split = 'train', false) AS eligible,
           coalesce(r.tokens, 0) AS revisions, coalesce(r.n, 0) AS n_revisions,
           coalesce(c.tokens, 0) AS candidates, coalesce(c.n, 0) AS n_candidates,
           coalesce(p.n, 0) AS pairs, coalesce(p.kept, 0) AS kept
    FROM instructions i
    JOIN verdicts iv ON iv.run_id = $1 AND iv.subject_kind = 'instruction' AND iv.subject_id = i.instruction_id
    LEFT JOIN samples s ON s.run_id = $1 AND s.instruction_id = i.instruction_id
    LEFT JOIN verdicts sv ON sv.run_id = $1 AND sv.subject_kind = 'sample' AND sv.subject_id = s.sample_id
    LEFT JOIN (SELECT instruction_id, sum(n_critique_tokens + n_tokens) AS tokens, count(*) AS n FROM revisions
               WHERE run_id = $1 GROUP BY 1) r ON r.instruction_id = i.instruction_id
    LEFT JOIN (SELECT instruction_id, sum(n_tokens) FILTER (request_id IS NOT NULL) AS tokens, count(*) AS n
               FROM candidates WHERE run_id = $1 GROUP BY 1) c ON c.instruction_id = i.instruction_id
    LEFT JOIN (SELECT p.instruction_id, count(*) AS n, count(*) FILTER (v.verdict = 'accepted') AS kept FROM pairs p
               LEFT JOIN verdicts v ON v.run_id = $1 AND v.subject_kind = 'pair' AND v.subject_id = p.pair_id
               WHERE p.run_id = $1 GROUP BY 1) p ON p.instruction_id = i.instruction_id
    WHERE i.run_id = $1 AND i.status = 'distinct'
    ORDER BY i.ordinal
"""
# What prompts that are shipped with the program took of the same phases: it comes once, whatever the target.
_SHIPPED = """
    SELECT (SELECT coalesce(sum(c.n_tokens), 0) FROM candidates c JOIN instructions i USING (run_id, instruction_id)
            WHERE c.run_id = $1 AND i.status = 'shipped' AND c.request_id IS NOT NULL) AS candidates,
           (SELECT count(*) FROM pairs p JOIN instructions i USING (run_id, instruction_id)
            WHERE p.run_id = $1 AND i.status = 'shipped') AS pairs
"""


def measured(value: float, lo: float | None, hi: float | None, n: int, unit: str, method: str) -> Figure:
    """A figure with its interval, its n, its unit and how it was found.

    An infinite bound is None, and `method` says why: in some resamples there is nothing to divide by.
    """
    low, high = (None if bound is None or not np.isfinite(bound) else float(bound) for bound in (lo, hi))
    if hi is not None and high is None:
        method += "; no upper bound, for in some resamples nothing was accepted or kept"
    return {"value": float(value), "lo": low, "hi": high, "n": n, "unit": unit, "method": method, "reason": None}


def unknown(reason: str, unit: str) -> Figure:
    """A figure that was not measured, and why."""
    return {"value": None, "lo": None, "hi": None, "n": 0, "unit": unit, "method": None, "reason": reason}


def in_usd(seconds: Figure, price_per_hour: float | None) -> Figure:
    """A figure in seconds as one in US dollars."""
    if seconds["value"] is None:
        return unknown(seconds["reason"], "usd")
    if price_per_hour is None:
        return unknown(NO_GPU_PRICE, "usd")
    rate = price_per_hour / 3600
    scaled = {name: None if seconds[name] is None else seconds[name] * rate for name in ("value", "lo", "hi")}
    return seconds | scaled | {"unit": "usd"}


def fits_budget(usd: Figure, left: float | None) -> bool | None:
    """Whether a sum of parts in US dollars fits what is left of the budget; None where neither is sure."""
    if left is None or usd["value"] is None:
        return None
    if (usd["value"] if usd["lo"] is None else usd["lo"]) > left:
        return False
    return True if usd["hi"] is not None and usd["hi"] <= left and not usd["missing"] else None


@dataclass(frozen=True)
class Pilot:
    """What a run measured: columns over its judged instructions, and sums of them in resamples.

    `drawn` is of shape (DRAWS, columns) and `sums` of shape (columns,); `column` names them.
    """

    n: int
    accepted: int
    elapsed: Mapping[str, tuple[float, int]]  # seconds and times, by phase
    once: Mapping[str, float]  # seconds that no candidate has a part in
    column: Mapping[str, int]
    sums: Floats
    drawn: Floats
    seconds_of: Mapping[str, Floats]  # of each candidate that a phase worked on

    def ratio(self, over: str, under: str) -> tuple[float, Floats] | None:
        """A ratio of two columns' sums and its draws; None where the lower is zero."""
        a, b = self.column[over], self.column[under]
        if not self.sums[b]:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.where(self.drawn[:, b] > 0, self.drawn[:, a] / self.drawn[:, b], np.inf)
        return float(self.sums[a] / self.sums[b]), drawn


def pilot_of(reader: Reader, run_id: str) -> Pilot:
    """Measure a run. Candidates that are under way count for the phases they went through, and for no rate."""
    rows = reader.query(_CANDIDATES, [run_id])
    shipped = reader.query(_SHIPPED, [run_id])[0]
    elapsed = {
        row["phase"]: (float(row["seconds"]), int(row["n"]))
        for row in reader.query(
            "SELECT phase, sum(value) AS seconds, count(*) AS n FROM metrics WHERE run_id = ? AND name = 'elapsed_s' "
            "GROUP BY 1 ORDER BY 1",
            [run_id],
        )
    }
    table: dict[str, Floats] = {
        name: np.array([float(row[name]) for row in rows])
        for name in ("finished", "accepted", "eligible", "pairs", "kept", "n_revisions", "n_candidates")
    }
    once = {name: seconds for name, (seconds, _) in elapsed.items() if name not in (*SAMPLE_PHASES, *PAIR_PHASES)}
    seconds_of: dict[str, Floats] = {}
    for name in (*SAMPLE_PHASES, *PAIR_PHASES):
        weights = np.array([float(row[name]) for row in rows])
        if name == "candidates" and not weights.any():  # no model was asked: each costs the same next to nothing
            weights = table["n_candidates"].copy()
        apart = float(shipped.get(name, 0))
        whole = float(weights.sum()) + apart
        seconds = elapsed.get(name, (0.0, 0))[0]
        cost = weights * (seconds / whole) if whole else np.zeros(len(rows))
        once[name] = seconds * apart / whole if whole else 0.0
        table[f"s_{name}"] = cost
        seconds_of[name] = cost[weights > 0]
    finished = table["finished"] > 0
    table["s_sample"] = sum((table[f"s_{name}"] for name in SAMPLE_PHASES), np.zeros(len(rows))) * finished
    table["accepted"] *= finished
    table["eligible"] *= finished
    table["paired"] = table["eligible"] * (table["pairs"] > 0)  # went all the way to pairs
    for name, over in (("revisions", "n_revisions"), ("candidates", "n_candidates"), ("pairs", "pairs")):
        table[f"went_{name}"] = (table[over] > 0).astype(np.float64)
    table["s_pair"] = sum((table[f"s_{name}"] for name in PAIR_PHASES), np.zeros(len(rows))) * table["paired"]
    table["responses"] = np.array([float(row["responses"]) for row in rows]) * finished  # tokens
    table["kept_of_paired"] = table["kept"] * table["paired"]
    names = list(table)
    columns = np.stack([table[name] for name in names], axis=1) if rows else np.zeros((0, len(names)))
    return Pilot(
        int(finished.sum()), int(table["accepted"].sum()), elapsed, once, {name: at for at, name in enumerate(names)},
        columns.sum(axis=0), _resampled(columns), seconds_of,
    )  # fmt: skip


def _resampled(columns: Floats) -> Floats:
    """Sums of the columns over as many rows drawn with replacement, with a fixed seed, of shape (DRAWS, columns)."""
    n = len(columns)
    if not n:
        return np.zeros((DRAWS, columns.shape[1]))
    rng = np.random.default_rng(0)
    if n > GROUPS:
        group = rng.permutation(np.arange(n) % GROUPS)
        columns = np.stack([np.bincount(group, weights=column, minlength=GROUPS) for column in columns.T], axis=1)
        n = GROUPS
    return np.asarray(rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) @ columns, dtype=np.float64)


def interval(drawn: Floats) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile; infinite ones stay infinite."""
    low, high = np.quantile(drawn, [0.025, 0.975], method="closest_observation")
    return float(low), float(high)


@dataclass(frozen=True)
class Part:
    """Seconds of one part of what is left: the estimate, its draws, the n behind it, or why it is not known."""

    name: str
    seconds: float | None
    drawn: Floats | None  # None: without an interval
    n: int
    method: str
    reason: str | None = None

    def figure(self) -> Figure:
        if self.seconds is None:
            return unknown(self.reason or "not measured", "seconds")
        lo, hi = (None, None) if self.drawn is None else interval(self.drawn)
        return measured(self.seconds, lo, hi, self.n, "seconds", self.method)


def together(parts: list[Part]) -> Figure:
    """The sum of the parts that are known; `missing` gives the others' reasons. A part without an interval is fixed."""
    missing = {part.name: part.reason or "not measured" for part in parts if part.seconds is None}
    known = [part for part in parts if part.seconds is not None]
    if not known:
        reason = "; ".join(dict.fromkeys(missing.values())) or "nothing is left"
        return unknown(reason, "seconds") | {"missing": missing}
    total = sum(part.seconds or 0.0 for part in known)
    spread = [(part.seconds, part.drawn) for part in known if part.seconds is not None and part.drawn is not None]
    fixed = [part.name for part in known if part.drawn is None and part.seconds]
    method = "sum of the parts, draw by draw" + (f"; taken as fixed: {', '.join(fixed)}" if fixed else "")
    lo = hi = None
    if spread or not fixed:
        drawn = np.full(DRAWS, total - sum(seconds for seconds, _ in spread))
        lo, hi = interval(sum((of_part for _, of_part in spread), drawn))
    n = min((part.n for part in known if part.seconds and (part.drawn is not None or not spread)), default=0)
    return measured(total, lo, hi, n, "seconds", method) | {"missing": missing}


def mean_of(values: Floats) -> tuple[float, Floats | None]:
    """A mean and its bootstrap draws, None below two values; many values are first put into groups by chance."""
    if len(values) < 2:
        return float(values.mean()), None
    ones = np.ones(len(values))
    drawn = _resampled(np.stack([values, ones], axis=1))
    return float(values.mean()), drawn[:, 0] / drawn[:, 1]
