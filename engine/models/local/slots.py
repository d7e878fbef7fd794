"""A key-value cache in which every row is a slot of its own and a column is a position.

Rows of different lengths live side by side without padding in front: a token at position p is written to column p, and
a query at position p sees the columns up to p. A row's result therefore does not depend on the lengths of its
neighbours, a finished row's slot can be refilled at once, and what lies in a slot beyond its row's length is never
seen. Active rows are kept in the first slots, so that attention reads a view and copies nothing.
"""

from __future__ import annotations

from typing import Any

import torch

ROOM = 64  # columns are allocated in steps of this many


class SlotCache:
    """Keys and values as [slots, heads, columns, head_dim] for each layer; speaks as much of transformers' Cache
    interface as an attention layer uses (`update`)."""

    def __init__(self) -> None:
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._rows = slice(0, 0)
        self._columns = torch.empty(0)
        self._width = 0
        self._prefixes: dict[int, object] = {}  # which shared prefix lies in a slot's first columns

    def begin(self, rows: slice, columns: torch.Tensor, width: int) -> None:
        """Say where the next forward pass writes: `columns` is [rows, tokens], `width` the columns it may see."""
        self._rows, self._columns, self._width = rows, columns, width

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one layer's new keys and values ([rows, heads, tokens, head_dim]) and return all that is visible."""
        for store, new in ((self._keys, keys), (self._values, values)):
            held = _room(store, layer, new, self._rows.stop, self._width)
            rows = torch.arange(self._rows.start, self._rows.stop, device=new.device)
            held[rows[:, None], :, self._columns] = new.transpose(1, 2)
        return (
            self._keys[layer][self._rows, :, : self._width],
            self._values[layer][self._rows, :, : self._width],
        )

    def get_seq_length(self, _layer: int = 0) -> int:
        """None that a class could count positions by: they are given."""
        return 0

    def read(self, slot: int, width: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """A copy of the first columns of a slot, layer by layer."""
        return [
            (keys[slot, :, :width].clone(), values[slot, :, :width].clone())
            for keys, values in zip(self._keys, self._values, strict=True)
        ]

    def forget(self, slot: int) -> None:
        """Say that the slot's first columns are about to be written by a row without a shared prefix."""
        self._prefixes.pop(slot, None)

    def write(self, slots: list[int], prefix: object, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Put a prefix's state, as `read` returned it, into the first columns of the slots that don't hold it yet."""
        slots = [slot for slot in slots if self._prefixes.get(slot) != prefix]
        if not slots:
            return
        self._prefixes.update(dict.fromkeys(slots, prefix))
        for layer, (keys, values) in enumerate(layers):
            for store, new in ((self._keys, keys), (self._values, values)):
                held = _room(store, layer, new, max(slots) + 1, new.shape[-2])
                held[slots, :, : new.shape[-2]] = new

    def move(self, source: int, target: int, width: int) -> None:
        """Copy one slot's first columns over another's."""
        self._prefixes[target] = self._prefixes.get(source)
        for store in (self._keys, self._values):
            for held in store:
                held[target, :, :width] = held[source, :, :width]


def _room(store: list[torch.Tensor], layer: int, like: torch.Tensor, rows: int, width: int) -> torch.Tensor:
    """The layer's tensor, made or grown to hold so many slots and columns."""
    heads, size = like.shape[-3], like.shape[-1]
    if layer == len(store):
        store.append(like.new_zeros((0, heads, 0, size)))
    held = store[layer]
    if held.shape[0] < rows or held.shape[2] < width:
        rows = max(rows, held.shape[0])
        columns = max(-(-width // ROOM) * ROOM, held.shape[2])
        grown = held.new_zeros((rows, heads, columns, size))
        grown[: held.shape[0], :, : held.shape[2]] = held
        held = store[layer] = grown
    return held
