"""Several texts packed behind one beginning: what each token sees, and what a model makes of it."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from engine.core.errors import ModelError, PromptTooLong
from engine.models.files.tokenizer import Text
from engine.models.local.forward import _packs, common_beginning
from engine.models.local.packing import Pack, PackCache
from engine.models.local.way import FedText

CPU = torch.device("cpu")


@pytest.mark.parametrize("within", [None, 3])
def test_a_token_sees_the_beginning_and_its_own_text_and_nothing_else(within):
    beginning, lengths = 4, [3, 1, 5]
    pack = Pack(beginning, [[9] * length for length in lengths], CPU)
    seen = pack.seen(within)[0, 0]
    tokens = [(text, beginning + at) for text, length in enumerate(lengths) for at in range(length)]
    columns = [(None, at) for at in range(beginning)] + tokens
    assert pack.positions.tolist() == [[place for _, place in tokens]]
    for row, (text, place) in enumerate(tokens):
        for column, (other, where) in enumerate(columns):
            visible = other in (None, text) and where <= place and (within is None or place - where < within)
            assert bool(seen[row, column]) == visible


def test_texts_of_one_beginning_share_packs_and_none_is_lost_or_cut():
    rng = random.Random(7)
    fed = [FedText(n, (1,) * rng.randrange(3), [5] * rng.randrange(1, 30), []) for n in range(60)]
    packs = list(_packs(fed, 40))
    assert sorted(one.request for pack in packs for one in pack) == list(range(60))
    for pack in packs:
        assert len({one.beginning for one in pack}) == 1
        assert len(pack) == 1 or sum(len(one.text) for one in pack) <= 40
    (alone,) = _packs([FedText(0, (), [5] * 90, [])], 40)
    assert len(alone) == 1


@pytest.mark.parametrize(
    "prompt, shared, common",
    [
        ((1, 2, 3), (1, 2), (1, 2)),
        ((1, 2, 3), (1, 2, 3), (1, 2)),  # one token must be left to ask after
        ((1, 7, 3), (1, 2), (1,)),  # a token that joins the seam
        ((1, 2), (), ()),
    ],
)
def test_only_equal_tokens_are_a_beginning(prompt, shared, common):
    assert common_beginning(prompt, shared) == common


def test_a_prompt_of_no_tokens_is_refused():
    """Packed behind another text it would be given that text's scores."""

    class Nothing:
        chat_template = bos_token_id = None

        def __call__(self, text, **_):
            return SimpleNamespace(input_ids=[1] * len(text))

    text = Text(Nothing())
    assert text.fitting("ab", 3, 5) == (1, 1)
    with pytest.raises(ModelError, match="empty prompt"):
        text.fitting("", 3, 5)
    with pytest.raises(PromptTooLong, match="2 tokens and 4 more"):
        text.fitting("ab", 4, 5)


def test_packed_hidden_states_are_those_of_each_text_alone():
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, sliding_window=6,
        layer_types=["sliding_attention", "full_attention"] * 2,
    )  # fmt: skip
    model = Gemma3ForCausalLM(config).eval().get_decoder()
    beginning, texts = [2, 5, 9, 11, 3, 8, 7], [[4, 6], [10], [12, 13, 14, 15, 16]]
    with torch.no_grad():
        first = SimpleNamespace(layers=[], update=None)

        def keep(keys, values, layer, *_, **__):
            first.layers.append((keys[0], values[0]))
            return keys, values

        first.update = keep
        pack = Pack(0, [beginning], CPU)
        model(
            input_ids=pack.tokens, position_ids=pack.positions, past_key_values=first, use_cache=True,
            attention_mask={"full_attention": pack.seen(), "sliding_attention": pack.seen(6)},
        )  # fmt: skip
        pack = Pack(len(beginning), texts, CPU)
        together = model(
            input_ids=pack.tokens, position_ids=pack.positions, past_key_values=PackCache(first.layers),
            use_cache=True, attention_mask={"full_attention": pack.seen(), "sliding_attention": pack.seen(6)},
        ).last_hidden_state[0]  # fmt: skip
        for start, text in zip(pack.starts, texts, strict=True):
            alone = model(input_ids=torch.tensor([beginning + text]), use_cache=False).last_hidden_state[0]
            assert torch.allclose(together[start : start + len(text)], alone[len(beginning) :], atol=1e-5)
