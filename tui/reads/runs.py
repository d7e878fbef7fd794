"""What the Runs room reads: all runs, one run's figures, and what two runs differ in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.core.errors import SpecError
from engine.core.figures import percent_of, percents_whole
from engine.stats.shares import wilson
from store.headline import with_headlines
from store.names import REPEAT_OF, VERDICTS
from store.outcomes import tally
from tui.words.wording import RESULTS

if TYPE_CHECKING:
    from store.read import Reader

RUNS_SHOWN = 500
_ABOUT = ("spec", "spec_sha256", "model", "fingerprint", "seed", "pilot", "target", "until")
_OWN = ("seed", "pilot", "target")
_HEAVY = ("settings", "manifest")
CHANGED = "changed by --set: "


@dataclass(frozen=True, slots=True)
class Account:
    """One run: what it was told (`told`, dotted) and what was measured (`measured`), both as text by name."""

    run_id: str
    told: dict[str, str] = field(default_factory=dict)
    measured: dict[str, str] = field(default_factory=dict)


def all_runs(reader: Reader) -> list[dict[str, Any]]:
    """The newest runs, each with its counts, its headline, and `judged`, the samples that have a verdict."""
    judged = {
        row["run_id"]: row["n"]
        for row in reader.query(
            "SELECT run_id, count(*) AS n FROM verdicts WHERE subject_kind = 'sample' GROUP BY 1 LIMIT 10000"
        )
    }
    runs = with_headlines(reader, reader.runs()[:RUNS_SHOWN])
    return [run | {"judged": judged.get(run["run_id"], 0)} for run in runs]


def listed(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs as a program is told of them: without settings and manifest, but which run each repeats."""
    return [
        {"run" if name == "run_id" else name: value for name, value in run.items() if name not in _HEAVY}
        | {REPEAT_OF: run["manifest"].get(REPEAT_OF)}
        for run in runs
    ]


def account(reader: Reader, run_id: str) -> Account:
    """All of a run that a comparison needs."""
    run = reader.run(run_id)
    # The run's own seed, pilot and target stand in place of those that its spec proposes.
    about = {name: "" if run[name] is None else str(run[name]) for name in _ABOUT}
    told = about | {key: value for key, value in flat(run["settings"]).items() if key not in about}
    told |= {f"{CHANGED}{key}": f"{old} -> {new}" for key, (old, new) in run["overrides"].items()}
    told |= {f"manifest: {name}": value for name, value in flat(run["manifest"]).items() if len(value) <= 200}
    return Account(run["run_id"], told, _measured(reader, run))


def _measured(reader: Reader, run: Mapping[str, Any]) -> dict[str, str]:
    status = reader.status(run["run_id"])
    counts = status["counts"]
    found = {
        "state": str(run["state"]),
        "accepted": status["acceptance"]["told"],
        "working time": f"{run['elapsed_s']:.0f} s",
        "candidates": f"{counts['candidates']:,}",
        "distinct instructions": f"{counts['instructions']:,}",
        "instructions accepted": _share(counts["instructions_accepted"], sum(counts["instruction_verdicts"].values())),
        "pairs accepted": _share(counts["accepted"], sum(counts[name] for name in VERDICTS)),
        "pairs unsure": f"{counts['unsure']:,}",
    }
    tokens = reader.query("SELECT median(n_tokens) AS n FROM samples WHERE run_id = ?", [run["run_id"]])[0]["n"]
    found["median tokens"] = "–" if tokens is None else f"{tokens:g}"
    for audit in reader.audits(run["run_id"]):
        name = f"AUC {audit['subject_kind']} {audit['critic']}, {audit['part']}"
        low, high = audit["auc_lo"], audit["auc_hi"]
        interval = "" if low is None else f" [{low:.2f}–{high:.2f}]"
        found[name] = "undefined" if audit["auc"] is None else f"{audit['auc']:.3f}{interval}"
    for gate in status["gates"]:
        found[f"gate {gate['name']}"] = f"{gate['result']}, {tally(gate['evidence'])}"
    for check in reader.gates(run["run_id"]):
        shape = RESULTS[check["result"]][0]
        measured = "–" if check["measured"] is None else f"{check['measured']:.3f}"
        found[f"gate {check['gate']}: {check['check_name']}"] = (
            f"{shape} {measured} {check['op']} {check['threshold']:g}"
        )
    return found


def _share(k: int, n: int) -> str:
    if not n:
        return "none judged"
    return f"{k:,}/{n:,} {percent_of(k, n)} {percents_whole(*wilson(k, n))}"


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested settings by dotted key, as text."""
    found: dict[str, str] = {}
    for key, value in values.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        else:
            found[name] = "" if value is None else str(value)
    return found


def fork_options(reader: Reader, run_id: str, changes: Mapping[str, str]) -> dict[str, Any]:
    """Options of NewRun for a run like this one but for the changes. Raises SpecError where they are wrong.

    The settings are those that the run has now, thresholds that were applied included, as overrides of its spec.
    """
    from engine.spec.stage import change, load_spec  # not before the first frame: it brings pydantic

    run = reader.run(run_id)
    wanted = change(own_settings(run), changes).model_dump()
    own = {name: wanted[name] for name in _OWN}
    loaded = load_spec(run["spec"])
    if loaded.sha256 != run["spec_sha256"]:
        raise SpecError(
            f"the spec {run['spec']} is not the file that run {run_id} began with",
            "Give the original back its place, or start a new run with cai run. Nothing was started.",
        )
    base = loaded.settings.model_dump()
    overrides: dict[str, str] = {}
    for section, value in wanted.items():
        if isinstance(value, dict):
            overrides |= {
                f"{section}.{key}": json.dumps(inner) for key, inner in value.items() if inner != base[section][key]
            }
        elif value != base[section] and section not in _OWN:
            overrides[section] = json.dumps(value)
    own["target"] = max(own["target"], own["pilot"])
    return {"spec": run["spec"], "model": run["model"], **own, "overrides": overrides}


def own_settings(run: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run was made with: its own seed, pilot and target stand in place of those of its spec."""
    return {**run["settings"], **{name: run[name] for name in _OWN}}


def judge_changes(run: Mapping[str, Any], changes: Mapping[str, str]) -> str | None:
    """What is wrong with changes of a run's settings, "" where nothing is, None where they change nothing."""
    from engine.spec.stage import change

    settings = own_settings(run)
    try:
        return None if change(settings, changes) == change(settings, {}) else ""
    except SpecError as error:
        return error.title.removeprefix("--set: ")


def why_no_fork(reader: Reader, run_id: str) -> str:
    """Why no run like this one can be started at all, "" where one can."""
    try:
        fork_options(reader, run_id, {})
    except SpecError as error:
        return f"{error.title}. {error.hint}"
    return ""
