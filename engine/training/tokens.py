"""From texts to token ids, exactly as the model is fed when it generates, and the proof of it on the first batch.

Prompt and response are tokenised apart: generation tokenises the prompt alone and goes on from its last token, so no
token may ever span the border. The declared BOS stands in front, the end marker behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.errors import TrainingError

IGNORED = -100
SHOWN_ROWS = 4


class Tokens:
    """A tokenizer as training uses it. `bos` is the token that the model's own tokenizer puts first, or None.

    Raises TrainingError for a tokenizer without an end marker.
    """

    def __init__(self, tokenizer: Any, bos: int | None) -> None:
        self.tokenizer = tokenizer
        self.bos = bos
        if tokenizer.eos_token_id is None:
            raise TrainingError(
                "the model's tokenizer has no end marker (EOS), by which a response is taught to end",
                "Set eos_token in its tokenizer_config.json to a token that it has. Nothing was trained.",
            )
        self.eos = int(tokenizer.eos_token_id)

    def plain(self, text: str) -> list[int]:
        """Ids of a text in which nothing counts as a special token."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return ids

    def prompt(self, text: str) -> list[int]:
        ids = self.plain(text)
        return ids if self.bos is None else [self.bos, *ids]

    def response(self, text: str) -> list[int]:
        return [*self.plain(text), self.eos]

    def example(self, prompt: str, completion: str) -> dict[str, list[int]]:
        """One supervised example: `input_ids` and `labels`, the prompt's labels being -100."""
        asked, answered = self.prompt(prompt), self.response(completion)
        return {"input_ids": asked + answered, "labels": [IGNORED] * len(asked) + answered}

    def length(self, row: Mapping[str, str]) -> int:
        """Tokens of an example or of the longer side of a pair."""
        answers = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
        return len(self.prompt(row["prompt"])) + max(len(self.response(text)) for text in answers)


def require_mask(rows: Sequence[tuple[list[int], list[bool]]], tokens: Tokens) -> None:
    """Raise TrainingError unless each (ids, supervised) supervises one run of tokens that ends with the end marker.

    The run begins after at least one token that isn't supervised, the first of which is the declared BOS.
    """
    for ids, supervised in rows:
        wrong = _wrong(ids, supervised, tokens)
        if wrong:
            raise TrainingError(
                f"the loss mask of the first batch is wrong: {wrong}",
                "Nothing was trained. This is a defect of the program or of a library's version: run `cai doctor`.",
            )


def _wrong(ids: list[int], supervised: list[bool], tokens: Tokens) -> str:
    if not any(supervised):
        return "a row has no token to learn from"
    first = supervised.index(True)
    last = len(supervised) - 1 - supervised[::-1].index(True)
    if first == 0:
        return "the first token of a row is supervised"
    if not all(supervised[first : last + 1]):
        return "the supervised tokens of a row are not in one piece"
    if ids[last] != tokens.eos:
        return "the last supervised token is not the end marker"
    if tokens.bos is not None and ids[0] != tokens.bos:
        return "a row does not begin with the declared BOS"
    if last != len(ids) - 1:
        return "tokens follow the end marker"
    return ""


def shown(rows: Sequence[tuple[list[int], list[bool]]], tokens: Tokens) -> list[dict[str, str]]:
    """The first rows of a batch as text that a person can look at: what is masked, and what is learned."""
    decode = tokens.tokenizer.decode
    starts = [(ids, supervised.index(True)) for ids, supervised in rows[:SHOWN_ROWS]]
    return [{"masked": decode(ids[:first]), "learned": decode(ids[first:])} for ids, first in starts]
