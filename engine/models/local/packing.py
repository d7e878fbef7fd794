"""Several texts behind one beginning, run as one sequence: nothing is padded, and the beginning is there once.

A token sees the shared beginning and what stands before it in its own text; its position is the one that it has in that
text, so that its hidden state is what a pass over that text alone gives. The idea is sequence packing with a mask of
blocks (Krell et al. 2021, arXiv:2107.02027, section 3.2), and a common prefix as in cascade attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

Layers = Sequence[tuple[torch.Tensor, torch.Tensor]]  # keys and values of each layer, [heads, tokens, head_dim]


class PackCache:
    """Keys and values of a shared beginning in front of those of a pack; speaks as much of transformers' Cache
    interface as an attention layer uses (`update`)."""

    def __init__(self, beginning: Layers) -> None:
        self._beginning = beginning

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values that one layer may see, of new ones as [1, heads, tokens, head_dim]."""
        if not self._beginning:
            return keys, values
        before_keys, before_values = self._beginning[layer]
        return torch.cat([before_keys[None], keys], dim=2), torch.cat([before_values[None], values], dim=2)

    def get_seq_length(self, _layer: int = 0) -> int:
        """None that a class could count positions by: they are given."""
        return 0


class Pack:
    """Token lists that follow the same `beginning` tokens, one behind the other.

    `tokens` and `positions` are [1, n]; `starts` says where each list begins among them.
    """

    def __init__(self, beginning: int, texts: Sequence[Sequence[int]], device: torch.device) -> None:
        lengths = [len(text) for text in texts]
        self.starts = [sum(lengths[:number]) for number in range(len(lengths))]
        self.tokens = torch.tensor([[token for text in texts for token in text]], device=device)
        positions = [beginning + place for length in lengths for place in range(length)]
        self.positions = torch.tensor([positions], device=device)
        self._of = torch.repeat_interleave(torch.arange(len(texts)), torch.tensor(lengths)).to(device)
        self._columns = torch.cat([torch.arange(beginning, device=device), self.positions[0]])
        self._beginning = beginning

    def seen(self, within: int | None = None) -> torch.Tensor:
        """What each token sees, [1, 1, n, beginning + n]: itself and before, `within` so many tokens if given."""
        rows = self.positions[0][:, None]
        seen = self._columns <= rows
        seen[:, self._beginning :] &= self._of[:, None] == self._of
        if within is not None:
            seen &= self._columns > rows - within
        return seen[None, None]
