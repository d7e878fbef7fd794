"""A run's training and evaluation again with other seeds, each as a run of its own that names the one it repeats.

A repeat has the settings, the base weights and the data of that run, and adapters and answers of its own: what differs
between repeats is what the seed of training decides, the order of examples, dropout and the adapter's first values. The
data are not made again, so that how they would differ is in no figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.core.errors import TrainingError
from engine.evaluation.needs.over_seeds import alike, first_of, repeats_of, repeats_training, training_of
from engine.evaluation.plan import evaluation_plan, required
from engine.models import adapters
from engine.run.opening import fresh
from engine.spec import provenance
from engine.spec.stage import settings_of, validate
from engine.training.examples import examples
from store.db import Store
from store.names import REPEAT, REPEAT_OF, TRAINING_PHASES
from store.read import Reader

KEPT = (
    "model",
    "adapter",
    "stand_ins",
    "round",
    "model_license",
    "model_notice",
    "spec_text",
    "constitution",
    "parent",
)


@dataclass(frozen=True, slots=True)
class RepeatSoFar:
    """One repeat: its number, from 1; its run, None where it has not begun; and what is left to do in it."""

    number: int
    run_id: str | None
    trained: bool
    evaluated: bool


def repeated_kinds(reader: Reader, run: Mapping[str, Any]) -> tuple[str, ...]:
    """What is trained again: the kinds of training that a run has adapters of.

    Raises TrainingError where it has none or is a repeat itself, EvaluationError where its spec asks no held-out items.
    """
    run_id = run["run_id"]
    if first_of(run) != run_id:
        raise TrainingError(
            f"run {run_id} is a repeat of {first_of(run)} itself",
            f"Repeat that one: cai repeat {first_of(run)}. Nothing was started.",
        )
    required(run, settings_of(run))
    kinds = tuple(kind for kind in TRAINING_PHASES if adapters.of_run(reader, run_id, kind) is not None)
    if not kinds:
        raise TrainingError(
            f"run {run_id} has no trained adapter to repeat",
            f"Train it first: cai train all {run_id}. Nothing was started.",
        )
    return kinds


def repeats(reader: Reader, run_id: str, wanted: int) -> list[RepeatSoFar]:
    """The first `wanted` repeats of a run, as far as the store has them.

    One that does not repeat the run's newest trainings counts as not begun: it was of an earlier adapter.
    """
    run = reader.run(run_id)
    kinds = repeated_kinds(reader, run)
    known = {number: of for number, of in repeats_of(reader, run_id).items() if _repeats(reader, run_id, of, kinds)}
    return [_so_far(reader, number, known.get(number), kinds) for number in range(1, wanted + 1)]


def begin_repeat(store: Store, run_id: str, number: int) -> str:
    """Make the run of a repeat, which nothing was done in yet; returns its id.

    Settings of trainings are those that the run was trained with, whatever its spec says. What a person approved of in
    that run is not asked again, and a reference is not asked anew: it has no seed. Nor is a judge: it is paid for, and
    its win rates are told of the run alone. Raises TrainingError where the run's data are not those it was trained on,
    and where no run can have the settings of both trainings.
    """
    with store.reader() as reader:
        run = reader.run(run_id)
        settings = dict(run["settings"])
        trainings = [_same_data(reader, run, kind) for kind in repeated_kinds(reader, run)]
    for training in trainings:
        settings |= training["settings"]
    if not all(alike(training, settings) for training in trainings):
        raise TrainingError(
            f"the adapters of run {run_id} were trained with different settings of the section 'adapter'",
            f"Train the last one anew as the first was, then repeat that: cai train dpo {run_id}. Nothing was started.",
        )
    settings["evaluation"] = {**settings["evaluation"], "reference": None, "judge": None}
    if settings.get("review"):
        settings["review"] = {**settings["review"], "ask": []}
    same = {name: run[name] for name in ("spec", "spec_sha256", "overrides", "model", "fingerprint", "pilot", "target")}
    manifest = provenance.manifest() | {name: run["manifest"][name] for name in KEPT if name in run["manifest"]}
    row: dict[str, Any] = {
        **fresh(),
        **same,
        "settings": validate(settings, f"run {run_id}").model_dump(),
        "seed": provenance.derived_seed(run["seed"], REPEAT, number) % 2**31,
        "manifest": manifest | {REPEAT_OF: run_id, REPEAT: number},
        "state": "done",  # of its data, which are those of the run
        "reason": f"repeats training and evaluation of {run_id} with another seed",
    }
    store.append({"runs": [row]})
    return str(row["run_id"])


def _so_far(reader: Reader, number: int, run_id: str | None, kinds: tuple[str, ...]) -> RepeatSoFar:
    if run_id is None:
        return RepeatSoFar(number, None, trained=False, evaluated=False)
    if any(adapters.of_run(reader, run_id, kind) is None for kind in kinds):
        return RepeatSoFar(number, run_id, trained=False, evaluated=False)
    run = reader.run(run_id)
    plan = evaluation_plan(reader, run, settings_of(run))
    counted = reader.query(
        "SELECT (SELECT count(*) FROM evaluation_results WHERE run_id = $1) AS results, "
        "(SELECT count(*) FROM evaluation_answers WHERE run_id = $1 AND scorer_sha256 != $2) AS stale",
        [run_id, plan.scorer_sha256],
    )[0]
    asked = not any(plan.missing.values()) and set(kinds) <= {one.name for one in plan.conditions}
    return RepeatSoFar(number, run_id, True, bool(asked and counted["results"] and not counted["stale"]))


def _repeats(reader: Reader, run_id: str, own: str, kinds: tuple[str, ...]) -> bool:
    """Whether a repeat learned, or where it was not trained yet would learn, as the run's newest trainings did."""
    settings = reader.run(own)["settings"]
    of = [training for kind in kinds if (training := training_of(reader, run_id, kind)) is not None]
    return all(alike(one, settings) for one in of) and repeats_training(reader, run_id, own)


def _same_data(reader: Reader, run: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A run's newest finished training of a kind. Raises TrainingError where it learned from other examples."""
    training = training_of(reader, run["run_id"], kind)
    assert training is not None
    share = training["settings"].get(kind, {}).get("heldout_share", 0.0)
    now = examples(reader, run, training["method"], share).sha256
    if training["data_sha256"] not in (None, now):
        raise TrainingError(
            f"the examples of run {run['run_id']} are not those that its {kind} adapter learned from",
            f"Train and evaluate it anew, then repeat that: cai train {kind} {run['run_id']}. Nothing was started.",
        )
    return training
