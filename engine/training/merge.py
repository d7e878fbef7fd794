"""Weights with an adapter merged into them, for a server that knows no adapters; how far they drift is measured.

The sum is made in float32: in bfloat16 part of a small adapter is rounded away, and greedy answers change. What is
written has the data type of the base weights, so the drift that is reported is that of the files themselves.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.core.errors import TrainingError
from engine.models import adapters
from engine.models.checkpoints import tree_sha256
from engine.models.files.loading import causal_lm
from engine.models.files.source import resolve
from engine.models.files.tokenizer import declared_bos, tokenizer_of
from engine.models.files.weights import files_of
from engine.training.tokens import Tokens
from store.export import PROMPT_TEMPLATE
from store.read import Reader

PROMPTS = (
    "Explain why the sky is blue.",
    "Write one sentence about a lighthouse.",
    "List three uses of a paper clip.",
    "How do I tie a knot that does not slip?",
    "Translate 'good morning' into French.",
    "What should I do if I smell gas at home?",
)


def merge_adapter(
    reader: Reader, run_id: str, wanted: str, out: Path, *, dtype: str | None = None, prompts: Sequence[str] = PROMPTS
) -> dict[str, Any]:
    """Merge the adapter `wanted` (sft, dpo or a training's id) of a run into its base weights, into the folder `out`.

    `dtype` is that of the written weights (default: the base weights'). Returns {run, training, out, dtype, files,
    n_bytes, drift}, `drift` comparing base and adapter with the written weights on fixed prompts: largest difference of
    a logit and of a log-probability, and the share of prompts whose first token stays the likeliest. The folder appears
    whole or not at all. Raises TrainingError.
    """
    run = reader.run(run_id)
    found = adapters.of_run(reader, run["run_id"], wanted)
    if found is None:
        raise TrainingError(
            f"run {run['run_id']} has no finished adapter {wanted!r}",
            "Train it with `cai train`, or name another with --what. Nothing was written.",
        )
    adapters.require_whole(found)
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"{out} is there already", "Nothing was written; choose another --out.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise TrainingError(f"{out} can't be written: {error}", "Choose another --out.") from error
    try:
        written, drift = _merge(run["model"], found, aside, dtype, prompts)
        facts = {"run": run["run_id"], "training": found.training_id, "adapter_sha256": found.sha256,
                 "base_model": run["model"], "dtype": written, "drift": drift}  # fmt: skip
        (aside / "merge.json").write_text(json.dumps(facts, indent=1))
        shutil.copyfile(found.folder / "README.md", aside / "README.md")
        aside.chmod(0o755)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    except OSError as error:
        raise TrainingError(
            f"the merged weights could not be written: {error}",
            "They need as much room as the base model. Nothing was left behind.",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    files = [path for path in out.iterdir() if path.is_file()]
    sizes = {"files": len(files), "n_bytes": sum(path.stat().st_size for path in files)}
    return {"run": run["run_id"], "training": found.training_id, "out": str(out), "dtype": written, **sizes,
            "sha256": tree_sha256(out), "drift": drift}  # fmt: skip


def _merge(
    name: str, adapter: adapters.Adapter, folder: Path, dtype: str | None, prompts: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    import torch  # these three are heavy
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    path = files_of(resolve(name))
    tokenizer = tokenizer_of(path)
    tokens = Tokens(tokenizer, declared_bos(tokenizer))
    ids = [tokens.prompt(PROMPT_TEMPLATE.replace("{instruction}", text)) for text in prompts]
    stored = (
        getattr(torch, dtype)
        if dtype
        else (AutoConfig.from_pretrained(path, trust_remote_code=False).dtype or torch.bfloat16)
    )
    model = causal_lm(path, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(model, str(adapter.folder)).eval()
    wanted = [_logits(adapted, row) for row in ids]
    merged = adapted.merge_and_unload(safe_merge=True)  # refuses weights that are no numbers
    merged.to(stored).save_pretrained(folder)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    del merged, adapted, model
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    got = [_logits(again, row) for row in ids]
    logit = max(float((a - b).abs().max()) for a, b in zip(wanted, got, strict=True))
    logprob = max(float((a.log_softmax(-1) - b.log_softmax(-1)).abs().max()) for a, b in zip(wanted, got, strict=True))
    same = [int(a[-1].argmax()) == int(b[-1].argmax()) for a, b in zip(wanted, got, strict=True)]
    drift = {"prompts": len(ids), "largest_logit": logit, "largest_logprob": logprob, "same_top1": sum(same)}
    return str(stored).removeprefix("torch."), drift


def _logits(model: Any, ids: list[int]) -> Any:
    """The logits after each token of a prompt, [tokens, vocabulary]."""
    import torch  # heavy

    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].float()
