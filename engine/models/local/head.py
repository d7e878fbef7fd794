"""What a model's class does behind its last hidden state, done by that class: bias, scale, softcap and all.

The class's own `forward` runs on hidden states that are there already, with its trunk replaced by one that returns
them. Nothing of it is written here a second time; what is replaced beside the trunk is the output matrix alone, where
only some of its rows are wanted or where its product must not be rounded to 16 bits.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

VOCABULARY_ROWS = 32_768  # rows of a 16-bit output matrix that are widened to float32 at once


class _GivenStates(torch.nn.Module):  # type: ignore[misc]
    """In place of a trunk: returns the hidden states that it was given, and nothing else that a trunk may return."""

    states: torch.Tensor

    def forward(self, *_: Any, **__: Any) -> Any:
        return self

    def __getitem__(self, place: int) -> torch.Tensor:
        return self.states

    @property
    def last_hidden_state(self) -> torch.Tensor:
        return self.states

    def __getattr__(self, name: str) -> None:
        return None


class _Rows(torch.nn.Module):  # type: ignore[misc]
    """In place of the output matrix: for each hidden state the logits of a few tokens ([states, tokens])."""

    ids: torch.Tensor

    def __init__(self, output: Any) -> None:
        super().__init__()
        self._of = [output]  # in a list, so that it is no part of this module

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        output = self._of[0]
        rows = output.weight[self.ids]
        logits = torch.einsum("rcd,rd->rc", rows.float(), states[0].float())
        bias = getattr(output, "bias", None)
        return (logits if bias is None else logits + bias[self.ids].float())[None]


class Head:
    """The way from hidden states to logits. Raises ValueError for a class whose parts are not where they should be."""

    def __init__(self, model: Any) -> None:
        self._output = model.get_output_embeddings()
        names = [name for name, module in model.named_children() if module is self._output]
        if self._output is None or not names:
            raise ValueError("its class does not say where its output matrix is")
        self._given, self._rows = _GivenStates(), _Rows(self._output)
        trunk = model.base_model_prefix
        self._whole = _view(model, {trunk: self._given})
        self._some = _view(model, {trunk: self._given, names[0]: self._rows})
        weight = self._output.weight
        # Read in bfloat16 the output matrix costs a third; the few candidates are then computed in full precision.
        self._rough = weight.detach().to(torch.bfloat16) if weight.dtype == torch.float32 else weight
        bias = getattr(self._output, "bias", None)
        self._rough_bias = None if bias is None else bias.detach().to(self._rough.dtype)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Logits of the whole vocabulary ([states, vocabulary], float32) behind hidden states ([states, size])."""
        with unrounded(self._output):
            return self._run(self._whole, states)

    def logits_of(self, states: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Logits of the tokens `ids` ([states, tokens]) alone, in float32 whatever the weights are."""
        self._rows.ids = ids
        return self._run(self._some, states)

    def likeliest(self, states: torch.Tensor, n: int) -> torch.Tensor:
        """Ids of the `n` likeliest tokens or a few others in their place, in any order, by a product of 16 bits."""
        rough = functional.linear(states.to(self._rough.dtype), self._rough, self._rough_bias)
        return rough.topk(min(n, rough.shape[-1]), sorted=False).indices

    def _run(self, view: Any, states: torch.Tensor) -> torch.Tensor:
        self._given.states = states[None]
        nothing = torch.zeros((1, len(states)), dtype=torch.long, device=states.device)
        found: torch.Tensor = view(input_ids=nothing, use_cache=False, return_dict=True).logits[0].float()
        del self._given.states
        return found


def _view(model: Any, instead: dict[str, Any]) -> Any:
    """The same model with some of its parts replaced; all others are shared."""
    view = copy.copy(model)
    view._modules = model._modules | instead
    return view


@contextmanager
def unrounded(output: Any) -> Iterator[None]:
    """For this time logits are float32 whatever the weights are: those of 16 bits near 16 are an eighth apart."""
    if type(output) is not torch.nn.Linear or output.weight.dtype == torch.float32:
        yield
        return

    def widened(module: Any, given: tuple[torch.Tensor], _rounded: Any) -> torch.Tensor:
        states = given[0].float()
        parts = [states @ rows.float().T for rows in module.weight.split(VOCABULARY_ROWS)]
        logits = torch.cat(parts, dim=-1)
        return logits if module.bias is None else logits + module.bias.float()

    hook = output.register_forward_hook(widened)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def only_at(output: Any, rows: torch.Tensor, places: torch.Tensor) -> Iterator[None]:
    """For this time the output matrix is met by the hidden states at these places of a batch alone, as one row."""

    def picked(_module: Any, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (given[0][rows, places][None],)

    hook = output.register_forward_pre_hook(picked)
    try:
        yield
    finally:
        hook.remove()
