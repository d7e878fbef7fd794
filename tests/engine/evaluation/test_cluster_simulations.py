"""Evaluations with a known truth through registration, analysis and claim: error, cover and power where effects vary.

An item is right where its model's noise is above its difficulty, which has a part of its type, of its template and of its
own. Training shifts the items of a template alike, by a normal effect of standard deviation tau on the probit scale: half
of it is taken from the condition before and half is given to the one after, so that an effect of mean 0 is an exact null.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.evaluation.analysis import Panel, analyse, panels
from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.evaluation.registration import body, row
from engine.spec.sections import EvaluationSpec
from engine.spec.stage import load_spec
from engine.stats.clusters import clusters_of, mean_of, sign_flip, summed
from engine.stats.paired import newcombe, pairs
from store.outcomes import shown
from tests.store.rows import T0, run

SPEC = load_spec("stage_1_explicit_instructions").settings.evaluation
assert SPEC is not None
BEFORE, AFTER = "base_formatted", "sft"
TYPES = 14
MANY, FEW = (24, 2), (4, 10)  # templates of a type, and items of a template
HARD = np.linspace(0.0, 1.6, TYPES)  # of a type: 50 to 16 % right
SD = 0.6  # of difficulty over templates, and over the items of one
# One half of the types gains what the other loses, each gainer with a loser that is as hard.
BY_TYPE = np.where(np.arange(TYPES) % 2, 0.5, -0.5)
PAIRED_HARD = np.repeat(HARD[::2], 2)
RUNS, CHUNK = 1_500, 250
Layout = tuple[int, int]
Row = dict[str, Any]


@cache
def places(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The type and the template of each item."""
    templates, each = layout
    return np.repeat(np.arange(TYPES), templates * each), np.repeat(np.arange(TYPES * templates), each)


@cache
def empty_panel(layout: Layout) -> Panel:
    types, templates = places(layout)
    return panels(
        {
            "condition": condition, "item_id": f"i{number:04}", "capability": "instruction_following",
            "item_type": f"type-{types[number]:02}", "template": f"t{templates[number]:03}", "split": "test",
            "correct": False, "items_sha256": "cd" * 32, "at": T0,
        }
        for condition in (BEFORE, AFTER)
        for number in range(len(types))
    )[0]  # fmt: skip


def registered(spec: EvaluationSpec, layout: Layout) -> Row:
    templates, each = layout
    sizes = {"instruction_following": {f"type-{number:02}": [each] * templates for number in range(TYPES)}}
    made = body(run(), spec, "cd" * 32, "ab" * 32, {}, (BEFORE, AFTER), sizes)
    return row("run-a", made, T0 - timedelta(days=1))


def worlds(
    seed: int, tau: float, effect: np.ndarray, layout: Layout = MANY, runs: int = RUNS
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Outcomes before and after; `effect` is a type's mean shift."""
    rng = np.random.default_rng(seed)
    hard = PAIRED_HARD if np.ptp(effect) else HARD
    templates, template_of = layout[0], places(layout)[1]
    n = len(template_of)
    for _ in range(runs // CHUNK):
        shape = CHUNK, TYPES * templates
        shift = rng.normal(np.repeat(effect, templates), tau, shape)[:, template_of] / 2
        difficulty = rng.normal(np.repeat(hard, templates), SD, shape)[:, template_of] + rng.normal(0, SD, (CHUNK, n))
        before = rng.normal(size=(CHUNK, n)) - shift > difficulty
        after = rng.normal(size=(CHUNK, n)) + shift > difficulty
        yield from zip(before.astype(np.int8), after.astype(np.int8), strict=True)


def truth(tau: float, effect: np.ndarray) -> float:
    """The mean difference over templates to come."""
    hard = PAIRED_HARD if np.ptp(effect) else HARD
    sd = (1 + 2 * SD**2 + tau**2 / 4) ** 0.5
    return float(np.mean(stats.norm.cdf((effect / 2 - hard) / sd) - stats.norm.cdf((-effect / 2 - hard) / sd)))


def results(
    before: np.ndarray, after: np.ndarray, registration: Row, spec: EvaluationSpec = SPEC, layout: Layout = MANY
) -> list[Row]:
    panel = replace(empty_panel(layout), right={BEFORE: before, AFTER: after})
    return analyse([panel], spec, registration, draws=0, now=T0, intervals=False).results


@pytest.mark.slow
@pytest.mark.parametrize("tau", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("effect", [np.zeros(TYPES), BY_TYPE], ids=["alike", "by type"])
def test_error_of_the_claim_and_cover_of_its_interval_under_an_exact_null(tau: float, effect: np.ndarray) -> None:
    registration = registered(SPEC, MANY)
    assert truth(tau, effect) == pytest.approx(0, abs=1e-12)
    claims = covered = 0
    for before, after in worlds(1 + int(10 * tau), tau, effect):
        found = results(before, after, registration)
        # Where types differ, a claim of a type is true: only the primary one is an error.
        claims += any(shown(one) for one in (found[:1] if effect.any() else found))
        covered += found[0]["lo"] <= 0 <= found[0]["hi"]
    assert 0.02 < claims / RUNS <= 0.06
    assert 0.93 <= covered / RUNS <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("effect", [np.zeros(TYPES), BY_TYPE], ids=["alike", "by type"])
def test_with_few_templates_of_many_items_mcnemar_claims_too_often_and_the_analysis_does_not(
    effect: np.ndarray,
) -> None:
    """Four templates a type with ten items each, as items were once."""
    registration = registered(SPEC, FEW)
    assert [one["item_type"] for one in registration["body"]["hypotheses"]] == ["all"]
    claims = covered = by_items = newcombe_covered = 0
    for before, after in worlds(3, 1.0, effect, FEW):
        primary = results(before, after, registration, layout=FEW)[0]
        claims += shown(primary)
        covered += primary["lo"] <= 0 <= primary["hi"]
        by_items += primary["mcnemar_p"] <= 0.05
        limits = newcombe(pairs(after, before))
        assert limits.lo is not None and limits.hi is not None
        newcombe_covered += limits.lo <= 0 <= limits.hi
    assert 0.02 < claims / RUNS <= 0.06
    assert 0.93 <= covered / RUNS <= 0.97
    assert by_items / RUNS > 0.12 and newcombe_covered / RUNS < 0.88


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "tau", "shift"), [(MANY, 0.0, 0.23), (MANY, 0.6, 0.23), (MANY, 1.0, 0.26), (FEW, 0.6, 0.3)]
)
def test_power_is_what_the_plan_says_and_intervals_cover_an_effect(layout: Layout, tau: float, shift: float) -> None:
    effect, runs = np.full(TYPES, shift), 2_000
    gain = loss = 0.0
    likeness = []
    for before, after in worlds(77, tau, effect, layout, 500):
        gain, loss = gain + np.mean(after > before) / 500, loss + np.mean(after < before) / 500
        step = (after - before).astype(float)
        likeness.append(mean_of(summed(step, places(layout)[1], np.repeat(np.arange(TYPES), layout[0]))).icc)
    icc = float(np.mean([one or 0.0 for one in likeness]))
    spec = SPEC.model_copy(update={"expected_gain": gain, "expected_loss": loss, "expected_icc": icc})
    registration = registered(spec, layout)
    forecast = registration["body"]["forecast"]["power"]
    assert 0.6 < forecast < 0.95
    claims = covered = 0
    for before, after in worlds(5 + int(10 * tau), tau, effect, layout, runs):
        primary = results(before, after, registration, spec, layout)[0]
        claims += shown(primary)
        covered += primary["lo"] <= truth(tau, effect) <= primary["hi"]
    assert claims / runs == pytest.approx(forecast, abs=0.03)
    assert 0.93 <= covered / runs <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("templates", [ENOUGH_CLUSTERS, 24])
def test_one_type_with_just_enough_templates_keeps_its_level(templates: int) -> None:
    """A type's own test, at the usual level and at one that Holm asks for; below that many, flips cannot confirm it."""
    rng = np.random.default_rng(templates)
    runs, each, p = 6_000, 2, []
    shift = np.repeat(rng.normal(0, 1.0, (runs, templates)), each, axis=1) / 2
    hard = rng.normal(0.5, SD, (runs, templates * each))
    step = (rng.normal(size=hard.shape) + shift > hard).astype(float) - (rng.normal(size=hard.shape) - shift > hard)
    member = np.repeat(np.arange(templates), each).tolist()
    for one in step:
        found = clusters_of(one, member)
        try:
            p.append(mean_of(found).p)
        except ValueError:
            p.append(sign_flip(found).p)
    assert 0.02 < np.mean(np.array(p) <= 0.05) <= 0.06
    assert np.mean(np.array(p) <= 0.0025) <= 0.004
    assert sign_flip(clusters_of([1] * templates, range(templates))).p < 0.045 / 20
    assert sign_flip(clusters_of([1] * (ENOUGH_CLUSTERS - 1), range(ENOUGH_CLUSTERS - 1))).p > 0.045 / 20
