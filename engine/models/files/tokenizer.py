"""Text into tokens and back, by the same rules for every backend that has the model's tokenizer at hand.

Models are given token ids, so that nothing of a library adds a token or reads one out of a text. transformers is
imported where a tokenizer is loaded, for it is heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from engine.core.errors import ModelError, PromptTooLong, first_line
from engine.core.text import flat
from engine.models.files import faults
from engine.models.requests import Encoding

ROLES = ("user", "assistant")  # as chat templates name them
LEAST_SHARE = 0.9  # of an embedding's rows that a tokenizer uses: what is padded for speed is a few in a hundred
SAID = 120  # characters of what a library says of a file


class Text:
    """A model's own tokenizer; its chat template is taken away unless `chat` is asked for."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._chat = tokenizer.chat_template is not None
        self._bos = declared_bos(tokenizer)

    @classmethod
    def of(cls, path: str, *, chat: bool = False) -> Text:
        """The tokenizer in a folder or of a hub name, which the model of that place can read.

        Raises ModelError.
        """
        rows = getattr(_text_config(path), "vocab_size", None)
        tokenizer = tokenizer_of(path)
        if rows is not None:
            require_vocabulary(tokenizer, int(rows))
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

    def fitting(self, prompt: str, room: int, context: int) -> tuple[int, ...]:
        """A prompt's ids, behind which `room` tokens fit in a context of so many. Raises PromptTooLong, and ModelError
        for a prompt of no tokens, which a model without BOS cannot go on with."""
        ids = tuple(self.encode(prompt))
        if not ids:
            raise ModelError(
                "an empty prompt, and this model's tokenizer has no BOS to go on from",
                "Give the spec's template or examples a word in front, or use a model with a BOS. What was committed "
                "is safe.",
            )
        if len(ids) + room > context:
            raise PromptTooLong(
                f"a prompt of {len(ids)} tokens and {room} more exceed the model's context of {context}",
                "Lower the token limit or the number of examples in the spec. What was committed is safe.",
            )
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


def tokenizer_of(path: str) -> Any:
    """transformers' tokenizer in a folder or of a hub name; code that travels with it is never run.

    Raises ModelError.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # of libraries that read files of any kind: tokenizers raises bare Exceptions
        if "trust_remote_code" in str(error):
            raise faults.own_code("the tokenizer") from None
        raise ModelError(
            f"the tokenizer of {path} could not be loaded: {flat(first_line(error), SAID)}",
            "Check the name, the network or the folder: tokenizer.json and tokenizer_config.json must be those of the "
            "model. Nothing was lost.",
        ) from error


def require_vocabulary(tokenizer: Any, rows: int) -> None:
    """Raise ModelError where a text may be read as tokens that an embedding of so many rows lacks, or where the
    tokenizer is much too small for it.

    Special tokens may lie beyond it, for no text spells them: Gemma 3 has one of its images there.
    """
    known = tokenizer.get_vocab()
    beyond = {i for i in known.values() if i >= rows}
    beyond -= {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    if beyond or len(known) < LEAST_SHARE * rows:
        ids = f" with ids up to {max(beyond):,}" if beyond else ""
        raise ModelError(
            f"the tokenizer has {len(known):,} tokens{ids}, the model's embedding {rows:,} rows",
            "They are of two models: put the model's own tokenizer into its folder. Nothing was lost.",
        )


def end_ids(path: str, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's EOS and those of the model's generation config."""
    from transformers import GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:  # there is none: what the model's own configuration says, as transformers takes it
        ends = getattr(_text_config(path), "eos_token_id", None)
    ids = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    return frozenset(i for i in ids if i is not None)


def declared_bos(tokenizer: Any) -> int | None:
    """The BOS that the model's own tokenizer puts first, and nothing else; ModelError where it adds more."""
    probe = "Water"
    plain = tokenizer(probe, add_special_tokens=False).input_ids
    usual = tokenizer(probe).input_ids
    if usual == plain:
        return None
    if tokenizer.bos_token_id is not None and usual == [tokenizer.bos_token_id, *plain]:
        return int(tokenizer.bos_token_id)
    raise ModelError(
        f"this tokenizer adds tokens that nobody asked for: {tokenizer.convert_ids_to_tokens(usual)}",
        "Only a BOS in front is accepted. Use the tokenizer of the base model. Nothing was lost.",
    )


def _text_config(path: str) -> Any:
    """The configuration of a model's part that reads text. Raises ModelError."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=False).get_text_config()
    except Exception as error:  # of a library that checks some fields and computes with others
        raise ModelError(
            f"config.json of {path} can't be used: {flat(first_line(error), SAID)}",
            "Restore the model's own, or name a model of a class that the installed transformers has. Nothing was "
            "lost.",
        ) from error


def _content_ids(tokenizer: Any) -> list[int]:
    """Special tokens that are no part of a chat format."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    plain = [getattr(tokenizer, name, None) for name in names]
    chat_like = ("im_", "turn", "inst", "header", "user", "assistant", "system")
    return [
        i
        for i in plain
        if i is not None and not any(word in str(tokenizer.convert_ids_to_tokens(i)).lower() for word in chat_like)
    ]
