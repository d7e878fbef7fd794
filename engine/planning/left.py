"""What is left to be done: of the phase under way, of the stage, and of the stages of the pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from engine.evaluation import BASE_CONDITIONS
from engine.planning.forecast import (
    DRAWS,
    METHOD,
    Figure,
    Part,
    Pilot,
    interval,
    mean_of,
    measured,
    pilot_of,
    together,
    unknown,
)
from engine.planning.priors import answered
from engine.spec.stage import StageSpec, available, load_spec, settings_of
from engine.training.examples import examples
from engine.training.plan import steps_of
from store.errors import CaiError
from store.names import CONTROL_TRAININGS, REPEAT_OF, SUPERVISED, TRAINING_PHASES
from store.read import Reader

LEAST_STEPS = 5  # of progress, before the rate of a phase under way is told


def stage_parts(reader: Reader, run: Mapping[str, Any], spec: StageSpec, pilot: Pilot) -> list[Part]:
    """What is left of a run up to its target, its trainings and its evaluation included."""
    parts = [_samples(run, pilot)]
    if spec.pairs is not None:
        parts.append(_pairs(run, pilot))
    if run["state"] != "done":
        parts.append(_gates(spec, pilot))
    parts += [_training(reader, run, spec, pilot, kind) for kind in TRAINING_PHASES if getattr(spec, kind) is not None]
    parts += [_training(reader, run, spec, pilot, kind) for kind in controls_of(spec) if kind in CONTROL_TRAININGS]
    if spec.evaluation is not None:
        parts.append(_evaluation(reader, run, spec))
    return parts


def controls_of(spec: StageSpec) -> list[str]:
    """The controls that a spec switches on, where it trains what they are compared with."""
    return [] if spec.evaluation is None or spec.sft is None else list(spec.evaluation.controls)


def _samples(run: Mapping[str, Any], pilot: Pilot) -> Part:
    left = max(run["target"] - pilot.accepted, 0)
    if not left:
        return Part("samples", 0.0, None, pilot.n, "the target is reached")
    found = pilot.ratio("s_sample", "accepted")
    if found is None or not pilot.sums[pilot.column["s_sample"]]:
        return _missing("samples", pilot)
    return Part("samples", left * found[0], left * found[1], pilot.n, METHOD)


def _pairs(run: Mapping[str, Any], pilot: Pilot) -> Part:
    cost, rate = pilot.ratio("s_pair", "paired"), pilot.ratio("eligible", "accepted")
    done = float(pilot.sums[pilot.column["paired"]])
    if run["state"] == "done" or (rate is not None and done and run["target"] * rate[0] <= done):
        return Part("pairs", 0.0, None, int(done), "every accepted sample of the training split went to pairs")
    if cost is None or rate is None or not cost[0]:
        return _missing("pairs", pilot)
    target = max(run["target"], pilot.accepted)
    with np.errstate(invalid="ignore"):
        drawn = np.maximum(target * rate[1] - done, 0) * cost[1]
    return Part("pairs", (target * rate[0] - done) * cost[0], np.nan_to_num(drawn, nan=np.inf), int(done), METHOD)


def _gates(spec: StageSpec, pilot: Pilot) -> Part:
    names = ["gate", *(["pair_gate"] if spec.pairs is not None else [])]
    known = [pilot.elapsed[name] for name in names if name in pilot.elapsed]
    if len(known) < len(names):
        return Part("gates", None, None, 0, "", "no gate was decided yet")
    return Part("gates", sum(s / n for s, n in known), None, min(n for _, n in known), "as at the gates before")


def _training(reader: Reader, run: Mapping[str, Any], spec: StageSpec, pilot: Pilot, kind: str) -> Part:
    settings = getattr(spec, "sft" if kind in SUPERVISED else kind)
    method = kind if kind in SUPERVISED else str(getattr(settings, "loss", ""))
    trained = reader.query(
        "SELECT state FROM trainings WHERE run_id = ? AND method = ? ORDER BY updated_at DESC", [run["run_id"], method]
    )
    if any(row["state"] == "done" for row in trained):
        return Part(kind, 0.0, None, len(trained), "it is trained")
    if (step := steps_part(reader, run, kind, method, 1)).seconds is None:
        return step
    now = len(examples(reader, run, method, getattr(settings, "heldout_share", 0.0)).train)
    if not now or not pilot.accepted:
        return Part(kind, None, None, 0, "", f"there are no examples for {kind} yet to tell how many there will be")
    return steps_part(
        reader, run, kind, method, steps_of(round(now * max(run["target"] / pilot.accepted, 1)), settings)
    )


def steps_part(reader: Reader, run: Mapping[str, Any], kind: str, method: str, steps: int) -> Part:
    """So many steps of a method, at what its steps on the run's model took in this store."""
    seconds = reader.query(
        "SELECT s.seconds FROM training_steps s JOIN trainings t USING (run_id, training_id) "
        "JOIN runs r USING (run_id) WHERE t.method IN (SELECT unnest(?::VARCHAR[])) AND r.model = ? "
        "ORDER BY s.run_id, s.training_id, s.step",
        [list(SUPERVISED) if kind in SUPERVISED else [method], run["model"]],
    )
    if not seconds:
        return Part(kind, None, None, 0, "", f"no step of {method} was trained in this store on {run['model']} yet")
    mean, drawn = mean_of(np.array([row["seconds"] for row in seconds]))
    how = f"{steps} steps at the mean of {len(seconds)} measured ones, bootstrap over steps"
    return Part(kind, steps * mean, None if drawn is None else steps * drawn, len(seconds), how)


def _evaluation(reader: Reader, run: Mapping[str, Any], spec: StageSpec) -> Part:
    rows = reader.query(
        "SELECT condition, count(*) AS n FROM evaluation_answers WHERE run_id = ? GROUP BY 1", [run["run_id"]]
    )
    wanted = [*BASE_CONDITIONS, *(name for name in TRAINING_PHASES if getattr(spec, name) is not None)]
    wanted += controls_of(spec)
    left = [name for name in wanted if name not in {row["condition"] for row in rows}]
    if not left:
        return Part("evaluation", 0.0, None, sum(row["n"] for row in rows), "every condition was asked")
    return asked_again(reader, run, len(left))


def asked_again(reader: Reader, run: Mapping[str, Any], conditions: int, *, references: bool = False) -> Part:
    """So many conditions more, each asked the items that the run's were asked, or scoring as many `references`."""
    tables = ("evaluation_logprobs", "scores") if references else ("evaluation_answers", "completions")
    name, what = ("references", "reference answer") if references else ("evaluation", "held-out item")
    timed = answered(reader, run["run_id"], *tables)
    if not timed:
        return Part(name, None, None, 0, "", f"no {what} was asked yet")
    items = reader.query(
        f"SELECT max(n) AS n FROM (SELECT count(*) AS n FROM {tables[0]} WHERE run_id = ? AND condition != 'reference' "
        "GROUP BY condition)",
        [run["run_id"]],
    )[0]["n"]
    mean, drawn = mean_of(np.array([row["seconds"] / row["n"] for row in timed]))
    how = f"{conditions} conditions of {items} items at the mean of {len(timed)} asked, bootstrap over conditions"
    drawn = None if drawn is None else drawn * items * conditions
    return Part(name, mean * items * conditions, drawn, sum(row["n"] for row in timed), how)


def _missing(name: str, pilot: Pilot) -> Part:
    if not pilot.n:
        reason = "nothing was judged yet"
    elif not pilot.accepted:
        reason = f"none of {pilot.n} candidates was accepted yet"
    elif name == "pairs":
        reason = "no accepted sample went all the way to pairs yet"
    else:
        reason = "no phase of it has ended yet, so its seconds are not known"
    return Part(name, None, None, 0, "", reason)


def phase_left(reader: Reader, run_id: str) -> Figure:
    """Seconds to the end of the phase under way, from its own progress since it was last begun, pauses left out.

    Of several side by side it is the one that will take longest. `phase`, `done` and `planned` say what it is about.
    """
    phases = reader.phases(run_id)
    left = [_left_of(reader, run_id, row) for row in phases if row["state"] in ("running", "stopped")]
    if not left:
        return unknown("no phase is under way", "seconds") | {"phase": None, "done": None, "planned": None}
    return max(reversed(left), key=lambda figure: -1.0 if figure["value"] is None else figure["value"])


def _left_of(reader: Reader, run_id: str, phase: Mapping[str, Any]) -> Figure:
    about = {"phase": phase["name"], "done": phase["done"], "planned": phase["planned"]}
    if phase["planned"] is None:
        return unknown("the phase did not say how much it plans", "seconds") | about
    steps = _steps(reader, run_id, phase["name"])
    if len(steps) < LEAST_STEPS:
        reason = f"only {len(steps)} steps of its progress were seen, {LEAST_STEPS} are wanted"
        return unknown(reason, "seconds") | about
    table = np.array(steps)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=DRAWS) @ table
    left = max(phase["planned"] - phase["done"], 0)
    value = left * float(table[:, 0].sum() / table[:, 1].sum())
    how = f"seconds per item over {len(table)} steps of progress, percentile bootstrap over them"
    low, high = interval(left * drawn[:, 0] / drawn[:, 1])
    return measured(value, low, high, int(table[:, 1].sum()), "seconds", how) | about


def _steps(reader: Reader, run_id: str, phase: str) -> list[tuple[float, float]]:
    """(seconds, items) between one progress event and the next, in the phase's last beginning."""
    rows = reader.query(
        "SELECT session_id, seq, \"at\", kind, payload FROM events WHERE run_id = ? AND (kind IN ('RunPaused', "
        "'RunResumed') OR (kind IN ('PhaseStarted', 'PhaseProgressed') AND payload->>'phase' = ?)) "
        'ORDER BY "at", seq',
        [run_id, phase],
    )
    last = max((n for n, row in enumerate(rows) if row["kind"] == "PhaseStarted"), default=0)
    steps = []
    for one, two in pairwise(rows[last:]):
        if {one["kind"], two["kind"]} != {"PhaseProgressed"} or one["session_id"] != two["session_id"]:
            continue
        items = json.loads(two["payload"])["done"] - json.loads(one["payload"])["done"]
        if items > 0:
            steps.append(((two["at"] - one["at"]).total_seconds(), float(items)))
    return steps


def pipeline_stages(reader: Reader, run: Mapping[str, Any], own: Sequence[Part]) -> list[dict[str, Any]]:
    """Each stage of the pipeline: the run that stands for it, how far it is, and what is left of it.

    A stage's run is the newest of that stage on the same model; of this run's stage it is this run. Without one nothing
    is known about it, and nothing is put in its place.
    """
    stages = sorted({load_spec(name).settings.stage for name in available()})
    runs = reader.runs()
    found = []
    for stage in stages:
        if stage == run["settings"].get("stage"):
            chosen, parts = run, list(own)
        else:
            mine = [
                row
                for row in runs
                if row["settings"].get("stage") == stage
                and row["model"] == run["model"]
                and REPEAT_OF not in row["manifest"]
            ]
            if not mine:
                reason = f"no run of it on {run['model']} is in this store: its pilot was not made"
                empty: dict[str, Any] = {"run": None, "accepted": None, "target": None, "parts": []}
                found.append({"stage": stage, "left": unknown(reason, "seconds")} | empty)
                continue
            chosen = mine[0]
            try:
                parts = stage_parts(reader, chosen, settings_of(chosen), pilot_of(reader, chosen["run_id"]))
            except CaiError as error:  # of a run whose settings this version of the program cannot read
                parts = [Part("stage", None, None, 0, "", error.title)]
        accepted = next((row["accepted"] for row in runs if row["run_id"] == chosen["run_id"]), None)
        about = {"stage": stage, "run": chosen["run_id"], "accepted": accepted, "target": chosen["target"]}
        found.append(about | {"left": together(parts), "parts": parts})
    return found
