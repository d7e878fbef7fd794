"""What a folder can be wrong in, as its small files and the headers of its weights tell before anything is loaded.

Folders are read here and nothing else: a file is named with what is wrong with it and what a person may do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.core.errors import ModelError, ModelUnknown

CONFIG, ADAPTER = "config.json", "adapter_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = (
    "tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt", "spiece.model",
    "sentencepiece.bpe.model", "*.tiktoken", "tiktoken.model",
)  # fmt: skip
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
NOT_CAUSAL = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
_POINTER = b"version https://git-lfs"
_SAFE = "Nothing was lost."
_AGAIN = f"Download or copy it again. {_SAFE}"
_BASE = f"Name the folder of a decoder-only base model. {_SAFE}"


def no_model(folder: Path) -> ModelUnknown:
    """Why a folder without config.json, or a GGUF file, can't be a model's."""
    if folder.is_file():
        error = _gguf(folder)
    elif (folder / ADAPTER).is_file():
        error = _adapter(folder)
    elif found := _named(folder, "*.gguf"):
        error = _gguf(found[0])
    else:
        error = ModelError(f"no {CONFIG} in {folder}", f"Name the folder that holds a model's files. {_SAFE}")
    return ModelUnknown(error.title, error.hint)


def require_sound(folder: Path, *, whole: bool = True) -> None:
    """Raise ModelError with the file that is wrong. Reads no weights, only their headers.

    With `whole` all files must be there; a name on the hub may have more that are fetched when it is loaded, even its
    configuration.
    """
    for file in sorted(folder.iterdir()):
        if _is_pointer(file):
            hint = f"Run `git lfs pull` in {folder}, then the same command again. {_SAFE}"
            raise ModelError(f"{file.name} is a git-LFS pointer, not the file itself", hint)
    if (folder / ADAPTER).is_file():
        raise _adapter(folder)
    if whole or (folder / CONFIG).is_file():
        _require_causal(_json(folder / CONFIG))
    for file, keys in shards(folder, whole):
        missing = keys - set(header(file))
        if missing:
            raise ModelError(f"{file.name} lacks {min(missing)}, which {INDEX} places there", _AGAIN)
    if whole and not _named(folder, *TOKENIZERS):
        raise ModelError(
            f"no tokenizer in {folder}", f"Copy {TOKENIZERS[0]} and tokenizer_config.json of the same model. {_SAFE}"
        )


def quantisation(folder: Path) -> str:
    """How a folder's weights are quantised, such as gptq; empty where they are not, or nothing says so yet."""
    config = _json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    inner = config.get("text_config")
    texts = (config, inner if isinstance(inner, dict) else {})
    settings = [one[name] for one in texts for name in ("quantization_config", "compression_config") if one.get(name)]
    if not settings:
        return "gptq" if (folder / "quantize_config.json").is_file() else ""
    settled = settings[0] if isinstance(settings[0], dict) else {}
    return str(settled.get("quant_method") or "of an unnamed kind")


def header(file: Path) -> dict[str, Any]:
    """The tensors that a safetensors file says it has. Raises ModelError where it is cut off or damaged.

    Eight bytes with the header's length, the header in JSON, then the tensors at the offsets that it names.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise ModelError(f"{file.name} is cut off or no safetensors file: it has {size:,} bytes", _AGAIN)
        try:
            found = json.loads(stream.read(length))
            found.pop("__metadata__", None)
            wanted = 8 + length + max((one["data_offsets"][1] for one in found.values()), default=0)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            raise ModelError(f"{file.name} is damaged: its header can't be read", _AGAIN) from None
    if size != wanted:
        text = f"{file.name} is cut off or damaged: it has {size:,} bytes, its header says {wanted:,}"
        raise ModelError(text, _AGAIN)
    return dict(found)


def file_of(folder: Path, tensor: str) -> str:
    """The name of the file with a tensor, as far as names tell."""
    files = _named(folder, "*.safetensors")
    return next((file.name for file in files if tensor in header(file)), files[0].name if len(files) == 1 else WEIGHTS)


def _require_causal(config: dict[str, Any]) -> None:
    classes = [str(name) for name in config.get("architectures") or ()]
    said = ", ".join(classes) or config.get("model_type")
    if config.get("is_encoder_decoder"):
        raise ModelError(f"{CONFIG} is of an encoder-decoder ({said}), not of a causal language model", _BASE)
    if classes and all(name.endswith(NOT_CAUSAL) for name in classes):
        raise ModelError(f"{CONFIG} is of {said}, which continues no text", _BASE)
    own = config.get("auto_map")
    if isinstance(own, dict) and own.get("AutoModelForCausalLM"):
        from transformers import CONFIG_MAPPING  # heavy, and only for a model with code of its own

        if config.get("model_type") not in CONFIG_MAPPING:
            raise own_code(f"{CONFIG} ({said})")


def own_code(what: str) -> ModelError:
    """The refusal of code that travels with a model."""
    return ModelError(
        f"{what} wants to run code of its own, which this program never does",
        "Name a model of a class that transformers has, or read that code, serve the model yourself "
        f"(vllm serve FOLDER --trust-remote-code) and name the server's address. {_SAFE}",
    )


def shards(folder: Path, whole: bool) -> Iterator[tuple[Path, set[str]]]:
    """The files of a folder's weights with the tensors that the index places in each, none named where it has no index.

    With `whole` raises ModelError for a file that is missing.
    """
    if (folder / WEIGHTS).is_file():
        yield folder / WEIGHTS, set()
    elif (folder / INDEX).is_file():
        places = _json(folder / INDEX).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise ModelError(f"{INDEX} has no weight_map", _AGAIN)
        for name in sorted(set(map(str, places.values()))):
            if (folder / name).is_file():
                yield folder / name, {tensor for tensor, file in places.items() if file == name}
            elif whole:
                raise ModelError(f"{name} is missing, which {INDEX} names", f"Download the missing file. {_SAFE}")
    elif whole:
        raise _no_weights(folder)


def _no_weights(folder: Path) -> ModelError:
    if found := _named(folder, "*.gguf"):
        return _gguf(found[0])
    if found := _named(folder, *PICKLED):
        return ModelError(
            f"the weights in {found[0].name} are pickled, and a pickle can run code as it is read",
            "Where you trust their source, load them with transformers and write them by save_pretrained into another "
            f"folder, with the tokenizer; name that one. {_SAFE}",
        )
    return ModelError(f"no weights in {folder}: neither {WEIGHTS} nor {INDEX} is there", _AGAIN)


def _adapter(folder: Path) -> ModelError:
    base = _json(folder / ADAPTER).get("base_model_name_or_path")
    return ModelError(
        f"{ADAPTER} says that this folder holds an adapter, not a model",
        f"Name its base model{f' ({base})' if base else ''}, or a folder into which the adapter was merged "
        f"(`cai merge` for one that was trained here). {_SAFE}",
    )


def _gguf(file: Path) -> ModelError:
    return ModelError(
        f"{file.name} is GGUF, from which the exact weights and tokenizer can't be had",
        "Name the folder with the same model's safetensors, or serve the file (llama-cpp-python with logits_all) and "
        f"name the server's address. {_SAFE}",
    )


def _json(file: Path) -> dict[str, Any]:
    """The object in a file. Raises ModelError."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file.name} can't be read: {error}", _AGAIN) from None
    if not isinstance(found, dict):
        raise ModelError(f"{file.name} is no JSON object", _AGAIN)
    return found


def _is_pointer(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size > 1024:  # a pointer has three lines
        return False
    with file.open("rb") as stream:
        return stream.read(len(_POINTER)) == _POINTER


def _named(folder: Path, *patterns: str) -> list[Path]:
    return sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})
