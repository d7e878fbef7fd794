"""A pilot's calls to its model as distilabel pipelines: run by `against_distilabel.py`, in distilabel's environment.

`python distilabel_work.py WORK.json`: each group of requests is a pipeline. Texts are written by its TextGeneration on
its TransformersLLM, helped in two ways that its own options lack: batches, and the stop strings. It has no labels'
log-probabilities, so they are read by a Step of the careful kind: padded batches, and only the last position's logits.
Prints one JSON line for each group; the time to load a model is taken out.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from distilabel.models.llms import TransformersLLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts, Step, StepInput
from distilabel.steps.tasks import TextGeneration

LOADED = "CAI_BENCH_LOADED"  # names a file to which each step writes how long it took to load


def note(began: float) -> None:
    with Path(os.environ[LOADED]).open("a") as file:
        file.write(f"{time.monotonic() - began}\n")


class Helped(TransformersLLM):
    """TransformersLLM with batches and stop strings."""

    batch: int = 8
    stop: tuple[str, ...] = ()

    def load(self) -> None:
        began = time.monotonic()
        super().load()
        pipe: Any = self._pipeline
        pipe.tokenizer.chat_template = None
        pipe.tokenizer.padding_side = "left"
        pipe._batch_size = self.batch
        if self.stop:
            pipe._forward_params |= {"stop_strings": list(self.stop), "tokenizer": pipe.tokenizer}
        note(began)


class Labels(Step):
    """The log-probabilities of the next token's labels, in padded batches."""

    model: str
    dtype: str
    _model: Any = None
    _tokenizer: Any = None

    @property
    def inputs(self) -> list[str]:
        return ["prompt", "labels"]

    @property
    def outputs(self) -> list[str]:
        return ["logprobs"]

    def load(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        began = time.monotonic()
        super().load()
        self._tokenizer = AutoTokenizer.from_pretrained(self.model, padding_side="left")
        self._model = AutoModelForCausalLM.from_pretrained(self.model, dtype=getattr(torch, self.dtype)).eval()
        note(began)

    def process(self, inputs: StepInput) -> Any:  # type: ignore[override]
        with torch.no_grad():
            asked = self._tokenizer([row["prompt"] for row in inputs], return_tensors="pt", padding=True)
            logits = self._model(**asked, logits_to_keep=1).logits[:, -1].float().log_softmax(-1)
        for row, found in zip(inputs, logits, strict=True):
            row["logprobs"] = [float(found[label]) for label in row["labels"]]
        yield inputs


def run(group: dict[str, Any], model: str, dtype: str, batch: int) -> dict[str, Any]:
    """One group as a pipeline: seconds without loading, and the rows that came out."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[LOADED] = str(Path(folder) / "loaded")
        with Pipeline(name=group["name"], cache_dir=folder) as pipeline:
            rows = LoadDataFromDicts(data=group["rows"], batch_size=batch)
            if group["kind"] == "generate":
                llm = Helped(
                    model=model, torch_dtype=dtype, batch=batch, stop=group["stop"], generation_kwargs=group["decoding"]
                )
                rows >> TextGeneration(llm=llm, input_batch_size=batch)
            else:
                rows >> Labels(model=model, dtype=dtype, input_batch_size=batch)
        began = time.monotonic()
        done = pipeline.run(use_cache=False)
        seconds = time.monotonic() - began
        loading = max(float(line) for line in Path(os.environ[LOADED]).read_text().split())
        out = done["default"]["train"]
    empty = sum(1 for row in out if not row.get("generation" if group["kind"] == "generate" else "logprobs"))
    return {"name": group["name"], "rows": len(out), "empty": empty, "seconds": seconds - loading, "loading": loading}


if __name__ == "__main__":
    work = json.loads(Path(sys.argv[1]).read_text())
    for one in work["groups"]:
        print(json.dumps(run(one, work["model"], work["dtype"], work["batch"])), flush=True)
