"""The requests by which the GPU benchmark measures: those of the shipped specs, as many as are planned."""

from __future__ import annotations

import pytest

from bench.workload import KINDS, STAGES, amounts, parts, sample
from engine.planning.priors import NOTHING_MEASURED, READ, WRITE
from engine.planning.work import stage_work
from engine.spec.stage import StageSpec, load_spec


def spec_of(stage: str) -> StageSpec:
    return load_spec(stage).settings


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_asks_what_is_planned(stage: str) -> None:
    spec = spec_of(stage)
    work = [part for part in stage_work(spec, NOTHING_MEASURED) if part.part != "evaluation"]
    found = amounts(spec)
    read = sum(part.units * part.requests for part in work if part.way == READ)
    assert found.labels + found.prefills == pytest.approx(read)
    assert found.tokens == pytest.approx(sum(part.units * part.each for part in work if part.way == WRITE))


@pytest.mark.parametrize("stage", STAGES)
def test_each_part_makes_the_requests_that_it_is_counted_with(stage: str) -> None:
    for part in parts(spec_of(stage)):
        made = sum(part.each.values())
        assert made == pytest.approx(part.work.requests, abs=0.05), part.work.part
        if part.work.way == WRITE:
            some = [one for n in range(30) for one in part.asks(n)]
            tokens = sum(one.decoding.max_tokens for one in some) / 30
            assert tokens == pytest.approx(part.work.each, rel=0.3), part.work.part


def test_of_the_first_stage_an_instruction_is_scored_nine_times_a_sample_nine_and_its_end_is_weighed_twice() -> None:
    found = {part.work.part: part for part in parts(spec_of(STAGES[0]))}
    instruction, response = found["instruction_judgements"], found["response_judgements"]
    assert (instruction.each["labels"], instruction.each["prefills"]) == (9, 0)
    assert (response.each["labels"], response.each["prefills"]) == (9, 2)
    assert len(found["audit"].asks(0)) == 1000 * (9 + 11)


@pytest.mark.parametrize("stage", STAGES)
def test_a_sample_has_each_part_with_its_share_and_nothing_twice(stage: str) -> None:
    spec = spec_of(stage)
    for kind, fits in KINDS.items():
        found = sample(spec, kind, 400)
        assert 0.85 * 400 <= len(found) <= 1.1 * 400 and all(map(fits, found))
        assert not set(found) & set(sample(spec, kind, 400, first=1000)) or kind == "prefills"
    labels = sample(spec, "labels", 400)
    judged = {"Is this a clear" in one.prompt[one.shared :] for one in labels}
    assert judged == {True, False}
    assert all(one.shared > 500 for one in labels)  # critics' examples stand in front
