"""The requests by which the GPU benchmark measures: those of the shipped specs, as many as are planned."""

from __future__ import annotations

import pytest

from bench.gpus.workload import KINDS, STAGES, amounts, parts, sample
from engine.models.requests import Probed
from engine.planning.fit import without_probe
from engine.planning.priors import NOTHING_MEASURED, READ, WRITE
from engine.planning.work import stage_work
from engine.spec.stage import StageSpec, load_spec

BOTH = pytest.mark.parametrize("judged_else", [False, True], ids=["probes", "no probe passes"])


def spec_of(stage: str, judged_else: bool = False) -> StageSpec:
    spec = load_spec(stage).settings
    return without_probe(spec) if judged_else else spec


@BOTH
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_asks_what_is_planned(stage: str, judged_else: bool) -> None:
    spec = spec_of(stage, judged_else)
    work = [part for part in stage_work(spec, NOTHING_MEASURED) if part.part != "evaluation"]
    found = amounts(spec)
    read = sum(part.units * part.requests for part in work if part.way == READ)
    assert found.reads + found.labels == pytest.approx(read)
    assert found.reads > 0 and (found.labels > 1000) == judged_else
    assert found.tokens == pytest.approx(sum(part.units * part.each for part in work if part.way == WRITE))


@BOTH
@pytest.mark.parametrize("stage", STAGES)
def test_each_part_makes_the_requests_that_it_is_counted_with(stage: str, judged_else: bool) -> None:
    for part in parts(spec_of(stage, judged_else)):
        made = sum(part.each.values())
        assert made == pytest.approx(part.work.requests, abs=0.05), part.work.part
        if part.work.way == WRITE:
            some = [one for n in range(30) for one in part.asks(n)]
            tokens = sum(one.decoding.max_tokens for one in some) / 30
            assert tokens == pytest.approx(part.work.each, rel=0.3), part.work.part


def test_of_the_first_stage_each_thing_is_read_once_and_without_a_probe_graded_in_three_orders() -> None:
    found = {part.work.part: part for part in parts(spec_of(STAGES[0]))}
    instruction, response = found["instruction_judgements"], found["response_judgements"]
    assert instruction.each == response.each == {"written": 0, "reads": 1, "labels": 0}
    (read,) = response.asks(0)
    assert isinstance(read, Probed) and "Is this" not in read.prompt  # the bare text, behind no rubric
    graded = {part.work.part: part for part in parts(spec_of(STAGES[0], judged_else=True))}
    assert graded["response_judgements"].each == {"written": 0, "reads": 1, "labels": 3}
    assert len(graded["audit"].asks(0)) == len(found["audit"].asks(0)) + 1000 * (3 + 3)


@pytest.mark.parametrize("stage", STAGES)
def test_a_sample_has_each_part_with_its_share(stage: str) -> None:
    spec = spec_of(stage, judged_else=True)
    for kind, of in KINDS.items():
        found = sample(spec, kind, 400)
        assert 0.85 * 400 <= len(found) <= 1.1 * 400 and all(isinstance(one, of) for one in found)
    labels = sample(spec, "labels", 400)
    judged = {"Is this a clear" in one.prompt[one.shared :] for one in labels}
    assert judged == {True, False}
    assert all(one.shared > 500 for one in labels)  # critics' examples stand in front


@pytest.mark.parametrize("kind", KINDS)
def test_hardly_anything_is_asked_by_two_stages(kind: str) -> None:
    one, other = (set(sample(spec_of(stage, True), kind, 400, 1000 * n)) for n, stage in enumerate(STAGES))
    assert len(one & other) <= 0.02 * len(one)  # a few texts are labelled twice
