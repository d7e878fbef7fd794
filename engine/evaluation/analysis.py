"""What two conditions' answers on the same test items say: tests, intervals, corrections, levels of looks.

Pure functions of rows. `a` and `b` of engine.stats are the conditions after and before: above zero, the later one is
better. The hypotheses of a registration are tested by serial gatekeeping (Maurer, Hothorn and Lehmacher 1995;
Dmitrienko and Tamhane 2007): the primary one alone at the full level, and, only where it is rejected, the secondary
ones together by Holm. That bounds the family-wise error of all registered claims at alpha, whichever of them are true
and however they depend on each other. All else is exploratory: no corrected p value, but a false discovery rate.

The unit of inference is the template, within its type: items of one template gain or lose together, so they are no
draws of their own. What decides is the cluster-robust test of engine.stats.clusters. McNemar's test and Newcombe's
interval, which take items for independent, stand beside it as descriptions: where effects vary over templates they
rejected a true hypothesis in up to 20 % of simulated evaluations at the level of 5 %
(tests/engine/evaluation/test_evaluation_simulations.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.core.errors import EvaluationError
from engine.evaluation import ALL, CAPABILITIES, REFERENCE
from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.evaluation.inference.differences import by_items, clustered_test, decided, described, not_worse, planning
from engine.evaluation.inference.levels import next_level
from engine.evaluation.registration import body_of, comparisons, controlled, counts, registered_types
from engine.spec.sections import EvaluationSpec
from engine.stats.clusters import Clustered, Clusters, summed
from engine.stats.paired import DRAWS, Pairs, benjamini_hochberg, holm
from store.names import CONTROL_TRAININGS

PRIMARY, SECONDARY, EXPLORATORY, DESCRIPTIVE = "primary", "secondary", "exploratory", "descriptive"
CORRECTIONS = {
    PRIMARY: "none, tested alone before the others",
    SECONDARY: "Holm, after the primary",
    EXPLORATORY: "",
    DESCRIPTIVE: "none: too few templates to test",
}
CONTROL_ONLY = "none: a control that was not registered"
CEILING_ONLY = "none: a ceiling, never a claim"
NOT_ANSWERED = 4  # among an item's outcomes: 2 for right after, and 1 for right before

Row = dict[str, Any]
Key = tuple[str, str, str, str]  # capability, before, after, item type


@dataclass(frozen=True)
class Analysis:
    """Rows of `evaluation_results`, and of `evaluation_looks` those that are new; both without their run_id."""

    results: list[Row]
    looks: list[Row]


@dataclass(frozen=True)
class Panel:
    """Test answers of one capability as arrays, items sorted by type and id.

    `right` has for each condition one number an item: 1 right, 0 wrong, -1 not answered or undecided. `type_of`
    numbers `types`; `template_of` numbers templates, each within its type.
    """

    capability: str
    items: tuple[str, ...]
    types: tuple[str, ...]
    type_of: NDArray[np.int64]
    template_of: NDArray[np.int64]
    type_of_template: NDArray[np.int64]
    right: Mapping[str, NDArray[np.int8]]
    source: str  # hashes of the item set and the scorer
    _names: dict[bytes, bytes] = field(default_factory=dict, repr=False, compare=False)

    def names_sha256(self, chosen: NDArray[np.bool_]) -> bytes:
        """The hash of the chosen items' ids, computed once for each choice."""
        key = chosen.tobytes()
        if key not in self._names:
            text = "\n".join(self.items[index] for index in np.flatnonzero(chosen))
            self._names[key] = hashlib.sha256(f"{self.source}\n{text}".encode()).digest()
        return self._names[key]


def compare(
    answers: Sequence[Mapping[str, Any]],
    spec: EvaluationSpec,
    registration: Mapping[str, Any] | None,
    *,
    looks: Sequence[Mapping[str, Any]] = (),
    draws: int = DRAWS,
    now: datetime,
) -> Analysis:
    """All comparisons of the conditions that have answers, over all items and for each item type.

    `answers` are rows of evaluation_answers joined with their items: condition, item_id, capability, item_type,
    template, split, correct, and where known items_sha256, scorer_sha256 and at. Only the split "test" counts. Compared
    are every base condition with every tuned one and sft with dpo; as descriptions unless registered every control with
    sft and the base with every control that was trained; as descriptions the base and the last tuned condition with the
    reference.
    `registration` is a row of `registrations` with its body parsed (or the body); one that was not made before the
    first tuned answer, or that names other items, is treated as none. Without one every row is exploratory, also what
    would have been the primary one: p_corrected is null, and `alpha` is the spec's, for orientation. `looks` are all
    earlier looks of the run; calling this on new evidence takes one, so it is not for watching an evaluation under way.
    `draws` of 0 leaves the bootstrap intervals null.

    Raises EvaluationError where answers to be compared are of other item sets or were verified by other code.
    """
    if registration is not None and not counts(registration, answers):
        registration = None
    return analyse(panels(answers), spec, registration, looks=looks, draws=draws, now=now)


def panels(answers: Iterable[Mapping[str, Any]]) -> list[Panel]:
    """Test answers by capability. Raises EvaluationError where they are of two item sets or two scorers."""
    items: dict[str, dict[str, tuple[str, str]]] = {}
    right: dict[str, dict[str, dict[str, int]]] = {}
    sources: dict[tuple[str, str], str] = {}
    for row in answers:
        if row["split"] != "test":
            continue
        capability, condition, item_id = row["capability"], row["condition"], row["item_id"]
        sources.setdefault((row.get("items_sha256") or "", row.get("scorer_sha256") or ""), condition)
        items.setdefault(capability, {})[item_id] = (row["item_type"], row["template"])
        right.setdefault(capability, {}).setdefault(condition, {})[item_id] = (
            -1 if row["correct"] is None else int(row["correct"])
        )
    if len(sources) > 1:
        (one, first), (other, second) = list(sources.items())[:2]
        what = "asked other items" if one[0] != other[0] else "verified by other code"
        raise EvaluationError(
            f"the answers of {first} and {second} can't be compared: they were {what}",
            "Nothing was changed. `cai evaluate` scores stored answers again without generating, and asks the rest.",
        )
    source = "\n".join(next(iter(sources), ("", "")))
    order = {name: place for place, name in enumerate(CAPABILITIES)}
    return [
        _panel(name, items[name], right[name], source) for name in sorted(items, key=lambda one: order.get(one, 9))
    ]  # fmt: skip


def _panel(
    name: str, items: Mapping[str, tuple[str, str]], right: Mapping[str, Mapping[str, int]], source: str
) -> Panel:
    ids = sorted(items, key=lambda item: (items[item][0], item))
    types = tuple(sorted({item_type for item_type, _ in items.values()}))
    number = {item_type: place for place, item_type in enumerate(types)}
    outcomes = {
        condition: np.array([found.get(item, -1) for item in ids], dtype=np.int8) for condition, found in right.items()
    }
    type_of = np.array([number[items[item][0]] for item in ids])
    templates = {one: place for place, one in enumerate(dict.fromkeys(items[item] for item in ids))}
    template_of = np.array([templates[items[item]] for item in ids])
    type_of_template = np.array([number[item_type] for item_type, _ in templates])
    return Panel(name, tuple(ids), types, type_of, template_of, type_of_template, outcomes, source)


def analyse(
    found: Sequence[Panel],
    spec: EvaluationSpec,
    registration: Mapping[str, Any] | None,
    *,
    looks: Sequence[Mapping[str, Any]] = (),
    draws: int = DRAWS,
    now: datetime,
    intervals: bool = True,
) -> Analysis:
    """What `compare` does once answers are arrays.

    Without `intervals` rows have counts, tests, roles and levels only: for simulations of thousands of evaluations, not
    for the store.
    """
    body = body_of(registration) if registration is not None else {}
    alpha = float(body.get("alpha", spec.alpha))
    roles = _roles(body, found)
    rows: dict[Key, Row] = {}
    behind: dict[Key, tuple[Pairs, Clusters, Clustered | None]] = {}
    for panel in found:
        bases, tuned, pairs_of = comparisons(panel.right)
        learned = [name for name in CONTROL_TRAININGS if name in panel.right and "base_formatted" in bases]
        controls = [*controlled(panel.right), *(("base_formatted", name) for name in learned)]
        ceiling = [(before, REFERENCE) for before in (*bases, *tuned[-1:]) if REFERENCE in panel.right]
        beside = dict.fromkeys(controls, CONTROL_ONLY) | dict.fromkeys(ceiling, CEILING_ONLY)
        for before, after in (*pairs_of, *beside):
            for item_type, table, clusters, evidence in _tables(panel, before, after):
                key = panel.capability, before, after, item_type
                few = len(clusters.sizes) < ENOUGH_CLUSTERS
                usual = DESCRIPTIVE if (before, after) in beside else EXPLORATORY
                role = DESCRIPTIVE if few else roles.get(key, usual)
                rows[key], tested = _row(key, role, table, clusters, evidence, now)
                if role == DESCRIPTIVE and not few:
                    rows[key]["correction"] = beside[before, after]
                behind[key] = table, clusters, tested
    new = _set_levels(rows, roles, body, looks, alpha, now)
    _correct(rows, roles)
    if intervals:
        expected = {"gain": spec.expected_gain, "loss": spec.expected_loss, "icc": spec.expected_icc}
        expected |= body.get("expected", {})
        for key, (table, clusters, tested) in behind.items():
            row = rows[key]
            row.update(described(table, clusters, draws))
            row.update(planning(table, clusters, tested, row["alpha"], expected, spec.power))
            row.update(not_worse(table, clusters, tested, float(body.get("margin", spec.margin))))
    return Analysis(list(rows.values()), new)


def _roles(body: Mapping[str, Any], found: Sequence[Panel]) -> dict[Key, str]:
    """The role of each registered hypothesis, "each" being every type that was registered to be tested."""
    types = {panel.capability: panel.types for panel in found}
    roles: dict[Key, str] = {}
    for one in body.get("hypotheses", ()):
        for name in registered_types(body, one, types.get(one["capability"], ())):
            roles[one["capability"], one["before"], one["after"], name] = one["role"]
    return roles


def _tables(panel: Panel, before: str, after: str) -> Iterable[tuple[str, Pairs, Clusters, str]]:
    """For all items and each type: its name, counts and templates of items answered under both, and their evidence."""
    a, b = panel.right[after], panel.right[before]
    both = (a >= 0) & (b >= 0)
    if not both.any():
        return
    outcome = np.where(both, 2 * a + b, NOT_ANSWERED).astype(np.int64)
    cells = 1 + NOT_ANSWERED
    counts_of = np.bincount(panel.type_of * cells + outcome, minlength=cells * len(panel.types)).reshape(-1, cells)
    small = outcome.astype(np.uint8)
    whole = counts_of.sum(axis=0)
    differences = (a[both] - b[both]).astype(np.float64)
    clusters = summed(differences, panel.template_of[both], panel.type_of_template)
    for place in range(-1, len(panel.types)):
        neither, lost, gained, right, _ = (whole if place < 0 else counts_of[place]).tolist()
        if not neither + lost + gained + right:
            continue
        name = ALL if place < 0 else panel.types[place]
        chosen = both if place < 0 else both & (panel.type_of == place)
        text = f"{panel.capability}\n{before}\n{after}\n{name}\n".encode()
        evidence = hashlib.sha256(text + panel.names_sha256(chosen) + small[chosen].tobytes()).hexdigest()
        of = clusters if place < 0 else clusters.only(clusters.stratum == place)
        yield name, Pairs(right, gained, lost, neither), of, evidence


def _row(
    key: Key, role: str, table: Pairs, clusters: Clusters, evidence: str, now: datetime
) -> tuple[Row, Clustered | None]:
    """A result's counts, what decides it and what McNemar's test says of it; also the clustered test, where it is."""
    capability, before, after, item_type = key
    tested = clustered_test(clusters)
    row = {
        "capability": capability, "before": before, "after": after, "item_type": item_type, "role": role,
        "n": table.n, "before_right": table.b_right, "after_right": table.a_right,
        "gained": table.gained, "lost": table.lost, "difference": table.difference,
        **decided(table, clusters, tested), **by_items(table.gained, table.lost),
        "p_corrected": None, "correction": CORRECTIONS[role], "q": None, "alpha": None,
        "registered": role in (PRIMARY, SECONDARY), "evidence_sha256": evidence, "at": now,
    }  # fmt: skip
    return row, tested


def _set_levels(
    rows: Mapping[Key, Row], roles: Mapping[Key, str], body: Mapping[str, Any],
    looks: Sequence[Mapping[str, Any]], alpha: float, now: datetime,
) -> list[Row]:  # fmt: skip
    """Give every row its level, and return the looks that are new.

    A comparison's level follows from its looks. The secondary hypotheses share the lowest level of all registered
    comparisons: Holm's bound needs one level for the family, and none above the primary hypothesis's.
    """
    levels: dict[tuple[str, str, str], float] = {}
    new = []
    for capability, before, after in dict.fromkeys(key[:3] for key in roles):
        whole = rows.get((capability, before, after, ALL))
        planned = body.get("n", {}).get(capability)
        if whole is None:
            continue
        place = {"capability": capability, "before": before, "after": after}
        past = sorted((one for one in looks if place.items() <= one.items()), key=lambda one: one["look"])
        known = next((one for one in past if one["evidence_sha256"] == whole["evidence_sha256"]), None)
        fraction = min(whole["n"] / planned, 1.0) if planned else 1.0
        level = float(known["level"]) if known else next_level(past, fraction, alpha)
        levels[capability, before, after] = level
        if known is None:
            new.append(
                place | {
                    "look": past[-1]["look"] + 1 if past else 1, "n": whole["n"], "fraction": fraction, "level": level,
                    "evidence_sha256": whole["evidence_sha256"], "at": now,
                }
            )  # fmt: skip
    lowest = min(levels.values(), default=alpha)
    for key, row in rows.items():
        row["alpha"] = {PRIMARY: levels.get(key[:3], alpha), SECONDARY: lowest}.get(row["role"], alpha)
    return new


def _correct(rows: Mapping[Key, Row], roles: Mapping[Key, str]) -> None:
    """Corrected p values of the registered rows, and false discovery rates of both families.

    A registered hypothesis that could not be tested counts as p = 1, so that leaving one out helps no other.
    """
    primary = [row for row in rows.values() if row["role"] == PRIMARY]
    secondary = [row for row in rows.values() if row["role"] == SECONDARY]
    tested = {key for key, row in rows.items() if row["role"] == SECONDARY}
    absent = sum(role == SECONDARY and key not in tested for key, role in roles.items())
    first = max((row["p"] for row in primary), default=1.0)
    for row in primary:
        row["p_corrected"] = row["p"]
    adjusted = holm([row["p"] for row in secondary] + [1.0] * absent).adjusted
    for row, p in zip(secondary, adjusted, strict=False):
        row["p_corrected"] = max(first, p)
    for family in (primary + secondary, [row for row in rows.values() if row["role"] == EXPLORATORY]):
        for row, q in zip(family, benjamini_hochberg([row["p"] for row in family]).adjusted, strict=True):
            row["q"] = q
