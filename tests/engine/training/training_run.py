"""A run that may be trained, with rows of known texts, and a model so small that a step takes milliseconds."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.core.events import Event
from engine.evaluation.gap import GATE, gap_evidence
from engine.evaluation.items import item_set
from engine.evaluation.verifiers import scorer_sha256
from engine.quality import gates
from engine.quality.gates import evidence_sha256, gate_row, recompute
from engine.quality.pair_selection import recheck_pairs
from engine.run.engine import Engine, open_engine
from engine.run.orders import Train
from engine.spec.stage import StageSpec, load_spec
from engine.training.job import Job, read_journal, say
from store.db import Store
from store.read import Reader
from tests.store import rows

RUN = "run-a"
WORDS = [
    "amber",
    "basin",
    "candle",
    "delta",
    "ember",
    "fjord",
    "garnet",
    "harbor",
    "indigo",
    "jasper",
    "kettle",
    "lantern",
    "meadow",
    "nectar",
    "onyx",
    "pebble",
    "quartz",
    "raven",
    "saddle",
    "timber",
    "umber",
    "velvet",
    "willow",
    "yonder",
    "zephyr",
    "anchor",
    "bramble",
    "cobalt",
    "drizzle",
    "easel",
    "fathom",
    "gravel",
]


def tiny_model(folder: Path) -> Path:
    """A Llama of two layers with a byte-level tokenizer of its own, BOS in front, and merges that begin with a space."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    texts = [f"Instruction: Name the {a} of the {b}.\nResponse: The {a} is {b}." for a in WORDS for b in WORDS[:6]]
    special = ["<pad>", "<bos>", "<eos>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=512, special_tokens=special, initial_alphabet=alphabet)
    )
    inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def settings(**changed: str) -> StageSpec:
    """The small stage 6 with gates that these rows pass and trainings of a few steps."""
    return load_spec(
        "stage_6_small_model",
        {
            "gate.audited_critics_at_least": "0",
            "pairs.audited_critics_at_least": "0",
            "pairs.hard_negative": "1.0",
            "pairs.best_of": "1.0",
            "pairs.pairs_at_least": "4",
            "pairs.revisions_at_least": "0",
            "pairs.best_of_at_least": "0",
            "pairs.decided_by_critic_at_least": "0",
            "pairs.chosen_longer_at_most": "1.0",
            "sft.epochs": "4.0",
            "sft.effective_batch": "4",
            "sft.checkpoint_every": "4",
            "sft.learning_rate": "0.01",
            "sft.patience": "0",
            "sft.examples_at_least": "8",
            "dpo.epochs": "2.0",
            "dpo.learning_rate": "0.005",
            "dpo.checkpoint_every": "4",
            "dpo.patience": "0",
            "adapter.dropout": "0.1",  # so that a resume has to restore the random state, too
            **changed,
        },
    ).settings


def trainable_store(
    path: Path, model: Path, spec: StageSpec, *, examples: int = 24, pairs: int = 16, fingerprint: str = "fp-1",
    texts: Sequence[tuple[str, str]] = (), worse: Sequence[str] = (),
) -> Path:  # fmt: skip
    """A run of `examples` accepted samples and `pairs` kept pairs, its gates decided on those rows.

    `texts` are instructions and good responses, `worse` responses for the rejected side; else they are made up.
    """
    rng = random.Random(1)
    text: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("instructions", "samples", "judgements", "verdicts", "candidates", "pairs")
    }
    for number in range(examples + 6):
        a, b, c = rng.sample(WORDS, 3)
        split = "train" if number < examples else "validation" if number < examples + 3 else "test"
        name, of = f"s{number:03d}", f"i{number:03d}"
        asked, response = f"Name {a} {b} {c} item {number}.", f"The {a} is {b} and {c}."
        if texts:
            asked, response = texts[number]
        text["instructions"].append(rows.instruction(of, ordinal=number, text=asked, split=split))
        text["samples"].append(
            rows.sample(name, of, ordinal=number, raw=response, response=response, trimmed=[], n_tokens=7)
        )
        text["judgements"] += [
            rows.judgement(name, "grade"), rows.judgement(of, "grade", subject_kind="instruction")
        ]  # fmt: skip
        text["verdicts"] += [rows.verdict(name), rows.verdict(of, subject_kind="instruction")]
        if number < pairs:
            bad = worse[number] if worse else f"Some {c} was never in a {a} by any {b} at all."
            text["candidates"].append(
                {
                    "run_id": RUN, "candidate_id": f"c{number:03d}", "ordinal": number, "instruction_id": of,
                    "sample_id": name, "source": "off_topic", "number": 1, "request_id": f"q-c{number:03d}", "raw": bad,
                    "response": bad, "trimmed": [], "stop_reason": "stop", "n_tokens": 11, "detail": "",
                }
            )  # fmt: skip
            text["pairs"].append(
                {
                    "run_id": RUN, "pair_id": f"p{number:03d}", "ordinal": number, "instruction_id": of,
                    "source": "hard_negative", "detail": "off_topic", "principle_id": None, "question": "which is better",
                    "chosen_id": name, "rejected_id": f"c{number:03d}", "chosen": response,
                    "rejected": bad, "chosen_tokens": 7,
                    "rejected_tokens": 11, "margin_nats": 0.5, "margin_in_front": 0.5, "margin_behind": 0.5,
                    "preference": 0.6,
                }
            )  # fmt: skip
            text["verdicts"].append(rows.verdict(f"p{number:03d}", subject_kind="pair"))
    run = rows.run(
        RUN, spec="stage_6_small_model", settings=spec.model_dump(), state="done", model=str(model), fingerprint=fingerprint,
        manifest={"model_license": "test"},
    )  # fmt: skip
    with Store.open(path) as store, store.reader() as reader:
        store.append({"runs": [run], "guard_checks": [rows.guard_check("sentinel")], **text})
        decide_gates(store, reader, spec)
    return path


def decide_gates(store: Store, reader: Reader, spec: StageSpec) -> None:
    """Both gates on the rows as they are, and a gap gate that found a gap."""
    now = datetime.now(UTC)
    gap = [gates.Check(f"{name}_right", 0.1, 0.05, 0.2, 14 * 16, "<=", 0.3) for name in ("base_raw", "base_formatted")]
    evidence = gap_evidence([], item_set().sha256, scorer_sha256())
    store.put({"gates": [gate_row(RUN, GATE, check, evidence, now) for check in gap]})
    for name, checks in (
        ("final", recompute(reader, RUN, spec).checks),
        ("final pairs", recheck_pairs(reader, RUN, spec).checks),
    ):
        evidence = evidence_sha256(checks)
        store.put({"gates": [gate_row(RUN, name, check, evidence, now) for check in checks]})


def train(
    path: Path,
    *kinds: str,
    command: list[str] | None = None,
    on_event: Callable[[Engine, Event], None] = lambda engine, event: None,
    **overrides: str,
) -> Engine:
    """Train to the end; the engine is returned with its store still open, its events in `seen`."""
    seen: list[Event] = []

    def emit(event: Event) -> None:
        seen.append(event)
        on_event(opened, event)

    changed = {name.replace("__", "."): value for name, value in overrides.items()}
    opened = open_engine(Train(path, RUN, kinds, changed), emit)
    opened.seen = seen  # type: ignore[attr-defined]
    if command is not None:
        opened.training_command = command
    opened.start()
    assert opened.join(240), "the training does not end"
    return opened


def notes(opened: Engine) -> str:
    """Everything that the engine noted, a line each."""
    return "\n".join(event.payload()["text"] for event in opened.seen if event.kind == "Noted")  # type: ignore[attr-defined]


def losses(opened: Engine, method: str = "sft") -> list[tuple[int, float, float]]:
    """Step, loss and gradient norm of each step of the newest training of a method."""
    with opened.store.reader() as reader:
        found = reader.query(
            "SELECT s.step, s.loss, s.grad_norm FROM training_steps s JOIN trainings t USING (run_id, training_id) "
            "WHERE t.method = ? ORDER BY s.step",
            [method],
        )
    return [(row["step"], row["loss"], row["grad_norm"]) for row in found]


class InProcess:
    """Stands in for engine.training.worker.Worker: the process's code in a thread, for faults that kill nothing.

    Importing the libraries anew would take ten times as long as what is tested.
    """

    pid = 0

    def __init__(self, folder: Path, job: Job, command: Sequence[str], offset: int) -> None:
        self.folder, self.offset = folder, offset
        job.write(folder)
        say(folder, "run")
        self.exit_code: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        from engine.training import child

        self.exit_code = child.main(["", str(self.folder)])

    def reports(self) -> Iterator[dict[str, Any]]:
        for offset, report in read_journal(self.folder, self.offset):
            self.offset = offset
            yield report

    def wait_a_little(self) -> None:
        time.sleep(0.02)

    def say(self, command: str) -> None:
        say(self.folder, command)

    def kill(self) -> None:
        self.say("stop")
        self._thread.join()


def patched(folder: Path, patch: str) -> list[str]:
    """A command for the training process that runs some code before it: how faults are put in."""
    script = folder / "patched.py"
    script.write_text(f"import sys\n{patch}\nfrom engine.training.child import main\nsys.exit(main(sys.argv))\n")
    return [sys.executable, str(script)]
