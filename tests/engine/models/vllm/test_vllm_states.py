"""Hidden states out of a step of vLLM's runners, whose part a small model plays: which tokens are whose, and when.

What vLLM itself does is in test_vllm_architectures.py.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine.core.errors import ModelError
from engine.models.files.source import Source
from engine.models.files.tokenizer import Text
from engine.models.requests import Generate, Read
from engine.models.vllm.backend import VllmModel
from engine.models.vllm.states import LAYERS, NAME, Shown, Sums
from engine.models.vllm.worker import WorkerAdditions
from tests.engine.models.vllm.test_vllm_backend import KnownEngine, Letters, asking

SIZE, DEPTH = 4, 3


class Layer(torch.nn.Module):
    """Gives what it adds and what it adds it to, as vLLM's layers do: together its number times the states before."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (self.number - 1) * states, states


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(Layer(n + 1) for n in range(DEPTH))
        self.do_not_compile = False
        self.uncompiled: list[bool] = []  # of each step

    def forward(self, ids: torch.Tensor) -> None:
        self.uncompiled.append(self.do_not_compile)
        states = ids[:, None] * torch.ones(SIZE)
        for layer in self.layers:
            added, before = layer(states)
            states = added + before


class Runner:
    """The older runner: its requests lie in `input_batch`; `newer` has them in what prepares a step's inputs."""

    def __init__(self, newer: bool = False) -> None:
        self.model = Model()
        if newer:
            self.prepare_inputs = lambda names, starts: SimpleNamespace(req_ids=names, query_start_loc_np=starts)

    def get_model(self) -> Model:
        return self.model

    def execute_model(self, scheduled: Any) -> str:
        tokens = scheduled.num_scheduled_tokens
        names = sorted(tokens, key=lambda name: (tokens[name], name))  # decodes first: not as they were scheduled
        starts = np.cumsum([0, *(tokens[name] for name in names)])
        if hasattr(self, "prepare_inputs"):
            self.prepare_inputs(names, starts)
        else:
            self.input_batch = SimpleNamespace(req_ids=names)
            self.query_start_loc = SimpleNamespace(np=starts)
        ids = [token for name in names for token in scheduled.texts[name]]
        self.model(torch.tensor([*ids, 99.0]))  # filled up with a token that is nobody's
        return "output"


def step(texts: dict[str, list[float]], new: dict[str, Any] | None = None, at: dict[str, int] | None = None,
         gone: tuple[str, ...] = ()) -> Any:  # fmt: skip
    """A step that computes these tokens; `new` are requests by name with (tokens of the prompt, layers or none)."""
    begun = [
        SimpleNamespace(
            req_id=name, prompt_token_ids=[0] * length, num_computed_tokens=0,
            sampling_params=SimpleNamespace(extra_args={NAME: f"own {name}", LAYERS: layers} if layers else None),
        )
        for name, (length, layers) in (new or {}).items()
    ]  # fmt: skip
    again = SimpleNamespace(req_ids=list(at or {}), num_computed_tokens=list((at or {}).values()))
    return SimpleNamespace(
        scheduled_new_reqs=begun, scheduled_cached_reqs=again, finished_req_ids=set(gone), texts=texts,
        num_scheduled_tokens={name: len(tokens) for name, tokens in texts.items()},
    )  # fmt: skip


def told(shown: Shown) -> dict[str, list[list[float]]]:
    """By name the last token's state and the mean behind each layer, which are alike in all their numbers."""
    found = {name: np.frombuffer(states, np.float32).reshape(-1, 2, SIZE) for name, states in shown.take().items()}
    assert all((states == states[..., :1]).all() for states in found.values())
    return {name: states[..., 0].tolist() for name, states in found.items()}


@pytest.fixture(params=[False, True], ids=["older runner", "newer runner"])
def runner(request: pytest.FixtureRequest) -> Runner:
    return Runner(newer=request.param)


def test_each_text_has_its_own_tokens_whatever_is_computed_beside_it(runner: Runner) -> None:
    shown = Shown.of(runner)
    assert shown is not None and shown.layers == DEPTH
    new = {"long": (4, [1, 3]), "short": (1, [2]), "written": (2, None)}
    output = runner.execute_model(step({"long": [9.0, 1.0, 2.0, 6.0], "short": [5.0], "written": [7.0, 7.0]}, new))
    assert output == "output"
    # Behind layer 3 a state is 3 * 2 * 1 times its token; the first token is in no mean but its own.
    assert told(shown) == {"own long": [[6, 3], [36, 18]], "own short": [[10, 10]]}
    assert told(shown) == {}


def test_a_text_that_is_computed_in_parts_or_anew_is_whole_in_the_end(runner: Runner) -> None:
    shown = Shown.of(runner)
    assert shown is not None
    runner.execute_model(step({"a": [9.0, 1.0], "b": [4.0]}, {"a": (4, [1]), "b": (3, [1])}))
    assert told(shown) == {}
    runner.execute_model(step({"a": [9.0, 3.0]}, at={"a": 0}))  # taken out for lack of room, and begun again
    runner.execute_model(step({"a": [5.0, 7.0, 8.0], "b": [1.0, 3.0]}, at={"a": 2, "b": 1}))  # 8 is written, not read
    assert told(shown) == {"own a": [[7, 5]], "own b": [[3, 2]]}


def test_a_text_whose_beginning_was_not_computed_is_not_told(runner: Runner) -> None:
    shown = Shown.of(runner)
    assert shown is not None
    late = step({"a": [2.0, 3.0]}, {"a": (4, [1])})
    late.scheduled_new_reqs[0].num_computed_tokens = 2  # found in a cache
    runner.execute_model(late)
    assert told(shown) == {}
    runner.execute_model(step({"w": [1.0]}, {"w": (1, None)}, gone=("a",)))
    assert shown.texts == {}


def test_compiled_code_is_left_out_only_where_a_text_is_read(runner: Runner) -> None:
    shown = Shown.of(runner)
    assert shown is not None
    runner.execute_model(step({"w": [1.0]}, {"w": (1, None)}))
    runner.execute_model(step({"a": [1.0]}, {"a": (1, [2])}))
    runner.execute_model(step({"a": [2.0]}, at={"a": 1}))  # what it writes
    assert runner.model.uncompiled == [False, True, False] and not runner.model.do_not_compile
    assert not any(layer._forward_hooks for layer in runner.model.layers)


def test_a_worker_of_a_model_without_layers_shows_nothing() -> None:
    worker: Any = WorkerAdditions()
    worker.model_runner = SimpleNamespace(get_model=lambda: torch.nn.Linear(2, 2))
    assert worker.show_states() == 0 and worker.take_states() == {}


def test_sums_are_those_of_float32() -> None:
    sums = Sums()
    sums.add(0, torch.full((3, 1), 1 / 3))
    assert sums.read().dtype == torch.float32 and sums.read()[:, 0].tolist() == pytest.approx([1 / 3, 1 / 3])


class Reading(KnownEngine):
    """Its states are the number of the prompt's tokens; those of a text with an x are missing."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = {"layers": 2}

        def ending(name: str, ask: Any) -> dict[str, bytes]:
            states = np.full((len(ask.layers), 2, SIZE), len(ask.token_ids), np.float32)
            return {"states": b"" if ord("x") in ask.token_ids else states.tobytes()}

        self.ending = ending


def model_of(engine: KnownEngine) -> VllmModel:
    return VllmModel(Source("known", "path", "", "", embedded=False), engine, Text(Letters()), "base", {})  # type: ignore[arg-type]


def test_states_are_asked_for_beside_texts_and_come_as_float32() -> None:
    engine = Reading()
    model = model_of(engine)
    assert model.layers == 2
    texts = model.generate(asking("ab", "cd"))
    first = next(texts)
    found = {one.request.prompt: one.states for one in model.hidden([Read("abc", (1, 2)), Read("a", (2,))])}
    assert {key: (states.shape, float(states[0, 0, 0])) for key, states in found.items()} == {
        "abc": ((2, 2, SIZE), 4.0), "a": ((1, 2, SIZE), 2.0)}  # fmt: skip
    assert found["abc"].dtype == np.float32
    assert {first.text, *(one.text for one in texts)} == {"ba", "dc"}
    assert [isinstance(one.request, Generate) for one in model.generate(asking("ef"))] == [True]


def test_states_that_are_missing_are_told_and_a_model_without_layers_says_so() -> None:
    with pytest.raises(ModelError, match="gave no hidden states"):
        list(model_of(Reading()).hidden([Read("x", (1,))]))
    with pytest.raises(ModelError, match="shows no hidden states"):
        list(model_of(KnownEngine()).hidden([Read("a", (1,))]))
