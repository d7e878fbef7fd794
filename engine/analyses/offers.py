"""What could be done with a run, as plain values, and the registration of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.budget.ledger import money_left
from engine.budget.prices import api_price
from engine.core.errors import EvaluationError
from engine.evaluation import BASE_CONDITIONS, registration
from engine.evaluation.conditions import IN_WORDS, decoding_of
from engine.evaluation.inference.likeness import likeness
from engine.evaluation.judging import REVIEWER
from engine.evaluation.judging.pairs import calls_planned, chosen_items
from engine.evaluation.judging.wording import prompt_tokens
from engine.evaluation.needs.over_seeds import first_of
from engine.evaluation.plan import EvaluationPlan, evaluation_plan
from engine.evaluation.registration import current
from engine.evaluation.suites.harness import load
from engine.phases.suites import asked_conditions
from engine.quality.gates import recompute
from engine.quality.pair_selection import recheck_pairs
from engine.review.consultant import JUDGE_TOKENS
from engine.review.options import ReviewOptions
from engine.spec.stage import StageSpec, settings_of
from engine.training.plan import plan
from engine.training.worker import command_for, shards_of
from store.db import Store
from store.names import TRAINING_PHASES
from store.outcomes import PASSED, gate_result
from store.read import Reader
from store.salvage.clock import utc_now


def preregister(
    store: Store,
    run_id: str,
    *,
    after: str | None = None,
    hypothesis: str | None = None,
    controls: bool = False,
    overrides: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Settle hypotheses, tests, n and hashes of a run's evaluation before a tuned model answers; returns the row kept.

    Planned are the three base conditions and what the spec trains, up to `after` (sft or dpo), which the primary
    hypothesis is about, and with `controls` those of the spec, as secondary hypotheses. Raises EvaluationError where
    results exist already, where the spec has no such training, or of a repeat, which makes no claim of its own.
    """
    with store.reader() as reader:
        run = reader.run(run_id)
        if (first := first_of(run)) != run["run_id"]:
            raise EvaluationError(
                f"run {run['run_id']} repeats {first} with another seed and makes no claim of its own",
                f"What counts is the registration of {first}: cai preregister {first} --show. Nothing was stored.",
            )
        spec = settings_of(run, overrides)
        planned = evaluation_plan(reader, run, spec)
        tuned = [name for name in TRAINING_PHASES if getattr(spec, name) is not None]
        tuned = tuned[: tuned.index(after) + 1] if after in tuned else tuned if after is None else []
        body = registration.body(
            run,
            planned.settings,
            planned.items_sha256,
            planned.scorer_sha256,
            asdict(decoding_of("base_formatted", planned.settings)),
            [*BASE_CONDITIONS, *tuned, *(planned.settings.controls if controls else ())],
            registration.sizes_of(item for item in planned.items if item.split == "test"),
            hypothesis,
            likeness(reader, run["run_id"], planned.items_sha256, planned.settings),
        )
        return registration.register(reader, store, run["run_id"], body, utc_now())


def recheck(reader: Reader, run_id: str, overrides: Mapping[str, str]) -> dict[str, Any]:
    """Verdicts and QC of a run again from its stored rows under other settings; nothing is generated or changed.

    Returns {run, spec, overrides, before, after}, the last two with counts by kind and verdict and the gate's checks.
    Raises SpecError for an unknown setting.
    """
    run = reader.run(run_id)

    def plain(spec: StageSpec) -> dict[str, Any]:
        found = recompute(reader, run["run_id"], spec)
        counts, decided = found.counts(), list(found.checks)
        if spec.pairs is not None:
            pairs = recheck_pairs(reader, run["run_id"], spec)
            verdicts = [verdict.verdict for verdict in pairs.verdicts.values()]
            counts["preference pair"] = {name: verdicts.count(name) for name in ("accepted", "rejected")}
            decided += pairs.checks
        checks = [
            {"name": check.name, **check.row(), "result": check.result, "untested": check.untested} for check in decided
        ]
        result = gate_result(checks)
        return {"counts": counts, "checks": checks, "passed": result == PASSED, "result": result}

    return {
        "run": run["run_id"],
        "spec": run["spec"],
        "overrides": dict(overrides),
        "before": plain(settings_of(run)),
        "after": plain(settings_of(run, overrides)),
    }


def training_plan(
    reader: Reader,
    run_id: str,
    kind: str,
    overrides: Mapping[str, str] | None = None,
    *,
    price_per_hour: float | None = None,
    accelerate: str | None = None,
) -> dict[str, Any]:
    """What a training of a run would be, as plain values: nothing is started or changed.

    `kind` is sft, dpo or a control, `accelerate` how it would be started on many devices, as `cai train` takes it.
    Returns {run, kind, method, training_id, done, examples, heldout, steps, start, settings, adapter, memory, locks};
    `memory` in bytes of one device, None where the model's files are not here yet; each of `locks` {name, open, found,
    key}. Raises TrainingError where the run's spec has no such section or `accelerate` is none, SpecError for an
    unknown setting.
    """
    run = reader.run(run_id)
    spec = settings_of(run, overrides)
    shards = shards_of(command_for(accelerate))
    left = money_left(reader, spec)
    found = plan(reader, run, spec, kind, price_per_hour=price_per_hour, money_left=left, shards=shards)
    return {
        "run": run["run_id"],
        "kind": found.kind,
        "method": found.method,
        "training_id": found.training_id,
        "done": found.done,
        "examples": len(found.found.train),
        "heldout": len(found.found.heldout),
        "steps": found.steps,
        "start": found.start.training_id if found.start else None,
        "settings": found.settings.model_dump(),
        "adapter": dict(found.adapter),
        "memory": found.memory.facts() if found.memory else None,
        "locks": [asdict(lock) for lock in found.locks],
    }


def suite_offer(reader: Reader, run_id: str, names: Sequence[str]) -> dict[str, Any]:
    """What benchmarks would ask of a run's models, as plain values; data that are missing are fetched, none is asked.

    Returns {run, suites, conditions}: each suite {suite, documents, tasks}, each condition {name, in_words, adapter}.
    Raises EvaluationError as engine.evaluation.suites.harness.load does.
    """
    run = reader.run(run_id)
    return {
        "run": run["run_id"],
        "suites": [suite.facts() for suite in load(names)],
        "conditions": [
            {"name": one.name, "in_words": IN_WORDS[one.name], "adapter": one.adapter and one.adapter.training_id}
            for one in asked_conditions(reader, run)
        ],
    }


def evaluation_offer(
    reader: Reader, run_id: str, overrides: Mapping[str, str] | None = None, *, review: ReviewOptions | None = None
) -> dict[str, Any]:
    """What an evaluation of a run would ask, as plain values: nothing is started or changed.

    Returns {run, capability, items, items_sha256, scorer_sha256, conditions, judge, registered, settings}; `items`
    counts by capability, type and split; each of `conditions` {name, in_words, model, adapter, items, missing}; `judge`
    is None or {name, helpful, harmless, calls_at_most, usd_at_most, priced}, the last two None where nothing is paid or
    `review` does not say who; `registered` is the newest registration or None. Raises EvaluationError where the run's
    spec has no such section.
    """
    run = reader.run(run_id)
    found = evaluation_plan(reader, run, settings_of(run, overrides))
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for item in found.items:
        of_type = counts.setdefault(item.capability, {}).setdefault(item.item_type, {})
        of_type[item.split] = of_type.get(item.split, 0) + 1
    return {
        "run": run["run_id"],
        "capability": found.settings.capability,
        "items": counts,
        "items_sha256": found.items_sha256,
        "scorer_sha256": found.scorer_sha256,
        "conditions": [
            {
                "name": one.name,
                "in_words": IN_WORDS[one.name],
                "model": one.model,
                "adapter": one.adapter.training_id if one.adapter else None,
                "items": len(found.items),
                "missing": found.missing[one.name],
            }
            for one in found.conditions
        ],
        "judge": _judge(found, review),
        "registered": current(reader, run["run_id"]),
        "settings": found.settings.model_dump(),
    }


def _judge(found: EvaluationPlan, review: ReviewOptions | None) -> dict[str, Any] | None:
    """Who would compare answers, how many items for each question, how often it would be asked and what that costs."""
    name = found.settings.judge
    if name is None:
        return None
    chosen = chosen_items(found.items, found.settings.judge_items)
    conditions = [one.name for one in found.conditions]
    calls = calls_planned(chosen, conditions)
    told: dict[str, Any] = {"name": name, **{question: len(of) for question, of in chosen.items()}}
    told |= {"calls_at_most": calls, "usd_at_most": None, "priced": None}
    if name == REVIEWER and review is not None:
        prices = api_price(review.settings.model, review.prices)
        wanted = {item_id for of in chosen.values() for item_id in of}
        sent = sum(prompt_tokens(item, found.settings.max_tokens) for item in found.items if item.item_id in wanted)
        quantities = sent * calls / max(len(wanted), 1), calls * min(JUDGE_TOKENS, review.settings.output_tokens)
        micro = sum(price.micro_usd(many) for price, many in zip(prices.each, quantities, strict=True))
        told |= {"usd_at_most": micro / 1e6, "priced": prices.warning or prices.each[0].detail}
    return told
