"""What it costs to train and evaluate a run again with other seeds, from what its own training and evaluation took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.budget.ledger import money_left
from engine.evaluation import BASE_CONDITIONS, IN_CONTEXT
from engine.evaluation.needs.over_seeds import training_of
from engine.evaluation.plan import evaluation_plan
from engine.planning.forecast import Figure, fits_budget, in_usd, together
from engine.planning.left import asked_again, steps_part
from engine.spec.stage import StageSpec
from store.read import Reader


def repeat_cost(
    reader: Reader, run: Mapping[str, Any], spec: StageSpec, kinds: Sequence[str], repeats: int, price: float | None
) -> dict[str, Any]:
    """Seconds and US dollars of one repeat by part and of `repeats` together, with intervals of the mean.

    Trainings have the steps that the run's own took. Of the conditions the trained ones are asked, and score the
    reference answers where the spec has it: the base answered these items before. What it was not asked yet, as a
    control that was switched on since, counts in each repeat, though only the first will ask it.

    {repeats, price_per_hour, parts, one, all, left_usd, fits_budget, about}; each part {name, seconds, usd}, `one` and
    `all` {seconds, usd}. `fits_budget` is None where neither is sure.
    """
    parts = [steps_part(reader, run, kind, *_trained(reader, run["run_id"], kind)) for kind in kinds]
    conditions = len(kinds) + _not_asked(reader, run, spec)
    parts.append(asked_again(reader, run, conditions))
    if spec.evaluation is not None and spec.evaluation.reference_logprobs:
        parts.append(asked_again(reader, run, conditions, references=True))
    one = together(parts)
    every = _times(one, repeats)
    usd, left = in_usd(every, price), money_left(reader, spec)
    return {
        "repeats": repeats,
        "price_per_hour": price,
        "parts": [{"name": part.name, "seconds": part.figure(), "usd": in_usd(part.figure(), price)} for part in parts],
        "one": {"seconds": one, "usd": in_usd(one, price)},
        "all": {"seconds": every, "usd": usd},
        "left_usd": left,
        "fits_budget": fits_budget(usd, left),
        "about": "time of the device while it trains and answers; loading the model and asking some answers twice "
        "come on top",
    }


def _trained(reader: Reader, run_id: str, kind: str) -> tuple[str, int]:
    """The method and the steps of a run's newest finished training of a kind."""
    found = training_of(reader, run_id, kind)
    assert found is not None
    return found["method"], found["planned_steps"]


def _not_asked(reader: Reader, run: Mapping[str, Any], spec: StageSpec) -> int:
    """Conditions of the base that the run was not asked yet, so that a repeat doesn't find their answers."""
    missing = evaluation_plan(reader, run, spec).missing
    return sum(bool(missing.get(name)) for name in (*BASE_CONDITIONS, IN_CONTEXT))


def _times(figure: Figure, times: int) -> Figure:
    bounds = {name: None if figure[name] is None else figure[name] * times for name in ("value", "lo", "hi")}
    return figure | bounds
