"""How far a run is, rebuilt from its rows: the same answer after a crash as on the screen before it."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from store.audits import good_among_accepted
from store.headline import headline, of_samples, plain, plain_readings, readings_of
from store.names import ALIVE, BESIDE, PHASES, PREFERENCE_PHASES, STOOD_IN, VERDICTS
from store.outcomes import PASSED, gate_result, with_result
from store.preferences import sources
from store.query import Query
from store.text import json_ready

# All that is counted of a run, by what grows while one works and by what seldom does, so that those who ask again while
# a run works are answered the second from memory. As rows, because DuckDB takes ten times as long to plan as many
# subqueries in one line.
_GROWING = """
    SELECT 'instructions' AS what, status AS kind, NULL AS verdict, NULL AS basis, count(*) AS n
    FROM instructions WHERE run_id = $1 AND status != 'shipped' GROUP BY ALL
    UNION ALL SELECT 'verdicts', subject_kind, verdict, basis, count(*) FROM verdicts WHERE run_id = $1 GROUP BY ALL
    UNION ALL SELECT 'samples', NULL, NULL, NULL, count(*) FROM samples WHERE run_id = $1
"""
_OTHERS = """
    SELECT 'guard' AS what, count(*) AS n FROM guard_checks WHERE run_id = $1
    UNION ALL SELECT 'audit', count(*) FROM audits WHERE run_id = $1
    UNION ALL SELECT 'revisions', count(*) FROM revisions WHERE run_id = $1
    UNION ALL SELECT 'candidates', count(*) FROM candidates WHERE run_id = $1
    UNION ALL SELECT 'pairs', count(*) FROM pairs WHERE run_id = $1
    UNION ALL SELECT CASE WHEN gate LIKE '% pairs' THEN 'pair_gate' ELSE 'gate' END, count(*)
              FROM gates WHERE run_id = $1 AND (gate IN ('pilot', 'final') OR gate LIKE '% pairs') GROUP BY 1
"""
_SUBJECT_OF = {"instruction_judgements": "instruction", "response_judgements": "sample", "revisions": "revision"}


# The rows of `metrics` that one minute left behind have the same time: together they are one measurement.
_GPU_KEPT = """
    SELECT phase, "at", max(value) FILTER (name = 'gpu_measured_s') AS s,
           max(value) FILTER (name = 'gpu_busy_percent') AS busy_percent,
           max(value) FILTER (name = 'gpu_least_busy_percent') AS least_busy_percent,
           max(value) FILTER (name = 'gpu_memory_gib') AS memory_gib,
           max(value) FILTER (name = 'gpu_power_w') AS power_w
    FROM metrics WHERE run_id = $1 AND starts_with(name, 'gpu_') GROUP BY phase, session_id, "at"
"""
GPU_BY_PHASE = f"""
    SELECT phase, sum(s) AS measured_s, sum(s * (1 - busy_percent / 100)) AS idle_s,
           sum(s * busy_percent) / sum(s) AS busy_percent
    FROM ({_GPU_KEPT}) GROUP BY phase ORDER BY idle_s DESC, phase
"""
_GPU_LAST = f"""
    SELECT "at", sum(s * busy_percent) / sum(s) AS busy_percent, min(least_busy_percent) AS least_busy_percent,
           sum(s * memory_gib) / sum(s) AS memory_gib, sum(s * power_w) / sum(s) AS power_w
    FROM ({_GPU_KEPT}) GROUP BY "at" ORDER BY "at" DESC LIMIT 1
"""

# The gates' checks, guard first, then pilot, then final.
CHECKS = """
    SELECT * FROM gates WHERE run_id = ?
    ORDER BY list_position(['guard', 'pilot', 'pilot pairs', 'final', 'final pairs'], gate) NULLS LAST, gate, check_name
"""


def with_live_state(row: dict[str, Any], sessions: Mapping[str, Mapping[str, Any]], owner: int) -> dict[str, Any]:
    """The run's row, its state "stopped" where its process is gone without having said so.

    The file has one writer at a time: where the process that has it, `owner`, is not that of the run's latest session,
    a run that says "running" has the words of a process that was killed. A run without a session keeps its word.
    """
    session = sessions.get(row["run_id"])
    if session is not None:
        _stop_if_gone(row, session, owner, "without closing the run")
    return row


def _stop_if_gone(row: dict[str, Any], session: Mapping[str, Any], owner: int, how: str) -> None:
    if row["state"] in ALIVE and (session["pid"], session["host"]) != (owner, socket.gethostname()):
        row["state"] = "stopped"
        row["reason"] = f"process {session['pid']} on {session['host']} ended {how}"


def trainings(reader: Query, run_id: str) -> list[dict[str, Any]]:
    """The trainings of a run, oldest first, `settings` and `facts` parsed, `first_batch` only as whether it is there.

    The state is "stopped" where the process that trained is gone without having said so.
    """
    rows = reader.query(
        "SELECT t.* EXCLUDE (first_batch), t.first_batch IS NOT NULL AS has_first_batch, s.pid, s.host "
        "FROM trainings t LEFT JOIN sessions s ON s.session_id = t.session_id "
        "WHERE t.run_id = ? ORDER BY t.started_at, t.training_id",
        [run_id],
    )
    for row in rows:
        session = {name: row.pop(name) for name in ("pid", "host")}
        if session["pid"] is not None:
            _stop_if_gone(row, session, reader.owner, "in the middle of training")
        for name in ("settings", "facts"):
            row[name] = json.loads(row[name]) if row[name] else {}
    return rows


class RunCounts:
    """All that is counted of a run: instructions by `statuses`, `samples`, and `others` by what they are."""

    def __init__(self, reader: Query, run_id: str) -> None:
        growing = reader.query(_GROWING, [run_id])
        self.statuses = _summed((str(row["kind"]), row["n"]) for row in growing if row["what"] == "instructions")
        self.samples = sum(int(row["n"]) for row in growing if row["what"] == "samples")
        self.others = {row["what"]: int(row["n"]) for row in reader.query(_OTHERS, [run_id])}
        self._verdicts = [row for row in growing if row["what"] == "verdicts"]

    def verdicts(self, kind: str) -> dict[str, int]:
        """How many subjects of a kind have each verdict."""
        return _summed((str(row["verdict"]), row["n"]) for row in self._verdicts if row["kind"] == kind)

    def accepted_by_basis(self) -> dict[str, int]:
        """How many accepted samples a critic decided on, and how many the rules alone."""
        of = (row for row in self._verdicts if row["kind"] == "sample" and row["verdict"] == "accepted")
        return _summed((str(row["basis"]), row["n"]) for row in of)

    def done(self, phase: str) -> int:
        """What a phase has done where no event tells: the rows that it leaves behind."""
        if phase in _SUBJECT_OF:
            return sum(self.verdicts(_SUBJECT_OF[phase]).values())
        if phase == "responses":
            return self.samples
        return self.statuses.get("distinct", 0) if phase == "instructions" else self.others.get(phase, 0)


def _summed(counted: Iterable[tuple[str, int]]) -> dict[str, int]:
    """By name, in the order of names."""
    found: Counter[str] = Counter()
    for name, n in counted:
        found[name] += int(n)
    return dict(sorted(found.items()))


def phases(reader: Query, run: Mapping[str, Any], counted: RunCounts | None = None) -> list[dict[str, Any]]:
    """The phases in order, each {name, state, done, planned, accepted}; see Reader.phases."""
    run_id = run["run_id"]
    events = reader.query(
        """
        SELECT payload->>'phase' AS phase,
               arg_max(kind, ("at", seq)) AS kind,
               arg_max(done, ("at", seq)) FILTER (done IS NOT NULL) AS done,
               arg_max(planned, ("at", seq)) FILTER (planned IS NOT NULL) AS planned,
               arg_max(accepted, ("at", seq)) FILTER (accepted IS NOT NULL) AS accepted
        FROM (SELECT *, (payload->>'done')::BIGINT AS done, (payload->>'planned')::BIGINT AS planned,
                     (payload->>'accepted')::BIGINT AS accepted FROM events)
        WHERE run_id = ? AND kind IN ('PhaseStarted', 'PhaseProgressed', 'PhaseFinished')
        GROUP BY 1
        """,
        [run_id],
    )
    told = {row["phase"]: row for row in events}
    counted = counted or RunCounts(reader, run_id)
    under_way = "running" if run["state"] == "running" else "stopped"
    makes_pairs = bool((run["settings"] or {}).get("pairs"))
    found = []
    for name in (*PHASES, *BESIDE):
        if (name in PREFERENCE_PHASES and not makes_pairs) or (name in BESIDE and name not in told):
            continue
        event = told.get(name, {})
        state = "waiting" if not event else "done" if event["kind"] == "PhaseFinished" else under_way
        if name in BESIDE and state == "running":
            state = "stopped"  # the run goes on with its data: nothing is trained meanwhile
        told_of = {key: event.get(key) for key in ("done", "planned", "accepted")}
        if told_of["done"] is None:
            told_of["done"] = counted.done(name)
        found.append({"name": name, "state": state, **told_of})
    return found


def status(reader: Query, run: Mapping[str, Any]) -> dict[str, Any]:
    """The run as one JSON-ready object; see Reader.status."""
    run_id = run["run_id"]
    counted, good, read = (
        RunCounts(reader, run_id),
        good_among_accepted(reader, run),
        readings_of(reader, [run_id])[run_id],
    )
    same = (
        "spec", "spec_sha256", "model", "fingerprint", "seed", "state", "reason", "pilot", "target", "until",
        "overrides", "settings",
    )  # fmt: skip
    ready: dict[str, Any] = json_ready(
        {
            "run": run_id,
            **{name: run[name] for name in same},
            "phases": phases(reader, run, counted),
            "gates": gates(reader, run_id),
            "counts": counts(reader, run_id, counted),
            "acceptance": plain(headline(counted.accepted_by_basis(), of_samples(good), read)),
            "readings": plain_readings(read),
            "good_among_accepted": good,
            "preferences": _preferences(reader, run_id, counted),
            "repeat": repeated(reader, run_id),
            "gpus": gpus(reader, run_id),
            "stand_ins": (run["manifest"] or {}).get(STOOD_IN) or {},
            "self_check": (run["manifest"].get("model") or {}).get("self_check"),
            **{name: run[name] for name in ("elapsed_s", "created_at", "updated_at")},
        }
    )
    return ready


def checks(reader: Query, run_id: str) -> list[dict[str, Any]]:
    """The gates' checks, each with its result; see Reader.gates."""
    return [with_result(row) for row in reader.query(CHECKS, [run_id])]


def gates(reader: Query, run_id: str) -> list[dict[str, Any]]:
    """Each gate once, {name, result, passed, evidence}; its checks are the evidence."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in checks(reader, run_id):
        told = {name: value for name, value in row.items() if name not in ("run_id", "gate")}
        found.setdefault(row["gate"], []).append(told)
    return [
        {"name": name, "passed": (result := gate_result(of)) == PASSED, "result": result, "evidence": of}
        for name, of in found.items()
    ]


def counts(reader: Query, run_id: str, counted: RunCounts) -> dict[str, Any]:
    """How many rows of each sort the run has: candidates by status, verdicts, how they were reached, splits."""
    statuses, of_kind = counted.statuses, {kind: counted.verdicts(kind) for kind in ("instruction", "sample")}
    splits = _grouped(
        reader,
        "SELECT coalesce(i.split, 'unassigned') AS name, count(*) AS n FROM verdicts v "
        "JOIN samples s ON s.run_id = v.run_id AND s.sample_id = v.subject_id "
        "JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id "
        "WHERE v.run_id = ? AND v.subject_kind = 'sample' AND v.verdict = 'accepted' GROUP BY 1",
        run_id,
    )
    return {
        "candidates": sum(statuses.values()),
        "instructions": statuses.get("distinct", 0),
        "instructions_accepted": of_kind["instruction"].get("accepted", 0),
        "samples": counted.samples,
        **{name: of_kind["sample"].get(name, 0) for name in VERDICTS},
        "instruction_statuses": statuses,
        "instruction_verdicts": of_kind["instruction"],
        "accepted_by_basis": counted.accepted_by_basis(),
        "accepted_by_split": splits,
    }


def _preferences(reader: Query, run_id: str, counted: RunCounts) -> dict[str, Any] | None:
    """How many revisions, candidates and pairs a run has, and how many were kept; None where it makes none."""
    revisions, candidates, pairs = (counted.others.get(name, 0) for name in ("revisions", "candidates", "pairs"))
    if not revisions and not pairs:
        return None
    by_source = sources(reader, run_id) if pairs else []
    return {
        "revisions": revisions,
        "revisions_kept": counted.verdicts("revision").get("accepted", 0),
        "candidates": candidates,
        "pairs": pairs,
        "pairs_kept": counted.verdicts("pair").get("accepted", 0),
        "pairs_by_source": {row["source"]: {"pairs": row["pairs"], "kept": row["kept"]} for row in by_source},
    }


def verdicts(reader: Query, run_id: str, kind: str) -> dict[str, int]:
    """How many subjects of a kind have each verdict."""
    return _grouped(
        reader,
        f"SELECT verdict AS name, count(*) AS n FROM verdicts WHERE run_id = ? AND subject_kind = '{kind}' GROUP BY 1",
        run_id,
    )


def repeated(reader: Query, run_id: str) -> dict[str, float] | None:
    """What a part of the run gave when it was computed again, in the latest comparison; None before the first.

    {texts, texts_differing, scores, largest_difference_nats}
    """
    rows = reader.query(
        'SELECT substr(name, 8) AS name, arg_max(value, "at") AS value FROM metrics '
        "WHERE run_id = ? AND name LIKE 'repeat\\_%' ESCAPE '\\' GROUP BY 1",
        [run_id],
    )
    return {row["name"]: row["value"] for row in rows} or None


def gpus(reader: Query, run_id: str) -> dict[str, Any] | None:
    """How busy the GPUs were while the run was worked on, from their means a minute; None where none was measured.

    {measured_s, idle_s, busy_percent, phases: [{phase, measured_s, idle_s, busy_percent}], last: {at, busy_percent,
    least_busy_percent, memory_gib, power_w}}. Busy is the mean over GPUs, and `idle_s` what is missing of it; `last` is
    of the minute that was kept last, memory and power of all GPUs together.
    """
    phases = reader.query(GPU_BY_PHASE, [run_id])
    if not phases:
        return None
    last = reader.query(_GPU_LAST, [run_id])
    measured, idle = (sum(row[name] for row in phases) for name in ("measured_s", "idle_s"))
    whole = {"measured_s": measured, "idle_s": idle, "busy_percent": 100 * (1 - idle / measured)}
    return {**whole, "phases": phases, "last": last[0]}


def _grouped(reader: Query, sql: str, run_id: str) -> dict[str, int]:
    return {str(row["name"]): int(row["n"]) for row in reader.query(f"{sql} ORDER BY 1", [run_id])}
