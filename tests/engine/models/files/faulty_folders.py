"""A model's folder, and everything that such a folder can be wrong in, planted one by one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 17179869184\n"
WEIGHTS, INDEX, CONFIG, TOKENIZER = (
    "model.safetensors", "model.safetensors.index.json", "config.json", "tokenizer.json",
)  # fmt: skip
HEAD, EMBEDDING, DEEP = "lm_head.weight", "model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight"


@dataclass(frozen=True)
class Fault:
    """What is done to a sound folder, the words of the refusal, and what the person is told to do."""

    name: str
    plant: Callable[[Path], object]
    says: str
    advises: str
    at_load: bool = False  # seen only when the weights or the tokenizer are read


def changed(folder: Path, file: str, **fields: Any) -> None:
    """Fields of a JSON file set; those that are None are removed."""
    found = json.loads((folder / file).read_text()) | fields
    (folder / file).write_text(json.dumps({name: value for name, value in found.items() if value is not None}))


def weights_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / WEIGHTS)


def write(folder: Path, weights: dict[str, Any], name: str = WEIGHTS) -> None:
    from safetensors.torch import save_file

    save_file(weights, folder / name, metadata={"format": "pt"})


def sharded(folder: Path) -> list[Path]:
    """The same weights in two files with an index."""
    weights = weights_of(folder)
    (folder / WEIGHTS).unlink()
    names = sorted(weights)
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    files = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for file, half in zip(files, halves, strict=True):
        write(folder, {name: weights[name] for name in half}, file)
    places = {name: file for file, half in zip(files, halves, strict=True) for name in half}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return [folder / file for file in files]


def pointer_for(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(POINTER)


def cut(file: Path, n: int) -> None:
    file.write_bytes(file.read_bytes()[:n])


def spoilt(name: str, value: float) -> Callable[[Path], object]:
    """One number of a tensor is another one."""

    def plant(folder: Path) -> None:
        weights = weights_of(folder)
        weights[name].view(-1)[3] = value
        write(folder, weights)

    return plant


def without(*names: str) -> Callable[[Path], object]:
    return lambda folder: write(folder, {key: value for key, value in weights_of(folder).items() if key not in names})


def resized(rows: int) -> Callable[[Path], object]:
    """An embedding of another number of rows, in the configuration, too."""

    def plant(folder: Path) -> None:
        import torch

        weights = weights_of(folder)
        for name in {EMBEDDING, HEAD} & set(weights):
            weights[name] = torch.zeros(rows, weights[name].shape[1])
        write(folder, weights)
        changed(folder, CONFIG, vocab_size=rows)

    return plant


def configured(**fields: Any) -> Callable[[Path], object]:
    return lambda folder: changed(folder, CONFIG, **fields)


def processed(single: str) -> Callable[[Path], object]:
    """A tokenizer that puts special tokens around a text."""

    def plant(folder: Path) -> None:
        from tokenizers import Tokenizer, processors

        inner = Tokenizer.from_file(str(folder / TOKENIZER))
        special = [(name, inner.token_to_id(name)) for name in ("<bos>", "<eos>")]
        inner.post_processor = processors.TemplateProcessing(single=single, special_tokens=special)
        inner.save(str(folder / TOKENIZER))

    return plant


def removed(*patterns: str) -> Callable[[Path], object]:
    return lambda folder: [file.unlink() for pattern in patterns for file in folder.glob(pattern)]


def renamed(before: str, after: str) -> Callable[[Path], object]:
    return lambda folder: (folder / before).rename(folder / after)


def _missing_shard(folder: Path) -> None:
    sharded(folder)[1].unlink()


def _cut_shard(folder: Path) -> None:
    file = sharded(folder)[1]
    cut(file, file.stat().st_size - 100)


def _other_shard(folder: Path) -> None:
    first, second = sharded(folder)
    shutil.copyfile(first, second)


def _own_code(folder: Path) -> None:
    """A class of its own, whose file must never be run."""
    changed(
        folder,
        CONFIG,
        model_type="mine",
        architectures=["MineForCausalLM"],
        auto_map={"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.MineForCausalLM"},
    )
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")


def _own_tokenizer(folder: Path) -> None:
    changed(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.MineTokenizer", None]},
            tokenizer_class="MineTokenizer")  # fmt: skip
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    renamed(TOKENIZER, "vocab.txt")(folder)


def _adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base", "r": 8}))
    renamed(WEIGHTS, "adapter_model.safetensors")(folder)


def _adapter_alone(folder: Path) -> None:
    _adapter(folder)
    (folder / CONFIG).unlink()


def quantised(method: str, **more: Any) -> Fault:
    plant = configured(quantization_config={"quant_method": method, **more})
    return Fault(f"quantised by {method}", plant, rf"quantised \({method}\)", "CAI_BACKEND=vllm")


FAULTS = [
    Fault("LFS pointer for the weights", pointer_for(WEIGHTS), "model.safetensors is a git-LFS pointer", "git lfs pull"),
    Fault("LFS pointer for the tokenizer", pointer_for(TOKENIZER), "tokenizer.json is a git-LFS pointer", "git lfs pull"),
    Fault("LFS pointer for a shard", lambda f: sharded(f)[1].write_bytes(POINTER),
          "model-00002-of-00002.safetensors is a git-LFS pointer", "git lfs pull"),
    Fault("cut weights", lambda f: cut(f / WEIGHTS, 5000), "model.safetensors is cut off", "again"),
    Fault("empty weights", lambda f: cut(f / WEIGHTS, 0), "model.safetensors is cut off", "again"),
    Fault("no header", lambda f: (f / WEIGHTS).write_bytes(b"\x10" + b"\0" * 7 + b"not a JSON object" * 9),
          "model.safetensors is damaged", "again"),
    Fault("cut shard", _cut_shard, "model-00002-of-00002.safetensors is cut off", "again"),
    Fault("missing shard", _missing_shard, "model-00002-of-00002.safetensors is missing", "missing file"),
    Fault("the same shard twice", _other_shard, r"model-00002-of-00002.safetensors lacks model\.", "again"),
    Fault("index without map", lambda f: (sharded(f), (f / INDEX).write_text("{}")), "no weight_map", "again"),
    Fault("no weights", removed(WEIGHTS), "no weights", "again"),
    Fault("pickled weights only", renamed(WEIGHTS, "pytorch_model.bin"), "pytorch_model.bin are pickled", "save_pretrained"),
    Fault("GGUF only", renamed(WEIGHTS, "model.Q4_K_M.gguf"), "model.Q4_K_M.gguf is GGUF", "safetensors"),
    Fault("adapter in place of a model", _adapter, "adapter_config.json says", r"org/base.*cai merge"),
    Fault("adapter alone", _adapter_alone, "adapter_config.json says", r"org/base.*cai merge"),
    Fault("GGUF alone", lambda f: (renamed(WEIGHTS, "a.gguf")(f), removed("*.json")(f)), "a.gguf is GGUF", "serve"),
    Fault("no config", removed(CONFIG), "no config.json", "folder"),
    Fault("broken config", lambda f: cut(f / CONFIG, 40), "config.json can't be read", "again"),
    Fault("encoder-decoder", configured(is_encoder_decoder=True, architectures=["T5ForConditionalGeneration"]),
          "encoder-decoder", "decoder-only"),
    Fault("encoder", configured(architectures=["BertForMaskedLM"]), "BertForMaskedLM", "decoder-only"),
    Fault("custom code", _own_code, "config.json .MineForCausalLM. wants to run code of its own", "trust-remote-code"),
    Fault("no tokenizer", removed("tokenizer*"), "no tokenizer", "tokenizer.json"),
    quantised("gptq", bits=4), quantised("awq", bits=4), quantised("bitsandbytes", load_in_4bit=True), quantised("fp8"),
    Fault("wrong type in the config", configured(hidden_size="wide"), "config.json of .* can't be used", "own", True),
    Fault("unknown class", configured(model_type="mine", architectures=["MineForCausalLM"]),
          "config.json of .* can't be used.*`mine`", "installed transformers", True),
    Fault("custom tokenizer", _own_tokenizer, "the tokenizer wants to run code of its own", "trust-remote-code", True),
    Fault("cut tokenizer", lambda f: cut(f / TOKENIZER, 500), "the tokenizer of .* could not be loaded", "tokenizer.json", True),
    Fault("missing head", lambda f: (without(HEAD)(f), changed(f, CONFIG, tie_word_embeddings=False)),
          "the weights lack lm_head.weight, which would be random", "causal language model", True),
    Fault("missing layers", without(DEEP, "model.norm.weight"), "the weights lack model.layers.1.*and 1 more",
          "causal language model", True),
    Fault("NaN", spoilt(DEEP, float("nan")), f"model.safetensors has NaN or infinite numbers in {DEEP}", "again", True),
    Fault("infinity", spoilt(EMBEDDING, float("-inf")), f"has NaN or infinite numbers in {EMBEDDING}", "again", True),
    Fault("NaN in a shard", lambda f: (spoilt(DEEP, float("nan"))(f), sharded(f)),
          "model-0000[12]-of-00002.safetensors has NaN", "again", True),
    Fault("embedding too small", resized(100), "the model's embedding 100 rows", "own tokenizer", True),
    Fault("embedding too large", resized(1000), "the model's embedding 1,000 rows", "own tokenizer", True),
    Fault("another shape", configured(hidden_size=48, head_dim=24), "has the shape .* config.json wants", "of one", True),
    Fault("BOS twice", processed("<bos> <bos> $A"), "adds tokens that nobody asked for.*'<bos>', '<bos>'", "base model", True),
    Fault("EOS behind", processed("<bos> $A <eos>"), "adds tokens that nobody asked for.*'<eos>'", "base model", True),
]  # fmt: skip
