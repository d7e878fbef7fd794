"""The tokens that are learned: by hand, over borders that merge, and as generation and critics are fed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import TrainingError
from engine.models.requests import Model
from engine.training.faults import story
from engine.training.tokens import IGNORED, Tokens, require_mask, shown
from tests.engine.training.training_run import tiny_model


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    from transformers import AutoTokenizer

    return Tokens(AutoTokenizer.from_pretrained(tiny_model(tmp_path_factory.mktemp("tiny"))), bos=1)


def ids_of(tokens: Tokens, *pieces: str) -> list[int]:
    return [tokens.tokenizer.convert_tokens_to_ids(piece) for piece in pieces]


def test_labels_by_hand(tokens: Tokens) -> None:
    found = tokens.example("Response:", " The amber is")
    asked, answered = ids_of(tokens, "<bos>", "Response", ":"), ids_of(tokens, "ĠThe", "Ġamber", "Ġis", "<eos>")
    assert found == {"input_ids": asked + answered, "labels": [IGNORED] * 3 + answered}


@pytest.mark.parametrize(
    ("prompt", "completion", "asked", "answered"),
    [
        # Joined, each of these would be one token over the border: "Response", "Ġamber", "Ġis".
        ("Respon", "se:", ["R", "es", "p", "on"], ["s", "e", ":"]),
        (" amb", "er", ["Ġamb"], ["er"]),
        (" i", "s", ["Ġ", "i"], ["s"]),
    ],
)
def test_no_token_spans_the_border_of_prompt_and_response(
    tokens: Tokens, prompt: str, completion: str, asked: list[str], answered: list[str]
) -> None:
    joined = tokens.plain(prompt + completion)
    apart = tokens.example(prompt, completion)
    plain_asked, plain_answered = tokens.plain(prompt), tokens.plain(completion)
    assert len(joined) < len(plain_asked) + len(plain_answered), "the border does not merge: the case tests nothing"
    assert apart["input_ids"] == [tokens.bos, *plain_asked, *plain_answered, tokens.eos]
    assert apart["labels"] == [IGNORED] * (1 + len(plain_asked)) + [*plain_answered, tokens.eos]
    decode = tokens.tokenizer.decode
    assert decode(plain_asked) == prompt and decode(plain_answered) == completion


def test_a_special_token_in_a_text_stays_text(tokens: Tokens) -> None:
    found = tokens.response(" say <eos> now")
    assert found.count(tokens.eos) == 1 and found[-1] == tokens.eos


def test_padding_and_prompt_are_masked_in_the_batch_that_the_trainer_sees(tokens: Tokens) -> None:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = [tokens.example("Response:", " The amber is"), tokens.example("Instruction: Name it.\nResponse:", " amber")]
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(rows)
    for row, ids, labels, seen in zip(
        rows, batch["input_ids"].tolist(), batch["labels"].tolist(), batch["attention_mask"].tolist(), strict=True
    ):
        n = len(row["input_ids"])
        assert ids[:n] == row["input_ids"] and labels[:n] == row["labels"]
        assert set(labels[n:]) <= {IGNORED} and sum(seen) == n


def masked(labels: list[int]) -> list[bool]:
    return [label != IGNORED for label in labels]


def test_a_wrong_mask_is_refused_with_what_is_wrong(tokens: Tokens) -> None:
    row = tokens.example("Response:", " The amber is")
    ids, right = row["input_ids"], masked(row["labels"])
    require_mask([(ids, right)], tokens)
    for wrong, why in (
        ([False] * len(ids), "no token to learn"),
        ([True] * len(ids), "first token of a row is supervised"),
        ([*right[:4], False, *right[5:]], "not in one piece"),
        ([*right[:-1], False], "not the end marker"),
    ):
        with pytest.raises(TrainingError, match=why):
            require_mask([(ids, wrong)], tokens)
    with pytest.raises(TrainingError, match="declared BOS"):
        require_mask([(ids[1:], right[1:])], tokens)


def test_where_padding_is_the_end_marker_each_row_still_learns_one_end_marker(tokens: Tokens) -> None:
    from trl.trainer.dpo_trainer import DataCollatorForPreference
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = [tokens.example("Response:", " The amber is"), tokens.example("Instruction: Name it.\nResponse:", " amber")]
    batch = DataCollatorForLanguageModeling(pad_token_id=tokens.eos)(rows)
    for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        assert labels.count(tokens.eos) == 1 <= ids.count(tokens.eos)
    assert batch["input_ids"].eq(tokens.eos).sum() > 2, "nothing is padded: the case tests nothing"
    asked = tokens.prompt("Response:")
    chosen, rejected = tokens.response(" The amber is a fjord"), tokens.response(" amber")
    pairs = [{"prompt_ids": asked, "chosen_ids": chosen, "rejected_ids": rejected}]
    found = DataCollatorForPreference(pad_token_id=tokens.eos)(pairs)
    for ids, learned in zip(found["input_ids"].tolist(), found["completion_mask"].tolist(), strict=True):
        assert [token for token, kept in zip(ids, learned, strict=True) if kept].count(tokens.eos) == 1


def test_a_tokenizer_without_an_end_marker_makes_no_training_data(tokens: Tokens) -> None:
    import copy

    tokenizer = copy.deepcopy(tokens.tokenizer)
    tokenizer.eos_token = None
    with pytest.raises(TrainingError, match="no end marker") as caught:
        Tokens(tokenizer, bos=1)
    assert "eos_token" in caught.value.hint and story(caught.value)["title"] == caught.value.title


def test_what_a_person_sees_of_the_first_batch(tokens: Tokens) -> None:
    row = tokens.example("Response:", " The amber is")
    assert shown([(row["input_ids"], masked(row["labels"]))], tokens) == [
        {"masked": "<bos>Response:", "learned": " The amber is<eos>"}
    ]


def test_packed_examples_do_not_see_each_other(tmp_path: Path) -> None:
    """The loss of packed rows is that of the examples one by one (without it, Krell et al. 2021, 2107.02027, fig. 2)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from engine.training.trainers import sft_supervised

    folder = tiny_model(tmp_path / "tiny")
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa").eval()
    tokens = Tokens(AutoTokenizer.from_pretrained(folder), 1)
    rows = [
        tokens.example(f"Name the {a}.\nResponse:", f" The {b} is {a}.")
        for a, b in (("amber", "fjord"), ("onyx", "ember"))
    ]
    ids = torch.tensor([[i for row in rows for i in row["input_ids"]]])
    labels = torch.tensor([[i for row in rows for i in row["labels"]]])
    places = torch.tensor([[at for row in rows for at in range(len(row["input_ids"]))]])
    with torch.no_grad():
        packed = model(input_ids=ids, position_ids=places, use_cache=False).logits[0]
        single = torch.cat([model(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in rows])
    assert torch.allclose(packed, single, atol=1e-5)
    found = sft_supervised({"input_ids": ids, "labels": labels, "position_ids": places})
    assert found == [(row["input_ids"], masked(row["labels"])) for row in rows]


@pytest.mark.model
@pytest.mark.xdist_group("model")
def test_training_generation_and_critics_are_fed_the_same(base_model: Model) -> None:
    from transformers import AutoTokenizer

    from engine.models.files.source import resolve
    from engine.models.files.tokenizer import declared_bos
    from engine.models.files.weights import files_of

    tokenizer: Any = AutoTokenizer.from_pretrained(files_of(resolve(None)))
    tokens = Tokens(tokenizer, declared_bos(tokenizer))
    for text in ("Instruction: Name a river.\nResponse:", " Tabs\tand  spaces", "<bos> in a text", "naïve 日本 🙂"):
        assert tuple(tokens.prompt(text)) == base_model.encoding(text).token_ids
    assert tokens.prompt("Water")[0] == tokenizer.bos_token_id
