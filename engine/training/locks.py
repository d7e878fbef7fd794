"""What must hold before a model is trained. A lock that is shut names what it found and how it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.core.errors import LOCKED, Locked
from engine.core.figures import NO_PRICE
from engine.evaluation import gap
from engine.evaluation.plan import answers_of, own_items
from engine.evaluation.verifiers import scorer_sha256
from engine.models import addresses
from engine.quality.gates import evidence_sha256, recompute
from engine.quality.pair_selection import recheck_pairs
from engine.spec.stage import StageSpec
from engine.training.examples import Examples, near
from store.names import CONTROL_TRAININGS, SUPERVISED
from store.outcomes import FAILING, gap_figure, gate_result, opens, tally, too_few
from store.read import Reader


@dataclass(frozen=True, slots=True)
class Lock:
    """One condition. `key` says how to open it, or that nothing does."""

    name: str
    open: bool
    found: str
    key: str


def locks(
    reader: Reader,
    run: Mapping[str, Any],
    spec: StageSpec,
    method: str,
    found: Examples,
    *,
    hours: float | None = None,
    price_per_hour: float | None = None,
    money_left: float | None = None,
) -> list[Lock]:
    """All locks of a training of a run, in the order in which a person meets them.

    `hours` is how long training is forecast to take; where it, the price or the money that is left is not known, the
    budget locks nothing.
    """
    run_id = run["run_id"]
    settings = spec.sft if method in SUPERVISED else spec.dpo
    assert settings is not None
    return [
        *_served(run),
        *_control(spec, method, found),
        _guard(reader, run_id),
        *_gate(reader, run_id, spec, method),
        *_gap(reader, run_id, spec),
        _split(found),
        _apart(reader, run_id, spec, found),
        *_evaluated(spec, found),
        Lock(
            "no empty response",
            not found.empty,
            f"{len(found.empty)} examples have a side without text" + _such_as(found.empty),
            "Reject them (a rule or a threshold: `cai recheck`), and let the gate decide again.",
        ),
        Lock(
            "enough examples",
            len(found.train) >= settings.examples_at_least,
            f"{len(found.train)} to train on, at least {settings.examples_at_least} wanted",
            f"Take the run further (`cai resume {run_id}` with a larger --target), or --set "
            f"{'sft' if method in SUPERVISED else 'dpo'}.examples_at_least.",
        ),
        _budget(hours, price_per_hour, money_left),
    ]


def require_open(found: Sequence[Lock]) -> None:
    """Raise Locked, which names the first lock that is shut and how to open it."""
    shut = [lock for lock in found if not lock.open]
    if shut:
        others = ", ".join(lock.name for lock in shut[1:])
        more = f" ({len(shut) - 1} more locks are shut: {others})" if others else ""
        raise Locked(f"{LOCKED}: {shut[0].name}: {shut[0].found}{more}", shut[0].key)


def _served(run: Mapping[str, Any]) -> list[Lock]:
    """A model behind servers has no weights here."""
    if not addresses.are_addresses(run["model"]):
        return []
    found = f"the run's model is served by {run['model']}: there are no weights here to train"
    key = "Nothing opens it for this run. `cai export` writes its data; a run with --model FOLDER can be trained here."
    return [Lock("weights to train", False, found, key)]


def _control(spec: StageSpec, method: str, found: Examples) -> list[Lock]:
    """A control is trained where the spec asks for it, and where it learns from something else than SFT."""
    if method not in CONTROL_TRAININGS:
        return []
    on = spec.evaluation is not None and method in spec.evaluation.controls
    told = "evaluation.controls names it" if on else "the spec's evaluation.controls does not name it"
    switch = f"--set evaluation.controls=[{method}], here and with `cai evaluate`."
    other = "Nothing opens it: every candidate that it would learn from was accepted, so it would be SFT once more."
    return [
        Lock("the control is switched on", on, told, switch),
        Lock("it learns from other examples than SFT", found.contrast > 0, found.drawn, other),
    ]


def _guard(reader: Reader, run_id: str) -> Lock:
    rows = reader.query("SELECT check_id, passed FROM guard_checks WHERE run_id = ?", [run_id])
    failed = [row["check_id"] for row in rows if row["passed"] is False]
    decided = [row for row in rows if row["passed"] is not None]
    told = f"{len(decided)} checks passed" if decided else "the contamination guard has not run"
    if failed:
        told = f"{len(failed)} checks of the contamination guard failed" + _such_as(failed)
    return Lock(
        "the guard passed",
        bool(decided) and not failed,
        told,
        "No approval opens this lock: use weights of a base model (docs/BASE_MODEL_TRUTH.md).",
    )


def _gate(reader: Reader, run_id: str, spec: StageSpec, method: str) -> list[Lock]:
    """The gate of the data that is trained on, and whether its rows still say what it was decided on."""
    passed = "the data gate passed"
    wanted = ("final", "pilot") if method in SUPERVISED else ("final pairs", "pilot pairs")
    rows = reader.gates(run_id)
    name = next((one for one in wanted if any(row["gate"] == one for row in rows)), None)
    if name is None:
        what = "the data gate" if method in SUPERVISED else "the gate of the preference pairs"
        return [Lock(passed, False, f"{what} has not been decided", f"Go on with `cai resume {run_id}`.")]
    checks = [row for row in rows if row["gate"] == name]
    failed = [row["check_name"] for row in checks if row["result"] in FAILING]
    result = gate_result(checks)
    now = (recompute if method in SUPERVISED else recheck_pairs)(reader, run_id, spec)
    current = evidence_sha256(now.checks) == checks[0]["evidence_sha256"]
    few = [row["check_name"] for row in checks if too_few(row)]
    outcome = f"{result}, {tally(checks)}" + (f": {', '.join(failed or few)}" if failed or few else "")
    return [
        Lock(
            passed,
            opens(checks),
            f"the {name} gate {outcome}",
            "Look at what counts against it in the room Thresholds, correct the spec, and let the gate decide again.",
        ),
        Lock(
            "the evidence is current",
            current,
            f"the rows {'say' if current else 'no longer say'} what the {name} gate was decided on",
            f"Let the gate decide again on the rows as they are: `cai resume {run_id}`.",
        ),
    ]


def _gap(reader: Reader, run_id: str, spec: StageSpec) -> list[Lock]:
    """Whether the base was shown to lack what is to be trained, on the items and by the scorer that there are now."""
    if spec.evaluation is None:
        return []
    name, ask = "the gap gate passed", f"Ask the base the held-out items: `cai evaluate {run_id}`."
    checks = [row for row in reader.gates(run_id) if row["gate"] == gap.GATE]
    if not checks:
        return [Lock(name, False, "the base was not asked the held-out items yet", ask)]
    frozen = own_items(reader, run_id)
    answers = answers_of(reader, run_id, frozen.sha256)
    evidence = gap.gap_evidence(answers, frozen.sha256, scorer_sha256())
    if any(row["evidence_sha256"] != evidence for row in checks):
        return [Lock(name, False, "items, scorer or answers are others than it was decided on", ask)]
    # Settings may be changed for one evaluation; what opens the lock is the gate of the spec that is trained by.
    wanted = {(one.name, one.op, one.threshold) for one in gap.gap_checks(answers, spec.evaluation)}
    if wanted != {(row["check_name"], row["op"], row["threshold"]) for row in checks}:
        return [Lock(name, False, "it was decided by other conditions or thresholds than the spec's", ask)]
    planned = len(frozen.of(spec.evaluation.capability, "dev", spec.evaluation.items_per_type))
    if fewest := [row["n"] for row in checks if row["n"] < planned]:
        return [Lock(name, False, f"it was decided on {min(fewest)} of {planned} development items", ask)]
    failed = [row["check_name"] for row in checks if row["result"] in FAILING]
    told = ", ".join(f"{row['check_name']} {gap_figure(row)}" for row in checks if row["measured"] is not None)
    untested = [f"{row['check_name']} not tested: {row['untested']}" for row in checks if row["untested"]]
    return [Lock(name, opens(checks), "; ".join([told, *untested]), f"{gap.what_instead(failed)}.")]


def _split(found: Examples) -> Lock:
    outside = sorted({split or "none" for _, split in found.instructions.values()} - {"train", "validation"})
    learned = [row["id"] for row in found.train if found.instructions[found.of[row["id"]]][1] != "train"]
    return Lock(
        "only the training split",
        not outside and not learned,
        f"{len(learned)} examples are of other splits" + _such_as(learned) if learned else "every example is",
        "No approval opens this lock: training on held-out instructions would void the evaluation.",
    )


def _apart(reader: Reader, run_id: str, spec: StageSpec, found: Examples) -> Lock:
    """No instruction that is trained on stands in the test split, exactly or nearly (ROUGE-L)."""
    at_least = spec.instructions.duplicate_at
    sql = "SELECT text FROM instructions WHERE run_id = ? AND split = 'test' AND status = 'distinct' ORDER BY ordinal"
    held_out = [row["text"] for row in reader.query(sql, [run_id])]
    both = near({name: text for name, (text, _) in found.instructions.items()}, held_out, at_least)
    return Lock(
        "the test split is apart",
        not both,
        f"{len(both)} instructions are in the test split, too, or nearly (ROUGE-L {at_least:g})" + _such_as(both)
        if both
        else f"none of {len(found.instructions)} instructions is near one of {len(held_out)} of the test split",
        "No approval opens this lock: the evaluation would measure what was learned by heart.",
    )


def _evaluated(spec: StageSpec, found: Examples) -> list[Lock]:
    """That what the evaluation asks is not trained on: what was near to it was left out, which is worth telling."""
    if spec.evaluation is None:
        return []
    told = f"{len(found.left_out)} instructions that it asks, or nearly, are left out" + _such_as(found.left_out)
    return [Lock("the evaluation's items are apart", True, told, "")]


def _budget(hours: float | None, price: float | None, left: float | None) -> Lock:
    if hours is None or price is None or left is None:
        return Lock("the budget allows it", True, f"{NO_PRICE}, or no budget", "")
    cost = hours * price
    return Lock(
        "the budget allows it",
        cost <= left,
        f"about ${cost:,.2f} of ${left:,.2f} that are left",
        "Train on fewer epochs or examples, or raise the budget.",
    )


def _such_as(ids: Sequence[str]) -> str:
    return f", such as {ids[0]}" if ids else ""
