"""The fast path: rows that are written side by side, each in a slot of its own, and refilled as they finish.

Finished rows cost nothing, a shared beginning is computed once, and only a few candidates' logits are computed exactly.
It is used where the self-check finds that it gives what the model's own forward pass gives.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from engine.models.local.forward import Forward, common_beginning
from engine.models.local.slots import SlotCache
from engine.models.local.way import WrittenRow, wanted_candidates
from engine.models.requests import Completion, Generate
from engine.models.selfcheck import FAST

SPARE_CANDIDATES = 64  # candidates kept beyond top-k while the output matrix is read in bfloat16


class FastPath(Forward):
    """Writes and reads with caches and masks of its own."""

    name = FAST

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        """Continue each prompt; see engine.models.requests.Model. Raises PromptTooLong."""
        waiting = iter(requests)
        cache = SlotCache()
        rows: list[WrittenRow] = []
        exhausted = False
        while True:
            free = self.batch_size - len(rows)
            # Refilling in groups keeps the prefill's matrices large.
            if not exhausted and (not rows or free >= max(1, self.batch_size // 4)):
                new = [self._row(request) for request in itertools.islice(waiting, free)]
                exhausted = len(new) < free
                if new:
                    logits, ids = self._admit(cache, rows, new)
                    rows.extend(new)
                    self._choose(new, logits, ids)
                    yield from self._finished(cache, rows)
            if not rows:
                if exhausted:
                    return
                continue
            logits, ids = self._step(cache, rows)
            self._choose(rows, logits, ids)
            yield from self._finished(cache, rows)

    def _admit(
        self, cache: SlotCache, rows: list[WrittenRow], new: list[WrittenRow]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        prefixes = [self._shared(row.request) for row in new]
        hidden, starts = self._prefill(cache, len(rows), [row.prompt for row in new], prefixes)
        last = [len(row.prompt) - 1 - start for row, start in zip(new, starts, strict=True)]
        return self._candidates(hidden[range(len(new)), last], new)

    def _step(self, cache: SlotCache, rows: list[WrittenRow]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        tokens = torch.tensor([[row.written[-1]] for row in rows])
        hidden = self._forward(cache, slice(0, len(rows)), tokens, torch.tensor([row.length for row in rows]))
        return self._candidates(hidden[:, -1], rows)

    def _finished(self, cache: SlotCache, rows: list[WrittenRow]) -> Iterator[Completion]:
        """Take finished rows out of the batch, moving the last row into each hole."""
        index = 0
        while index < len(rows):
            done = self._ended(rows[index])
            if done is None:
                index += 1
                continue
            last = rows.pop()
            if index < len(rows):
                rows[index] = last
                cache.move(len(rows), index, last.length)
            yield done

    def _candidates(
        self, hidden: torch.Tensor, rows: list[WrittenRow]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits and ids of the tokens that can be chosen ([rows, candidates]); all of them where top-k is off."""
        wanted = wanted_candidates(rows)
        if wanted is None:
            logits = self._head.logits(hidden)
            ids = torch.arange(logits.shape[-1]).expand_as(logits)
        else:
            ids = self._head.likeliest(hidden, wanted + SPARE_CANDIDATES)
            logits = self._head.logits_of(hidden, ids)
        return logits.cpu().numpy(), ids.cpu().numpy()

    def _prefill(
        self, cache: SlotCache, first: int, prompts: list[tuple[int, ...]], prefixes: list[tuple[int, ...]]
    ) -> tuple[torch.Tensor, list[int]]:
        """Run prompts into the slots from `first` on. Returns hidden states [rows, tokens, size] and, for each row,
        the position that its first hidden state belongs to (the length of the prefix that was not computed again)."""
        starts = []
        slots_of: dict[tuple[int, ...], list[int]] = {}
        for row, (prompt, prefix) in enumerate(zip(prompts, prefixes, strict=True)):
            beginning = common_beginning(prompt, prefix)
            starts.append(len(beginning))
            if beginning:
                slots_of.setdefault(beginning, []).append(first + row)
            else:
                cache.forget(first + row)
        for prefix, slots in slots_of.items():
            cache.write(slots, prefix, self._prefix_state(prefix))
        longest = max(len(prompt) - start for prompt, start in zip(prompts, starts, strict=True))
        tokens = torch.zeros((len(prompts), longest), dtype=torch.long)
        for row, (prompt, start) in enumerate(zip(prompts, starts, strict=True)):
            tokens[row, : len(prompt) - start] = torch.tensor(prompt[start:])
        return self._forward(cache, slice(first, first + len(prompts)), tokens, torch.tensor(starts)), starts
