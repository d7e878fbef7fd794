"""Text into tokens and back for vLLM, by the same rules as in the transformers backend.

vLLM is given token ids, so that nothing of it adds a token or reads one out of a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from engine.models import Encoding
from engine.models.transformers_backend import ROLES, _content_ids, declared_bos


class Text:
    """A model's own tokenizer; its chat template is taken away unless `chat` is asked for."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._chat = tokenizer.chat_template is not None
        self._bos = declared_bos(tokenizer)

    @classmethod
    def of(cls, path: str, *, chat: bool = False) -> Text:
        """The tokenizer in a folder or of a hub name. Raises OSError, ValueError, ModelError."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path)
        if not chat:
            tokenizer.chat_template = None
        return cls(tokenizer)

    def encode(self, text: str) -> list[int]:
        """A prompt's ids, with the declared BOS in front."""
        ids = self.plain(text)
        return ids if self._bos is None else [self._bos, *ids]

    def plain(self, text: str) -> list[int]:
        """A text's ids alone. What spells a special token stays text, except for a model that was loaded for chat."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=not self._chat).input_ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special tokens written out."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def encoding(self, text: str) -> Encoding:
        """What a model is fed for a text."""
        ids = self.encode(text)
        specials = set(self.tokenizer.all_special_ids) - set(_content_ids(self.tokenizer))
        tokens = tuple(self.tokenizer.convert_ids_to_tokens(ids))
        return Encoding(tuple(ids), tokens, self._bos, frozenset(specials - {self._bos}))

    def chat(self, history: Sequence[tuple[str, str]], prompt: str) -> str | None:
        """A conversation as the chat template writes it, without BOS; None without a template."""
        if not self._chat:
            return None
        turns = [{"role": role, "content": text} for pair in history for role, text in zip(ROLES, pair, strict=True)]
        turns.append({"role": ROLES[0], "content": prompt})
        text: str = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text.removeprefix(self.tokenizer.bos_token) if self._bos is not None else text


def end_ids(path: str, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's EOS and those of the model's generation config."""
    from transformers import GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:  # there is none: what the model's own configuration says, as transformers takes it
        from transformers import AutoConfig

        ends = getattr(AutoConfig.from_pretrained(path).get_text_config(), "eos_token_id", None)
    ids = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    return frozenset(i for i in ids if i is not None)
