"""The self-check of models in other processes: what contradicts itself or the weights is refused, and all else is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import ModelError
from engine.models.confirming import confirmed
from engine.models.files.source import Source, resolve
from engine.models.registry import load
from engine.models.selfcheck import of_facts
from tests.engine.models import openai_models, real_server
from tests.engine.models.files.faulty_folders import DEEP, spoilt
from tests.engine.models.model_server import Handler, answer, serving
from tests.engine.models.vllm.test_vllm_backend import KnownEngine, model_of
from tests.engine.training.training_run import tiny_model

opened, server = openai_models.opened, openai_models.server  # fixtures
VLLM = Source("known", "no such folder", "", "", embedded=False)


def drifting(handler: Handler) -> None:
    """Each answer is further off than the one before."""
    handler.server.ways.shift -= 0.2
    handler.send(200, json.dumps(answer(handler.server.ways, handler.body, {})[1]))


def by_order(handler: Handler) -> None:
    """What is asked for first is told as more likely."""
    wanted = handler.body.get("logprob_token_ids") or [0]
    ways = replace(handler.server.ways, shift=-1.0 if wanted != sorted(wanted) else 0.0)
    handler.send(200, json.dumps(answer(ways, handler.body, {})[1]))


def by_beginning(handler: Handler) -> None:
    """A beginning that was asked about before is read wrongly from a cache."""
    prompt = handler.body["prompt"]
    seen = sum(1 for one in handler.server.requests if one["body"]["prompt"] == prompt and not one["body"].get("echo"))
    ways = replace(handler.server.ways, shift=-0.5 if len(prompt) > 200 and seen > 1 else 0.0)
    handler.send(200, json.dumps(answer(ways, handler.body, {})[1]))


def by_turns(handler: Handler) -> None:
    """Greedy texts have no greedy seed."""
    body = handler.body | (
        {"temperature": 1.0, "seed": len(handler.server.requests)} if not handler.body["temperature"] else {}
    )
    handler.send(200, json.dumps(answer(handler.server.ways, body, {})[1]))


def test_a_server_that_agrees_with_itself_is_told_so() -> None:
    with serving() as toy:
        model = load(toy.url)
        found = of_facts(model.facts)
        model.close()
    assert found is not None and found.largest_nats == 0 and found.scores == 18 and found.greedy_equal
    assert found.told() == (
        "server of toy: labels within 0 nats of the same asked for again, in another order and behind a known "
        "beginning; no forward pass beside it: its weights are not on this machine (n = 18, at most 0.25), greedy "
        "texts equal, no hidden states"
    )


@pytest.mark.parametrize("fault", [drifting, by_order, by_beginning])
def test_a_server_that_contradicts_itself_is_refused(
    fault: Callable[[Handler], None],
    opened: Callable[..., Any],
    server: Any,
) -> None:
    model = opened(server)
    server.always = fault
    with pytest.raises(
        ModelError, match=r"server of toy: the same labels, asked for again, differ by .* at most 0\.25"
    ) as caught:
        confirmed(model, resolve(server.url))
    assert "Nothing was lost" in caught.value.hint and "self_check" not in model.facts


def test_greedy_texts_that_differ_are_told(opened: Callable[..., Any], server: Any) -> None:
    model = opened(server)
    server.always = by_turns
    found = of_facts(confirmed(model, resolve(server.url)).facts)
    assert found is not None and not found.greedy_equal and "greedy texts not equal" in found.told()


def test_a_server_s_answers_are_compared_with_weights_that_are_at_hand(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model")
    with ExitStack() as stack:
        behind = load(str(folder))
        stack.callback(behind.close)
        url = stack.enter_context(real_server.serving(behind)).url
        model = load(url)
        stack.callback(model.close)
        found = of_facts(model.facts)
        assert found is not None and found.against == "a forward pass over its weights"
        assert found.largest_nats < 1e-4 and found.tolerance_nats == pytest.approx(0.02 + 2 * found.rounding_nats)
        spoilt(DEEP, 50.0)(folder)  # other weights under the same name
        with pytest.raises(ModelError, match="beside a forward pass over its weights labels are off by"):
            load(url)


def test_vllm_is_asked_again_too() -> None:
    engine = KnownEngine()
    engine.max_model_len = 4096
    found = of_facts(confirmed(model_of(engine), VLLM).facts)
    assert found is not None and found.told().startswith(
        "vLLM of known: labels within 0 nats of the same asked for again"
    )
    steps = iter(range(1000))
    engine.ending = lambda name, ask: {"logprobs": {label: -label / 100 - next(steps) for label in ask.labels}}
    with pytest.raises(ModelError, match="vLLM of known: the same labels, asked for again, differ by"):
        confirmed(model_of(engine), VLLM)
    engine.ending = lambda name, ask: {"logprobs": dict.fromkeys(ask.labels, float("nan") if next(steps) % 7 else -1.0)}
    with pytest.raises(ModelError, match="differ by nan nats"):
        confirmed(model_of(engine), VLLM)
