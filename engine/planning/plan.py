"""What a person asks before going on: what the rest costs, what an n can show, what k buys, and when to stop.

`plan_of` answers from the rows of a store and the run's spec alone, without a model. Every figure has its n, its
interval and its method; what was not measured is null with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from engine.budget.ledger import TOPIC, WARNED, Amount, Spent, cap_of, spent
from engine.budget.prices import NO_PRICE_KNOWN
from engine.core.figures import NO_GPU_PRICE, cents
from engine.evaluation.inference.levels import next_level
from engine.evaluation.inference.likeness import likeness
from engine.evaluation.plan import own_items
from engine.planning.best_of import best_of, pools_of
from engine.planning.forecast import (
    METHOD,
    Figure,
    Part,
    Pilot,
    fits_budget,
    in_usd,
    interval,
    measured,
    pilot_of,
    together,
    unknown,
)
from engine.planning.futility import FUTILE_BELOW, futility
from engine.planning.left import phase_left, pipeline_stages, stage_parts
from engine.planning.sample_size import sample_size
from engine.quality.labels import ranking_critic
from engine.review.prompt import Section
from engine.spec.constitution import CONDITIONS, load_constitution
from engine.spec.stage import StageSpec, settings_of
from engine.stats.intervals import needed_candidates
from engine.stats.power import t_effect, t_n
from engine.stats.shares import wilson
from store.read import Reader

ABLATION_ITEMS = (20, 50, 100)
COHEN = {"small": 0.2, "medium": 0.5, "large": 0.8}  # values of d_z (Cohen 1988, section 2.2.3)

Row = dict[str, Any]


def plan_of(
    reader: Reader,
    run_id: str,
    *,
    price_per_hour: float | None = None,
    cap_usd: float | None = None,
    overrides: Mapping[str, str] | None = None,
    futile_below: float = FUTILE_BELOW,
) -> Row:
    """All answers about a run as one JSON-ready object.

    {run, price_per_hour, budget, rates, costs, forecast, sample_size, best_of, ablations, futility, allocation}. Prices
    in US dollars, times in seconds of the device. `cap_usd` stands in for the store's cap, to ask what another one
    would allow; `overrides` for settings of the spec. Raises NotFound for no such run, SpecError for no such setting.
    """
    run = reader.run(run_id)
    spec = settings_of(run, overrides)
    pilot = pilot_of(reader, run["run_id"])
    cap = cap_of(reader, spec) if cap_usd is None else round(cap_usd * 1e6)
    budget = _money(spent(reader), cap)
    left = budget["left_usd"]
    parts = stage_parts(reader, run, spec, pilot)
    stages = pipeline_stages(reader, run, parts)
    return {
        "run": run["run_id"],
        "price_per_hour": price_per_hour,
        "budget": budget,
        "rates": _rates(run, pilot),
        "costs": _costs(pilot, price_per_hour),
        "forecast": _forecast(reader, run, parts, stages, price_per_hour, left),
        "sample_size": sample_size(spec, _alike(reader, run, spec), partial(own_items, reader, run["run_id"])),
        "best_of": _best_of(reader, run, spec, pilot, price_per_hour),
        "ablations": _ablations(reader, run, spec, pilot, price_per_hour, left),
        "futility": _futility(reader, run, spec, futile_below),
        "allocation": allocation(stages, price_per_hour, left),
    }


def _money(used: Spent, cap: int | None) -> Row:
    return {
        "cap_usd": None if cap is None else cap / 1e6,
        "spent_usd": used.all.settled / 1e6,
        "reserved_usd": used.all.reserved / 1e6,
        "left_usd": None if cap is None else max(cap - used.all.total, 0) / 1e6,
        "unpriced": any(unit["priced_on"] == NO_PRICE_KNOWN for unit in used.units),  # counted at 0 dollars
    }


def _rates(run: Row, pilot: Pilot) -> Row:
    """Shares with Wilson's interval, and how many candidates the target needs in all."""
    pairs, kept = (int(pilot.sums[pilot.column[name]]) for name in ("pairs", "kept"))
    needed = needed_candidates(pilot.accepted, pilot.n, run["target"])
    return {
        "accepted": _share(pilot.accepted, pilot.n, "nothing was judged yet"),
        "pairs_kept": _share(kept, pairs, "there are no pairs yet"),
        "candidates_needed": unknown("none was accepted yet", "candidates")
        if needed is None
        else measured(*needed, pilot.n, "candidates", "the acceptance rate's Wilson interval, carried over"),
    }


def _share(yes: int, n: int, reason: str) -> Figure:
    return measured(yes / n, *wilson(yes, n), n, "share", "Wilson score interval") if n else unknown(reason, "share")


def _costs(pilot: Pilot, price: float | None) -> Row:
    """Seconds and dollars of one accepted example, and of one kept pair: alone, and with the samples it is made of."""
    accepted = _ratio(pilot, "s_sample", "accepted", "none was accepted yet", pilot.n)
    n = int(pilot.sums[pilot.column["paired"]])
    alone = _ratio(pilot, "s_pair", "kept_of_paired", "no pair was kept yet", n)
    whole, sample = alone, pilot.ratio("s_sample", "eligible")
    pairs, yielded = pilot.ratio("s_pair", "kept_of_paired"), pilot.ratio("kept_of_paired", "paired")
    if alone["value"] is not None and sample is not None and pairs is not None and yielded is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.nan_to_num(pairs[1] + sample[1] / yielded[1], nan=np.inf)
        whole = measured(pairs[0] + sample[0] / yielded[0], *interval(drawn), n, "seconds", METHOD)
    figures = {"accepted_example": accepted, "kept_pair": whole, "kept_pair_alone": alone}
    found: Row = {name: {"seconds": figure, "usd": in_usd(figure, price)} for name, figure in figures.items()}
    found["tokens_per_accepted"] = _ratio(pilot, "responses", "accepted", "none was accepted yet", pilot.n, "tokens")
    return found


def _ratio(pilot: Pilot, over: str, under: str, reason: str, n: int, unit: str = "seconds") -> Figure:
    found = pilot.ratio(over, under)
    if found is None:
        return unknown(reason, unit)
    if not pilot.sums[pilot.column[over]]:
        return unknown("its phases have not ended yet, so their seconds are not known", unit)
    return measured(found[0], *interval(found[1]), n, unit, METHOD)


def _forecast(
    reader: Reader, run: Row, parts: Sequence[Part], stages: Sequence[Row], price: float | None, left: float | None
) -> Row:
    """To the end of the phase, of the stage and of the pipeline; a sum says what it leaves out as not measured."""
    phase, stage = phase_left(reader, run["run_id"]), together(list(parts))
    known = [one for one in stages if one["left"]["value"] is not None]
    pipeline = together([part for one in known for part in one["parts"]])
    missing = {f"stage {one['stage']}": one["left"]["reason"] for one in stages if one["left"]["value"] is None}
    missing |= {f"stage {one['stage']}, {k}": v for one in known for k, v in one["left"].get("missing", {}).items()}
    usd = in_usd(stage, price)
    return {
        "phase": {"seconds": phase, "usd": in_usd(phase, price)},
        "stage": {
            "seconds": stage,
            "usd": usd,
            "fits_budget": fits_budget(usd, left),
            "parts": [{"name": one.name, "seconds": one.figure(), "usd": in_usd(one.figure(), price)} for one in parts],
        },
        "pipeline": {
            "seconds": pipeline | {"missing": missing},
            "usd": in_usd(pipeline, price) | {"missing": missing},
            "stages": [
                {name: one[name] for name in ("stage", "run", "accepted", "target")}
                | {"seconds": one["left"], "usd": in_usd(one["left"], price)}
                for one in stages
            ],
        },
        "about": "time of the device; calls of reviewers and storage are in the ledger and not in the forecast",
    }


def _alike(reader: Reader, run: Row, spec: StageSpec) -> Row | None:
    if spec.evaluation is None:
        return None
    return likeness(reader, run["run_id"], reader.items_asked(run["run_id"]), spec.evaluation)


def _best_of(reader: Reader, run: Row, spec: StageSpec, pilot: Pilot, price: float | None) -> Row:
    """What one response more would bring, by the critic that ranks."""
    critic = ranking_critic(reader, run["run_id"], spec.critics.preferred("sample"))
    empty: Row = {"critic": critic, "by_k": [], "asked": spec.candidates.best_of if spec.candidates else None}
    if critic is None:
        return empty | {"reason": "no critic of samples is named"}
    pools = pools_of(reader, run["run_id"], critic)
    if not any(len(values) > 1 for values in pools.values()):
        return empty | {"reason": "no second response to an instruction was drawn and judged yet"}
    seconds = _seconds_of_draws(reader, run["run_id"], pilot)
    rows = best_of(pools, seconds, None if price is None else price / 3600)
    about = (
        "margins are what the critic sees, and the best of k is chosen by the same margin: a gain is an upper bound of "
        "what a reader would see"
    )
    return empty | {"by_k": rows, "reason": None, "seconds_n": len(seconds), "about": about}


def _seconds_of_draws(reader: Reader, run_id: str, pilot: Pilot) -> list[float]:
    """What each response drawn again took: its share, by tokens, of the seconds of the phase."""
    rows = reader.query(
        "SELECT source, n_tokens FROM candidates WHERE run_id = ? AND request_id IS NOT NULL ORDER BY candidate_id",
        [run_id],
    )
    whole = sum(row["n_tokens"] for row in rows)
    seconds = pilot.elapsed.get("candidates", (0.0, 0))[0]
    if not whole or not seconds:
        return []
    return [row["n_tokens"] * seconds / whole for row in rows if row["source"] == "best_of"]


def _ablations(reader: Reader, run: Row, spec: StageSpec, pilot: Pilot, price: float | None, left: float | None) -> Row:
    """What `cai ablate` costs for a principle, and how many of them the rest of the budget pays for.

    An ablation writes a critique and a revision of each item under three conditions and compares each with its
    original: three times what the phase of revisions does for one, so it costs three times its seconds per revision.
    """
    if spec.revisions is None:
        return {"reason": "this stage makes no revisions", "by_items": [], "done": [], "not_done": []}

    done = {
        row["principle_id"]: row["n"]
        for row in reader.query(
            "SELECT principle_id, max(n) AS n FROM ablation_results WHERE run_id = ? GROUP BY 1 ORDER BY 1",
            [run["run_id"]],
        )
    }
    known = [principle.id for principle in load_constitution().principles]
    found: Row = {"reason": None, "done": done, "not_done": [one for one in known if one not in done], "by_items": []}
    each = pilot.ratio("s_revisions", "n_revisions")
    if each is None or not each[0]:
        return found | {"reason": "no revision was made yet, so the cost of one is not known"}
    n = int(pilot.sums[pilot.column["went_revisions"]])
    found["needed"] = {name: t_n(dz).n for name, dz in COHEN.items()}
    for items in ABLATION_ITEMS:
        times = items * len(CONDITIONS)
        seconds = measured(times * each[0], *interval(times * each[1]), n, "seconds", METHOD)
        usd = in_usd(seconds, price)
        row = {"items": items, "seconds": seconds, "usd": usd, "fit": None, "fit_at_least": None}
        row["detectable_dz"] = t_effect(items).effect
        if left is not None and usd["value"]:
            row["fit"] = int(left // usd["value"])
            row["fit_at_least"] = None if usd["hi"] is None else int(left // usd["hi"])
        found["by_items"].append(row)
    return found


def _futility(reader: Reader, run: Row, spec: StageSpec, below: float) -> Row:
    """Conditional power at looks that were taken before the end. Nothing is looked at that was not looked at before."""
    settings = spec.evaluation
    if settings is None:
        return {"looks": [], "reason": "the spec has no section `evaluation`"}
    looks = reader.query(
        "SELECT * FROM evaluation_looks WHERE run_id = ? ORDER BY capability, before, after, look", [run["run_id"]]
    )
    results = reader.query(
        "SELECT capability, before, after, n, gained, lost FROM evaluation_results WHERE run_id = ? "
        "AND item_type = 'all'",
        [run["run_id"]],
    )
    found = []
    for result in results:
        place = {name: result[name] for name in ("capability", "before", "after")}
        mine = [look for look in looks if place.items() <= look.items()]
        if not mine or mine[-1]["fraction"] >= 1 or mine[-1]["n"] != result["n"]:
            continue
        planned = max(round(result["n"] / mine[-1]["fraction"]), result["n"])
        alpha = max(next_level(mine, 1.0, settings.alpha), 1e-9)  # that of the look at all items
        counts = result["gained"], result["lost"], result["n"], planned
        found.append(
            place
            | futility(
                *counts, gain=settings.expected_gain, loss=settings.expected_loss, alpha=alpha, power=settings.power,
                below=below,
            )
        )  # fmt: skip
    return {"looks": found, "reason": None if found else "no registered look was taken before all items were answered"}


def allocation(stages: Sequence[Row], price: float | None, left: float | None) -> Row:
    """How the rest of the budget goes over the stages: all of each where it fits, else the same share of each target.

    Stages that were not measured get nothing and are named; what is over after the others is what they may cost.
    """
    if left is None:
        return {"stages": [], "reason": "no cap is set"}
    if price is None:
        return {"stages": [], "reason": NO_GPU_PRICE}
    needs = [in_usd(one["left"], price) for one in stages]
    known = [need["value"] for need in needs if need["value"] is not None]
    if not known:
        return {"stages": [], "reason": "no stage was measured yet"}
    whole = float(np.sum(known))
    share = 1.0 if whole <= left else left / whole
    rows = []
    for one, need in zip(stages, needs, strict=True):
        given = None if need["value"] is None else need["value"] * share
        rows.append({"stage": one["stage"], "need": need, "usd": given, "share": None if given is None else share})
    unmeasured = [row["stage"] for row in rows if row["usd"] is None]
    return {"stages": rows, "share": share, "over_usd": max(left - whole, 0.0), "unmeasured": unmeasured,
            "reason": None}  # fmt: skip


def budget_of(reader: Reader, run_id: str) -> Row:
    """The ledger of a store as one JSON-ready object; the cap is that of the run's spec, or what it was raised to.

    {run, cap_usd, spent_usd, reserved_usd, left_usd, unpriced, of_run_usd, by_run, by_stage, by_phase, by_kind, units,
    decisions, warned}. Each of the sums is {settled_usd, reserved_usd}. Raises NotFound for no such run.
    """
    run = reader.run(run_id)
    used = spent(reader)

    def plain(sums: Mapping[Any, Amount]) -> dict[str, Row]:
        return {
            str(name): {"settled_usd": amount.settled / 1e6, "reserved_usd": amount.reserved / 1e6}
            for name, amount in sums.items()
        }

    decisions = reader.query('SELECT * FROM decisions WHERE topic = ? ORDER BY "at", decision_id', [TOPIC])
    warned = reader.query(
        'SELECT value AS share, name, "at" FROM metrics WHERE starts_with(name, ?) ORDER BY "at", value', [WARNED]
    )
    return {
        "run": run["run_id"],
        **_money(used, cap_of(reader, settings_of(run))),
        "of_run_usd": used.by_run.get(run["run_id"], Amount()).total / 1e6,
        "by_run": plain(used.by_run),
        "by_stage": plain(used.by_stage),
        "by_phase": plain(used.by_phase),
        "by_kind": plain(used.by_kind),
        "units": [{**row, "usd": row["micro_usd"] / 1e6} for row in used.units],
        "decisions": [
            {name: row[name] for name in ("run_id", "decision_id", "question", "answer", "reason", "decided_by")}
            | {"at": row["at"].isoformat()}
            for row in decisions
        ],
        "warned": [
            {"share": row["share"], "cap_usd": int(row["name"].rsplit("_", 1)[1]) / 1e6, "at": row["at"].isoformat()}
            for row in warned
        ],
    }


def forecast_section(reader: Reader, run_id: str, price_per_hour: float | None) -> Section:
    """What the rest of a run's stage takes and costs, forecast from its pilot; no part of a decision's evidence."""
    found = plan_of(reader, run_id, price_per_hour=price_per_hour)
    stage, pipeline = found["forecast"]["stage"], found["forecast"]["pipeline"]
    left = found["budget"]["left_usd"]
    lines = [
        f"- budget left: {'no cap' if left is None else cents(left)}",
        f"- this stage from here on: {_in_words(stage['seconds'])} s of the device, {_in_words(stage['usd'])} dollars",
        f"- the pipeline from here on: {_in_words(pipeline['usd'])} dollars",
        f"- one accepted example: {_in_words(found['costs']['accepted_example']['seconds'])} s of the device",
    ]
    return Section("Forecast from the pilot [95 % interval]", "\n".join(lines), quoted=False)


def _in_words(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"not known ({figure['reason']})"
    if figure["lo"] is None:
        return f"{figure['value']:,.3g}"
    upper = "no upper bound" if figure["hi"] is None else f"{figure['hi']:,.3g}"
    return f"{figure['value']:,.3g} [{figure['lo']:,.3g}, {upper}]"
