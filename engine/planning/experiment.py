"""How the money would go over stages, ablations and seeds before anything ran: for each part, work at a rate.

Amounts follow from the specs; rates are priors until the store has measured them on the same model and kind of device.
No model and no store is needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from engine.budget.gpus import CPU, DEFAULT_PRICES, KINDS, price_source, prices_of
from engine.budget.ledger import cap_of, spent
from engine.core.errors import SpecError
from engine.core.figures import NO_GPU_PRICE
from engine.evaluation import CONTROL_CONDITIONS
from engine.planning.priors import (
    NOTHING_MEASURED,
    PRIORS,
    MeasuredWork,
    device_of,
    fits,
    measured_work,
    parameters_of,
    speeds,
)
from engine.planning.work import (
    ABLATION_ITEMS,
    PRIOR,
    ablation_work,
    control_work,
    seed_work,
    stage_work,
)
from engine.spec.constitution import load_constitution
from engine.spec.stage import StageSpec, load_spec, settings_of
from store.names import REPEAT_OF
from store.read import Reader

PIPELINE = "stage_6_constitutional_integration"  # the last shipped stage: those before it are its parents
SEEDS = 3
REPEATED = "repeats"  # beside names of specs: the runs that repeat one with other seeds

Row = dict[str, Any]


def pipeline_of(spec: str, overrides: Mapping[str, str] | None = None) -> list[tuple[str, StageSpec]]:
    """A spec and the stages before it by `parent`, the first stage first. Overrides are of the spec that is named.

    Raises SpecError for no such spec or setting.
    """
    loaded = load_spec(spec, overrides)
    return _with_parents(loaded.name, loaded.settings)


def experiment_of_run(
    reader: Reader, run_id: str, overrides: Mapping[str, str] | None = None, *, kind: str | None = None, **given: Any
) -> Row:
    """The experiment that a run is the last stage of, as `experiment_of` has it; `reason` where it can't be told.

    The kind of device is by default the one that the run was made on.
    """
    run = reader.run(run_id)
    spec = settings_of(run, overrides)
    if "target" not in (overrides or {}):
        spec = spec.model_copy(update={"target": run["target"]})
    try:
        stages = _with_parents(run["spec"], spec)
        if given.get("parameters") is None:
            given["parameters"] = _size_of(run["model"], spec.written_for)
        kind = kind or device_of(reader, run)[0]
        paid = _paid(reader, run, stages)
        return experiment_of(stages, model=run["model"], kind=kind, reader=reader, paid=paid, **given)
    except SpecError as error:
        return {"reason": f"{error.title}. {error.hint}"}


def _paid(reader: Reader, run: Mapping[str, Any], stages: Sequence[tuple[str, StageSpec]]) -> dict[str, float]:
    """US dollars that the run, the newest runs of the stages before it and its repeats cost: by spec, and REPEATED."""
    by_run = {name: amount.total / 1e6 for name, amount in spent(reader).by_run.items()}
    runs = [one for one in reader.runs() if one["model"] == run["model"]]  # the newest first
    found = {REPEATED: sum(by_run.get(one["run_id"], 0.0) for one in runs
                           if one["manifest"].get(REPEAT_OF) == run["run_id"])}  # fmt: skip
    for name, _ in stages:
        of = [one["run_id"] for one in runs if one["spec"] == name and REPEAT_OF not in one["manifest"]]
        chosen = [run["run_id"]] if name == run["spec"] else of[:1]
        found[name] = sum(by_run.get(one, 0.0) for one in chosen)
    return found


def _size_of(*models: str) -> float:
    """The number of weights by the first of these names that tells it."""
    for name in models[:-1]:
        with contextlib.suppress(SpecError):
            return parameters_of(name)
    return parameters_of(models[-1])


def _with_parents(spec: str, settings: StageSpec) -> list[tuple[str, StageSpec]]:
    found, name = [(spec, settings)], settings.parent
    while name is not None and name not in {one for one, _ in found}:
        before = load_spec(name)
        found.append((before.name, before.settings))
        name = before.settings.parent
    return found[::-1]


def experiment_of(
    stages: Sequence[tuple[str, StageSpec]],
    *,
    model: str | None = None,
    parameters: float | None = None,
    kind: str | None = None,
    usd_per_hour: float | None = None,
    prices: Mapping[str, float] | None = None,
    cap_usd: float | None = None,
    seeds: int = SEEDS,
    ablations: int | None = None,
    reader: Reader | None = None,
    paid: Mapping[str, float] | None = None,
) -> Row:
    """The experiment of these stages as one JSON-ready object; times in device-seconds, prices in US dollars.

    {spec, model, parameters, gpu, usd_per_hour, priced_on, cap_usd, left_usd, paid_usd, total, stages, controls, seeds,
    ablations, lines, kinds, priors, reason, about}. `kind` is a kind of GPU, by default the cheapest in all whose
    memory holds the weights; `usd_per_hour` is its price where that is not the one of `prices`. `lines` are what is
    bought, in the order in which it is: all stages, the controls that are on, the seeds beyond the first, the
    ablations; each with what is spent after it and whether that is within the money. What is `paid` of these stages, by
    spec, and of seeds, as REPEATED, is in `lines` as well as in the ledger: as far as it was planned, it counts once
    (`paid_usd`). `ablations` counts principles, by default all of the constitution. Raises SpecError where the model's
    name does not say how large it is.
    """
    last = stages[-1][1]
    model = model or last.written_for
    parameters = parameters_of(model) if parameters is None else parameters
    prices = prices_of(DEFAULT_PRICES) if prices is None else prices
    ablations = len(load_constitution().principles) if ablations is None else ablations
    cap, left = _money(reader, last, cap_usd)
    known = {} if reader is None else measured_work(reader, model)
    made: dict[str, Row] = {}
    kinds = []
    for name in (*KINDS, CPU):
        price = prices.get(name)  # none for the machine itself, unless it is given
        if name == kind and usd_per_hour is not None:
            price = usd_per_hour
        why_not = fits(parameters, name)
        if not why_not:
            measured = known.get(name, NOTHING_MEASURED)
            made[name] = _costs(stages, speeds(parameters, name), measured, price, seeds, ablations)
        total = made[name]["total"] if name in made else {"seconds": None, "usd": None}
        kinds.append({"gpu": name, "usd_per_hour": price, **total, "reason": why_not or None})
    chosen = kind or _cheapest(kinds)
    priced = next(row["usd_per_hour"] for row in kinds if row["gpu"] == chosen)
    found = made.get(chosen) or _nothing()
    of_these = _planned_part(found, paid or {})
    return {
        "spec": stages[-1][0], "model": model, "parameters": parameters, "gpu": chosen, "usd_per_hour": priced,
        "priced_on": _priced_on(chosen, usd_per_hour if kind else None, prices), "cap_usd": cap, "left_usd": left,
        "paid_usd": of_these, **found, "lines": _within(found["lines"], None if left is None else left + of_these),
        "kinds": kinds, "priors": [one.row() for one in PRIORS],
        "reason": next(row["reason"] for row in kinds if row["gpu"] == chosen),
        "about": "time of the device at work; priors are points without an interval, the first pilot measures them",
    }  # fmt: skip


def _money(reader: Reader | None, spec: StageSpec, cap_usd: float | None) -> tuple[float | None, float | None]:
    """The cap and what is left of it, in US dollars: of a store its own cap, and what its ledger has not spent."""
    own = None if spec.budget is None else spec.budget.cap_usd
    if reader is None:
        cap = own if cap_usd is None else cap_usd
        return cap, cap
    micro = cap_of(reader, spec) if cap_usd is None else round(cap_usd * 1e6)
    return (None, None) if micro is None else (micro / 1e6, max(micro - spent(reader).all.total, 0) / 1e6)


def _planned_part(found: Row, paid: Mapping[str, float]) -> float:
    """What is paid of stages and seeds, of each as much as it was planned to cost."""
    planned = {row["spec"]: row["usd"] for row in found["stages"]}
    if found["seeds"] and (each := found["seeds"]["one_more"]["usd"]) is not None:
        planned[REPEATED] = each * (found["seeds"]["planned"] - 1)
    return float(sum(min(paid.get(name, 0.0), usd) for name, usd in planned.items() if usd is not None))


def _nothing() -> Row:
    return {"total": {"seconds": None, "usd": None}, "stages": [], "controls": [], "seeds": None, "ablations": None,
            "lines": []}  # fmt: skip


def _cheapest(kinds: Sequence[Row]) -> str:
    """The machine's own processor where the model is small enough for it, else what costs least in all."""
    able = {row["gpu"]: row["usd"] for row in kinds if row["seconds"] is not None}
    if CPU in able:
        return CPU
    priced = {name: usd for name, usd in able.items() if usd is not None}
    return min(priced, key=lambda name: priced[name]) if priced else next(iter(able or KINDS))


def _priced_on(kind: str, given: float | None, prices: Mapping[str, float]) -> str:
    if given is not None:
        return "given, or the setting price_per_gpu_hour"
    if kind == CPU:
        return NO_GPU_PRICE
    return price_source(kind, prices) if kind in prices else "no price: add it to the setting gpu_prices"


def _costs(
    stages: Sequence[tuple[str, StageSpec]], speed: Mapping[str, float], measured: MeasuredWork, price: float | None,
    seeds: int, ablations: int,
) -> Row:  # fmt: skip
    """Everything on one kind of device."""
    rows: list[Row] = []
    controls, lines = [], []
    for name, spec in stages:
        parts = [work.row(speed, measured, price) for work in stage_work(spec, measured, first=not rows)]
        row = {"stage": spec.stage, "spec": name, "target": spec.target, **_sum(parts), "parts": parts}
        rows.append(row)
        lines.append({"what": f"stage {spec.stage}", **_sum(parts)})
        for control in CONTROL_CONDITIONS if spec.evaluation is not None and spec.sft is not None else ():
            own = [work.row(speed, measured, price) for work in control_work(spec, control)]
            assert spec.evaluation is not None
            about = {"control": control, "stage": spec.stage, "on": control in spec.evaluation.controls}
            controls.append({**about, **_sum(own), "parts": own})
    switched = [one for one in controls if one["on"]]
    if switched:
        lines.append({"what": f"controls: {len(switched)}", **_sum(switched)})
    last = stages[-1][1]
    again = _sum([work.row(speed, measured, price) for work in seed_work(last)])
    if seeds > 1 and again["seconds"]:
        lines.append({"what": f"seeds 2 to {seeds} of stage {last.stage}", **_sum([again] * (seeds - 1))})
    each = _sum([work.row(speed, measured, price) for work in ablation_work(last)])
    if ablations and each["seconds"]:
        lines.append({"what": f"ablations of {ablations} principles", **_sum([each] * ablations)})
    return {
        "total": _sum(lines), "stages": rows, "controls": controls,
        "seeds": {"planned": seeds, "one_more": again},
        "ablations": {"planned": ablations, "items": ABLATION_ITEMS, "each": each},
        "lines": lines,
    }  # fmt: skip


def _sum(rows: Sequence[Row]) -> Row:
    usd = [row["usd"] for row in rows]
    rates = {row["rate"] for row in rows if "rate" in row and row["seconds"]}
    return {
        "seconds": float(sum(row["seconds"] for row in rows)),
        "usd": None if None in usd else float(sum(usd)),
        "rate": " and ".join(sorted({part for rate in rates for part in rate.split(" and ")})) or PRIOR,
    }


def _within(lines: Sequence[Row], left: float | None) -> list[Row]:
    """Each line with what is spent after it, and whether that is within the money; None where either is not known."""
    found: list[Row] = []
    after: float | None = 0.0
    for line in lines:
        after = None if after is None or line["usd"] is None else after + line["usd"]
        found.append({**line, "after_usd": after, "fits": None if after is None or left is None else after <= left})
    return found
