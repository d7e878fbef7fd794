"""What is settled before results exist: hypotheses, test, family, n, and the hashes of items and scorer.

A registration made after the tuned models have answered is worth nothing, so it is refused; and one whose time is not
before their first answer, or that names other items, makes no result a registered one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from engine.core.errors import EvaluationError
from engine.evaluation import ALL, BASE_CONDITIONS, CONTROL_CONDITIONS, TUNED_CONDITIONS
from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.evaluation.inference.levels import LOOKS, level_of_all
from engine.spec.sections import EvaluationSpec
from engine.stats.clusters import CR2, ClusterDesign, clustered_effect, clustered_power, clusters_needed, design_of
from engine.stats.power import mcnemar_n, mcnemar_power
from store.db import Store
from store.names import CONTROL_TRAININGS
from store.read import Reader

EACH = "each"  # in the place of an item type: every type that has enough templates, a hypothesis each
TEST = CR2
ALTERNATIVE = "two-sided"
CORRECTION = "Holm over the secondary hypotheses, tested only where the primary one is rejected"
# Below ten clusters no permutation of them reaches the level that Holm asks of one of some twenty hypotheses
# (0.045 / 20; two of 2^9 flips are 0.004, two of 2^10 0.002), so no test of so few could be confirmed by another.
UNIT = (
    "The unit of inference is the template, nested in its item type; types are fixed. Test and interval are of the "
    "mean difference over all items with the CR2 error and Satterthwaite's degrees of freedom. Where no template "
    "differs from its type, sign flips of templates decide. Beside it stand sign flips, and as descriptions McNemar's "
    f"test and Newcombe's interval, which take items for independent. What has fewer than {ENOUGH_CLUSTERS} templates "
    "is described and not tested."
)

Sizes = Mapping[str, Mapping[str, Sequence[int]]]  # by capability and type: how many items each template has
Row = dict[str, Any]


def body(
    run: Mapping[str, Any],
    spec: EvaluationSpec,
    item_set_sha256: str,
    scorer_sha256: str,
    decoding: Mapping[str, Any],
    conditions: Sequence[str],
    sizes: Sizes,
    hypothesis: str | None = None,
    likeness: Mapping[str, Any] | None = None,
) -> Row:
    """A registration, ready for JSON: what will be compared, how, on what, and what the test can show.

    The one primary hypothesis is that of `spec.capability` over all types, from base_formatted (else the first base
    condition) to the last tuned condition of `conditions`. Secondary ones are each item type within it that has enough
    templates, every other planned comparison of the capability over all types, and the primary comparison on other
    capabilities. `hypothesis` is the claim in a person's words, written by the program where it is None. `sizes` are of
    test items; `likeness` is what engine.evaluation.inference.likeness found, by default the spec's prior. Raises
    EvaluationError where no comparison can be planned: a base and a tuned condition, and enough test templates.
    """
    bases, tuned, others = comparisons(conditions)
    types = sizes.get(spec.capability, {})
    clusters = sum(map(len, types.values()))
    if not bases or not tuned or clusters < ENOUGH_CLUSTERS:
        raise EvaluationError(
            "there is no comparison to register",
            f"It needs a base condition, a tuned one and test items of {ENOUGH_CLUSTERS} templates at least of the "
            f"capability that the claim is about; there are {clusters}. Nothing was stored.",
        )
    n_by_capability = {name: sum(map(sum, of.values())) for name, of in sizes.items()}
    few = [name for name, of in types.items() if len(of) < ENOUGH_CLUSTERS]
    before, after = "base_formatted" if "base_formatted" in bases else bases[0], tuned[-1]
    others.remove((before, after))

    def named(role: str, capability: str, pair: tuple[str, str], item_type: str) -> Row:
        return {
            "role": role, "capability": capability, "before": pair[0], "after": pair[1], "item_type": item_type,
            "test": TEST, "alternative": ALTERNATIVE,
        }  # fmt: skip

    hypotheses = [
        named("primary", spec.capability, (before, after), ALL),
        *([named("secondary", spec.capability, (before, after), EACH)] if len(few) < len(types) else []),
        *(named("secondary", spec.capability, pair, ALL) for pair in (*others, *controlled(conditions))),
        *(named("secondary", name, (before, after), ALL) for name in n_by_capability if name != spec.capability),
    ]
    alike = dict(likeness or {"icc": spec.expected_icc, "prior": spec.expected_icc, "pilot": None})
    return {
        "run": {name: run.get(name) for name in ("run_id", "spec", "spec_sha256", "model", "fingerprint", "seed")},
        "statement": hypothesis or _statement(spec, before, after),
        "hypotheses": hypotheses,
        "conditions": list(conditions),
        "alpha": spec.alpha,
        "power": spec.power,
        "n": n_by_capability,
        "clusters": {name: {kind: len(one) for kind, one in of.items()} for name, of in sizes.items()},
        "descriptive": few,
        "unit": UNIT,
        "likeness": alike,
        "expected": {"gain": spec.expected_gain, "loss": spec.expected_loss, "icc": alike["icc"]},
        "forecast": forecast(spec, design_over(types), alike["icc"]),
        "test": TEST,
        "alternative": ALTERNATIVE,
        "family": "one primary hypothesis; the secondary ones together",
        "correction": CORRECTION,
        "margin": spec.margin,
        "items_sha256": item_set_sha256,
        "scorer_sha256": scorer_sha256,
        "decoding": dict(decoding),
        "looks": LOOKS,
        "stop_rule": "Every planned item is answered once under every condition; nothing is added or left out after.",
    }  # fmt: skip


def sizes_of(items: Iterable[Any]) -> dict[str, dict[str, list[int]]]:
    """How many items each template has, by capability and type; of items with those three names."""
    counted: dict[str, dict[str, dict[str, int]]] = {}
    for item in items:
        of_type = counted.setdefault(item.capability, {}).setdefault(item.item_type, {})
        of_type[item.template] = of_type.get(item.template, 0) + 1
    return {name: {kind: list(of.values()) for kind, of in types.items()} for name, types in counted.items()}


def design_over(types: Mapping[str, Sequence[int]]) -> ClusterDesign:
    """How the items of some types lie in templates."""
    stratum = np.repeat(np.arange(len(types)), [len(of) for of in types.values()])
    return design_of(np.array([size for of in types.values() for size in of], dtype=np.float64), stratum)


def forecast(spec: EvaluationSpec, design: ClusterDesign, icc: float) -> Row:
    """What a comparison on such items shows: power, what is needed for the wanted one, and the smallest difference.

    At the level of the look at all items. `independent` is what McNemar's exact test would need if items were draws of
    their own, which says what their being alike costs. What is needed is None where no number would do, with the
    `reason`; the difference where none reaches the power.
    """
    gain, loss, level = spec.expected_gain, spec.expected_loss, level_of_all(spec.alpha)
    found: Row = {
        "level": level, "n": design.n, "clusters": design.clusters, "icc": icc, "design_effect": design.effect(icc),
        "df": design.df, "power": clustered_power(gain, loss, design, icc, level).power,
        "discordant": gain + loss, "n_needed": None, "clusters_needed": None, "independent": None,
        "detectable": clustered_effect(design, gain + loss, icc, spec.power, level).effect,
    }  # fmt: skip
    try:
        needed = clusters_needed(gain, loss, design, icc, spec.power, level).design
        alone_needed = mcnemar_n(gain, loss, spec.power, level).n
    except ValueError as error:  # gain and loss are equal, or nearly so
        return found | {"reason": str(error)}
    alone = {"power": mcnemar_power(gain, loss, design.n, level).power, "n_needed": alone_needed}
    return found | {"n_needed": needed.n, "clusters_needed": needed.clusters, "independent": alone}


def registered_types(body: Mapping[str, Any], hypothesis: Mapping[str, Any], types: Sequence[str]) -> list[str]:
    """The item types that a registered hypothesis is about; "each" leaves out those that were to be described only."""
    if hypothesis["item_type"] != EACH:
        return [hypothesis["item_type"]]
    return [name for name in types if name not in body.get("descriptive", ())]


def comparisons(conditions: Collection[str]) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Of these the base and the tuned conditions, and the pairs of them that are compared, before and after."""
    bases, tuned = ([name for name in of if name in conditions] for of in (BASE_CONDITIONS, TUNED_CONDITIONS))
    return bases, tuned, [(before, after) for before in bases for after in tuned] + list(pairwise(tuned))


def controlled(conditions: Collection[str]) -> list[tuple[str, str]]:
    """The pairs, before and after, that say what SFT is worth beyond a control: what is registered of controls."""
    return [(name, "sft") for name in CONTROL_CONDITIONS if name in conditions and "sft" in conditions]


def row(run_id: str, body: Mapping[str, Any], now: datetime) -> Row:
    """A registration as a row of `registrations`; its id begins with the time, its hash is that of the body as JSON."""
    sha256 = hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    registration_id = f"{now:%Y%m%dT%H%M%S%f}-{sha256[:8]}"
    return {"run_id": run_id, "registration_id": registration_id, "body": dict(body), "sha256": sha256, "at": now}


def current(reader: Reader, run_id: str) -> Row | None:
    """The run's newest registration, its body parsed; None where there is none."""
    row = reader.registration(run_id)
    return None if row is None else {**row, "body": json.loads(row["body"])}


def register(reader: Reader, store: Store, run_id: str, body: Mapping[str, Any], now: datetime) -> Row:
    """Store a registration and return its row; an earlier one stays in the table.

    Raises EvaluationError, with nothing stored, where a tuned model has answered test items already.
    """
    answered = reader.query(
        "SELECT a.condition, count(*) AS n FROM evaluation_answers a "
        "LEFT JOIN evaluation_items i USING (items_sha256, item_id) "
        "WHERE a.run_id = ? AND a.condition IN (SELECT unnest(?::VARCHAR[])) AND coalesce(i.split, 'test') = 'test' "
        "GROUP BY 1 ORDER BY 1",
        [run_id, [*TUNED_CONDITIONS, *CONTROL_TRAININGS]],
    )
    if answered:
        found = ", ".join(f"{one['n']} test answers of {one['condition']}" for one in answered)
        raise EvaluationError(
            f"results exist ({found}): a registration now would be worth nothing",
            "Nothing was stored. The report labels these results exploratory. Register before a tuned model answers.",
        )
    made = row(run_id, body, now)
    store.append({"registrations": [made]})
    return made


def body_of(registration: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body of a registration, given as its row or as the body itself."""
    found: Mapping[str, Any] = registration.get("body", registration)
    return found


def counts(registration: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a registration was made before any tuned model's test answer, and names the items that were asked.

    Where the registration or the answers have no time or no hash, that is not held against it.
    """
    made, items = registration.get("at"), body_of(registration).get("items_sha256")
    for one in answers:
        if one.get("split", "test") != "test" or one["condition"] not in (*TUNED_CONDITIONS, *CONTROL_TRAININGS):
            continue
        if made is not None and one.get("at") is not None and one["at"] <= made:
            return False
        if items is not None and one.get("items_sha256") not in (None, items):
            return False
    return True


def deviations(body: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """What was done otherwise than registered, a sentence each; empty where nothing was.

    `actual` has those of items_sha256, scorer_sha256, n, decoding, conditions, alpha, test, correction and margin that
    are known; a name that is absent is not compared.
    """
    told = {
        "items_sha256": "The items are others than registered",
        "scorer_sha256": "The verifiers were changed after the registration",
        "alpha": "The level of the test is another than registered",
        "test": "The test is another than registered",
        "correction": "The correction is another than registered",
        "margin": "The margin for no regression is another than registered",
    }
    found = [
        f"{words}: {_short(actual[name])} instead of {_short(body[name])}."
        for name, words in told.items()
        if name in actual and actual[name] != body[name]
    ]
    for name, absent, words in (
        ("n", 0, "{done} items of {key} were compared instead of {planned}."),
        ("decoding", None, "Decoding: {key} was {done} instead of {planned}."),
    ):
        for key in sorted({*body[name], *actual[name]}) if name in actual else ():
            planned, done = body[name].get(key, absent), actual[name].get(key, absent)
            if planned != done:
                found.append(words.format(key=key, done=done, planned=planned))
    if "conditions" in actual:
        missing = [name for name in body["conditions"] if name not in actual["conditions"]]
        added = [name for name in actual["conditions"] if name not in body["conditions"]]
        found += [f"The condition {name} was registered and not compared." for name in missing]
        found += [f"The condition {name} was compared and not registered." for name in added]
    return found


def _statement(spec: EvaluationSpec, before: str, after: str) -> str:
    return (
        f"On held-out items of {spec.capability}, the shares of right answers of {before} and {after} differ "
        f"({TEST}, templates as clusters, {ALTERNATIVE}, alpha {spec.alpha:g}); expected: "
        f"a gain of {100 * spec.expected_gain:g} %, "
        f"a loss of {100 * spec.expected_loss:g} %."
    )


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)
