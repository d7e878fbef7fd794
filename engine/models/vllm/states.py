"""Hidden states out of vLLM's worker, in whose process this runs, but for what reads them here.

vLLM 0.32 has a way of its own (the speculative method extract_hidden_states), which changes how everything else is
computed: a draft for each token, a cache for the states, no chunked prefill. Here a text whose states are asked for is
a request of one token that says so in its `extra_args`. A step that computes such a text calls hooks on the layers that
were named, and runs the model's own Python: compiled code and the CUDA graphs inside of it call no hooks. All other
steps are as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.core.errors import ModelError

NAME, LAYERS = "cai_name", "cai_layers"  # of a text, in what its request says beside its parameters


def states_of(told: bytes, layers: Sequence[int]) -> NDArray[np.float32]:
    """What `take` told of a text, [layers, 2, size]. Raises ModelError where it told nothing."""
    if not told:
        raise ModelError(
            "vLLM gave no hidden states of a text that it was asked for",
            "Run with CAI_BACKEND=transformers, or name another critic. What was committed is safe.",
        )
    return np.frombuffer(told, dtype=np.float32).reshape(len(layers), 2, -1)


@dataclass
class Sums:
    """One layer's states of a text, in float32, as far as they were computed: `total` is without the first token."""

    seen: int = 0
    first: torch.Tensor | None = None
    total: torch.Tensor | None = None
    last: torch.Tensor | None = None

    def add(self, at: int, states: torch.Tensor) -> None:
        """Take the states ([tokens, size]) of the tokens from place `at` on; from 0 on it begins anew."""
        if at == 0:
            self.seen, self.first, self.total = 0, states[0], torch.zeros_like(states[0])
        if at != self.seen or self.total is None:
            return  # its beginning was not computed here: it stays unfinished
        self.total = self.total + states[1 if at == 0 else 0 :].sum(0)
        self.seen, self.last = at + len(states), states[-1]

    def read(self) -> torch.Tensor:
        """The last token's state, and the mean over all but the first where there are more, [2, size]."""
        assert self.first is not None and self.total is not None and self.last is not None
        return torch.stack([self.last, self.total / (self.seen - 1) if self.seen > 1 else self.first])


@dataclass
class ReadText:
    """A text whose states are asked for; `at` is the place of the first token of the step under way."""

    name: str
    tokens: int
    layers: dict[int, Sums]
    at: int = 0

    @property
    def whole(self) -> bool:
        return all(sums.seen == self.tokens for sums in self.layers.values())


@dataclass
class Shown:
    """What a worker's runner computes, watched for texts whose states are asked for; either of vLLM's two runners."""

    runner: Any
    layers: int
    texts: dict[str, ReadText] = field(default_factory=dict)  # unfinished ones, by vLLM's name of the request
    done: dict[str, torch.Tensor] = field(default_factory=dict)  # by their own name, [layers, 2, size]
    batch: Any = None  # of the newer runner's step

    @classmethod
    def of(cls, runner: Any) -> Shown | None:
        """From now on, None where the model has no list of layers."""
        model = runner.get_model()
        decoder = next(
            (one for one in model.modules() if isinstance(getattr(one, "layers", None), torch.nn.ModuleList)), None
        )
        if decoder is None:
            return None
        shown = cls(runner, len(decoder.layers))
        run, prepare = runner.execute_model, getattr(runner, "prepare_inputs", None)

        def execute(scheduled: Any, *given: Any, **named: Any) -> Any:
            asked = shown.begin(scheduled)
            if not asked:
                return run(scheduled, *given, **named)
            with _without_graphs(model), shown.hooked(decoder, asked):
                found = run(scheduled, *given, **named)
            shown.end()
            return found

        runner.execute_model = execute
        if prepare is not None:

            def prepared(*given: Any, **named: Any) -> Any:
                shown.batch = prepare(*given, **named)
                return shown.batch

            runner.prepare_inputs = prepared
        return shown

    def begin(self, scheduled: Any) -> dict[str, ReadText]:
        """The texts of a step that is about to be computed, by vLLM's names."""
        for name in scheduled.finished_req_ids:
            self.texts.pop(name, None)
        for new in scheduled.scheduled_new_reqs:
            said = getattr(new.sampling_params, "extra_args", None) or {}
            if NAME in said:
                layers = {int(layer): Sums() for layer in said[LAYERS]}
                self.texts[new.req_id] = ReadText(
                    said[NAME], len(new.prompt_token_ids), layers, new.num_computed_tokens
                )
        again = scheduled.scheduled_cached_reqs
        for name, at in zip(again.req_ids, again.num_computed_tokens, strict=True):
            if name in self.texts:
                self.texts[name].at = at
        found = {name: self.texts[name] for name in scheduled.num_scheduled_tokens if name in self.texts}
        return {name: text for name, text in found.items() if text.at < text.tokens}

    @contextmanager
    def hooked(self, decoder: Any, asked: dict[str, ReadText]) -> Iterator[None]:
        """For this time, have the layers that the texts name give their states."""
        wanted = {layer for text in asked.values() for layer in text.layers}
        hooks = [decoder.layers[layer - 1].register_forward_hook(self._hook(layer, asked)) for layer in wanted]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, layer: int, asked: dict[str, ReadText]) -> Callable[..., None]:
        def take(_module: Any, _given: Any, output: Any) -> None:
            # A layer gives what it adds and what it adds it to, and the next one joins them in place.
            parts = output if isinstance(output, tuple) else (output,)
            names, starts = self._order()
            for number, name in enumerate(names):
                text = asked.get(name)
                if text is None or layer not in text.layers:
                    continue
                begin = int(starts[number])
                end = min(int(starts[number + 1]), begin + text.tokens - text.at)
                states = torch.stack([part[begin:end].float() for part in parts if part is not None]).sum(0)
                text.layers[layer].add(text.at, states)

        return take

    def _order(self) -> tuple[Sequence[str], Any]:
        """The requests of the step in the order of their tokens, and where each one's begin."""
        if self.batch is not None:
            return self.batch.req_ids, self.batch.query_start_loc_np
        return self.runner.input_batch.req_ids, self.runner.query_start_loc.np

    def end(self) -> None:
        """Put aside the texts that are whole."""
        for name in [name for name, text in self.texts.items() if text.whole]:
            text = self.texts.pop(name)
            self.done[text.name] = torch.stack([sums.read() for _, sums in sorted(text.layers.items())])

    def take(self) -> dict[str, bytes]:
        """What is whole, by name, as the bytes of float32, and forget it."""
        done, self.done = self.done, {}
        return {name: states.cpu().contiguous().numpy().tobytes() for name, states in done.items()}


class ShowsStates:
    """Mixed into vLLM's worker class (`worker_extension_cls`)."""

    def show_states(self) -> int:
        """Of how many layers states can be asked for from now on; 0 where the model has no list of them."""
        self.shown_states = Shown.of(self.model_runner)  # type: ignore[attr-defined]
        return 0 if self.shown_states is None else self.shown_states.layers

    def take_states(self) -> dict[str, bytes]:
        """The states of all texts that were computed since, by the names that their requests said."""
        return {} if self.shown_states is None else self.shown_states.take()


@contextmanager
def _without_graphs(model: Any) -> Iterator[None]:
    """For this time, let compiled modules run as they are written (compilation/decorators.py, __call__)."""
    compiled = [one for one in model.modules() if getattr(one, "do_not_compile", True) is False]
    for one in compiled:
        one.do_not_compile = True
    try:
        yield
    finally:
        for one in compiled:
            one.do_not_compile = False
