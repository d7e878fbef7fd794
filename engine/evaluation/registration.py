"""What is settled before results exist: hypotheses, test, family, n, and the hashes of items and scorer.

A registration made after the tuned models have answered is worth nothing, so it is refused; and one whose time is not
before their first answer, or that names other items, makes no result a registered one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from engine.core.errors import EvaluationError
from engine.evaluation import ALL, BASE_CONDITIONS, TUNED_CONDITIONS
from engine.spec.sections import EvaluationSpec
from engine.stats.power import mcnemar_effect, mcnemar_n, mcnemar_power
from store.db import Store
from store.read import Reader

EACH = "each"  # in the place of an item type: every type of the frozen set, a hypothesis each
TEST = "McNemar exact"
ALTERNATIVE = "two-sided"
CORRECTION = "Holm over the secondary hypotheses, tested only where the primary one is rejected"
LOOKS = (
    "Results on fewer items than planned are an early look; levels by O'Brien-Fleming spending, added up. "
    "Computed again on changed answers or verdicts, they are one more look, at half the level of the one before."
)

Row = dict[str, Any]


def body(
    run: Mapping[str, Any],
    spec: EvaluationSpec,
    item_set_sha256: str,
    scorer_sha256: str,
    decoding: Mapping[str, Any],
    conditions: Sequence[str],
    n_by_capability: Mapping[str, int],
    hypothesis: str | None = None,
) -> Row:
    """A registration, ready for JSON: what will be compared, how, on what, and what the test can show.

    The one primary hypothesis is that of `spec.capability` over all types, from base_formatted (else the first base
    condition) to the last tuned condition of `conditions`. Secondary ones are each item type within it, every other
    planned comparison of the capability over all types, and the primary comparison on other capabilities.
    `hypothesis` is the claim in a person's words, written by the program where it is None. `n_by_capability` counts
    test items. Raises EvaluationError where no comparison can be planned: a base and a tuned condition, and test items.
    """
    bases, tuned, others = comparisons(conditions)
    n = n_by_capability.get(spec.capability, 0)
    if not bases or not tuned or n < 1:
        raise EvaluationError(
            "there is no comparison to register",
            "It needs a base condition, a tuned one and test items of the capability that the claim is about. "
            "Nothing was stored.",
        )
    before, after = "base_formatted" if "base_formatted" in bases else bases[0], tuned[-1]
    others.remove((before, after))

    def named(role: str, capability: str, pair: tuple[str, str], item_type: str) -> Row:
        return {
            "role": role, "capability": capability, "before": pair[0], "after": pair[1], "item_type": item_type,
            "test": TEST, "alternative": ALTERNATIVE,
        }  # fmt: skip

    hypotheses = [
        named("primary", spec.capability, (before, after), ALL),
        named("secondary", spec.capability, (before, after), EACH),
        *(named("secondary", spec.capability, pair, ALL) for pair in others),
        *(named("secondary", name, (before, after), ALL) for name in n_by_capability if name != spec.capability),
    ]
    gain, loss = spec.expected_gain, spec.expected_loss
    shown = mcnemar_effect(n, gain + loss, spec.power, spec.alpha).effect
    needed = None if gain == loss else mcnemar_n(gain, loss, spec.power, spec.alpha).n
    return {
        "run": {name: run.get(name) for name in ("run_id", "spec", "spec_sha256", "model", "fingerprint", "seed")},
        "statement": hypothesis or _statement(spec, before, after),
        "hypotheses": hypotheses,
        "conditions": list(conditions),
        "alpha": spec.alpha,
        "power": spec.power,
        "n": dict(n_by_capability),
        "expected": {"gain": gain, "loss": loss},
        "forecast": {
            "power": mcnemar_power(gain, loss, n, spec.alpha).power, "n_needed": needed, "detectable": shown,
            "discordant": gain + loss,
        },
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


def comparisons(conditions: Collection[str]) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Of these the base and the tuned conditions, and the pairs of them that are compared, before and after."""
    bases, tuned = ([name for name in of if name in conditions] for of in (BASE_CONDITIONS, TUNED_CONDITIONS))
    return bases, tuned, [(before, after) for before in bases for after in tuned] + list(pairwise(tuned))


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
        [run_id, list(TUNED_CONDITIONS)],
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
        if one.get("split", "test") != "test" or one["condition"] not in TUNED_CONDITIONS:
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
        f"({TEST}, {ALTERNATIVE}, alpha {spec.alpha:g}); expected: a gain of {100 * spec.expected_gain:g} %, "
        f"a loss of {100 * spec.expected_loss:g} %."
    )


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)
