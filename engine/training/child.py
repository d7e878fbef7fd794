"""The training process: `python -m engine.training.child FOLDER`, alone or under `accelerate launch`.

It reads the job that the engine left in the folder, trains, and reports into the folder's journal. It ends by itself
within one step when it is told to stop or when its engine is gone, with a checkpoint of that step; before its first
step it ends at once when its engine is gone. Model libraries are
imported in functions, because Unsloth, where it serves, has to come before them.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import os
import resource
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.core.errors import TrainingError
from engine.models import adapters, checkpoints
from engine.models.files.source import resolve
from engine.models.files.tokenizer import declared_bos
from engine.models.files.weights import files_of
from engine.training import job as jobs
from engine.training import loading
from engine.training.faults import NotFinite, story
from engine.training.job import Job, Journal, heard, read_examples, read_journal
from engine.training.orphan import Orphan
from engine.training.tokens import Tokens, require_mask, shown

PAUSE_LOOK_S = 0.2
# Figures that not every method has, by TRL's names.
OF_LOGS = {"grad_norm": "grad_norm", "entropy": "entropy", "reward_margin": "rewards/margins",
           "reward_accuracy": "rewards/accuracies"}  # fmt: skip
EXIT_FAILED = 1  # of several processes
EXIT_UNREPORTED = 70  # the journal itself could not be written


def main(argv: list[str]) -> int:
    """Run one job. The exit code says only whether the journal holds the end of the story, or, to `accelerate launch`,
    that this one of several processes has failed and the others, which wait for it, are to be ended.
    """
    folder = Path(argv[1])
    job = Job.read(folder)
    rank = int(os.environ.get("RANK", "0"))
    try:
        if rank:
            try:
                Training(job, folder, None).run()
            except BaseException as error:
                Journal(folder).write("failed", **story(error))
                raise
            return 0
        with (folder / "lock").open("w") as lock:
            jobs.wait_for_lock(lock)
            journal = Journal(folder)
            try:
                Training(job, folder, journal).run()
            except BaseException as error:
                traceback.print_exc()
                journal.write("failed", **story(error))
                if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                    return EXIT_FAILED
    except OSError as error:
        sys.stderr.write(f"training: {error}\n")
        return EXIT_UNREPORTED
    return 0


class Training:
    """One job from its files to an adapter. Only the first of several processes has a journal."""

    def __init__(self, job: Job, folder: Path, journal: Journal | None) -> None:
        self.job = job
        self.folder = folder
        self.journal = journal
        self.best: tuple[float, int] | None = None  # held-out loss, step
        self.worse = 0  # measurements in a row without a better one
        self.why = "done"
        self._tokens_in_step = 0
        self._checked = False
        self._engine = job.engine()
        self.orphan = Orphan(self._engine)

    def tell(self, kind: str, **fields: Any) -> None:
        if self.journal is not None:
            self.journal.write(kind, **fields)

    def run(self) -> None:
        """Load, train, and leave the adapter aside for the engine to put in place."""
        with self.orphan:
            self._run()

    def _run(self) -> None:
        job, folder = self.job, self.folder
        checkpoints.clear_partial(folder)
        (folder / checkpoints.FOLDER).mkdir(exist_ok=True)
        os.environ.setdefault("TQDM_DISABLE", "1")
        loader, why = loading.choose_loader(job.adapter)
        self.tell("noted", level="info", text=f"loader: {loader}, since {why}")
        import torch  # these two after the loader, for Unsloth has to be imported before them

        from engine.training.trainers import arguments, build

        config = arguments(job, folder)
        path = files_of(resolve(job.model))
        loading.require_base(job, path)
        model, tokenizer, loader = loading.load(
            job, path, loader, lambda text: self.tell("noted", level="warning", text=text)
        )
        tokens = Tokens(tokenizer, declared_bos(tokenizer))
        train, heldout = self._fitting(tokens)
        if job.settings.get("precompute_reference"):
            self.tell("noted", level="info", text=f"computing the reference's log-probabilities, "
                      f"{job.reference_batch or job.micro_batch} pairs at once")  # fmt: skip
        trainer, method = build(job, folder, config, model, tokenizer, tokens, train, heldout)
        self.trainer, self.tokens, self.method = trainer, tokens, method
        trainer.on_batch = self._on_batch
        trainer.on_checkpoint = self._on_checkpoint
        trainer.add_callback(_callback(self))
        self._has_heldout = bool(heldout)
        on_gpu = torch.cuda.is_available()
        self.tell(
            "loaded",
            loader=loader,
            device=torch.cuda.get_device_name() if on_gpu else "CPU",
            device_bytes=torch.cuda.get_device_properties(0).total_memory if on_gpu else None,
            processes=trainer.args.world_size,
            micro_batch=job.micro_batch,
            accumulation=trainer.args.gradient_accumulation_steps,
            trainable=sum(map(_count, (p for p in model.parameters() if p.requires_grad))),
            parameters=sum(map(_count, model.parameters())),
            examples=len(train),
            heldout=len(heldout),
            packages=_versions(),
        )
        resume = str(folder / job.resume_from) if job.resume_from else None
        try:
            trainer.train(resume_from_checkpoint=resume)
        except Exception as error:
            alone = trainer.args.world_size == 1  # saving is a meeting of all processes, and the others are elsewhere
            if story(error)["cause"] == "memory" and trainer.state.global_step and alone:
                self._keep_what_there_is()
            raise
        if self.why == "stopped":
            self.tell("finished", why="stopped", step=trainer.state.global_step)
            return
        step = trainer.state.global_step
        if self.best is not None and job.settings["patience"] and self.best[1] != step:
            step = self._whole_or(self.best[1], step)
        if trainer.is_world_process_zero():
            loading.save_adapter(folder / checkpoints.name_of(step), tokenizer, folder / adapters.ASIDE)
        self.tell("finished", why=self.why, step=trainer.state.global_step, adapter_step=step)

    def _whole_or(self, step: int, last: int) -> int:
        """The best step where its checkpoint is whole, else the last one, which has just been written."""
        found = checkpoints.read(self.folder, checkpoints.name_of(step))
        if isinstance(found, checkpoints.Checkpoint):
            return step
        text = f"the checkpoint of step {step}, the best, is damaged ({found}): the adapter is that of step {last}"
        self.tell("noted", level="warning", text=text)
        return last

    def _fitting(self, tokens: Any) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Examples that fit the length; of the others it is told which they are."""
        found = []
        most, least = self.job.settings["max_length"], self.job.settings["examples_at_least"]
        for name in ("train", "heldout"):
            rows = read_examples(self.folder / f"{name}.jsonl")
            lengths = [(row["id"], tokens.length(row)) for row in rows]
            if long := [example for example, n in lengths if n > most]:
                self.tell("left_out", split=name, ids=long, max_length=most)
            self.tell("lengths", split=name, tokens=lengths)
            found.append([row for row, (_, n) in zip(rows, lengths, strict=True) if n <= most])
        if len(found[0]) < least:
            raise TrainingError(
                f"only {len(found[0])} examples are no longer than {most} tokens, and {least} are wanted",
                "Raise max_length if the device has the memory, or examples_at_least. Nothing was trained.",
            )
        return found[0], found[1]

    def _on_batch(self, inputs: Mapping[str, Any]) -> None:
        self._tokens_in_step += sum(
            int(mask.sum())
            for name, mask in inputs.items()
            if name.endswith("attention_mask") and not name.startswith(("prompt", "KL_"))
        ) or int(inputs["input_ids"].numel())
        if not self._checked:
            self._checked = True
            rows = self.method.supervised(inputs)
            require_mask(rows, self.tokens)
            self.tell("first_batch", rows=shown(rows, self.tokens))

    def _on_checkpoint(self, made: checkpoints.Checkpoint) -> None:
        removed = checkpoints.prune(self.folder, self.best[1] if self.best else None)
        self.tell("checkpoint", step=made.step, path=made.path, n_bytes=made.n_bytes, heldout_loss=made.heldout_loss,
                  removed=removed)  # fmt: skip

    def _keep_what_there_is(self) -> None:
        """A checkpoint of the last whole step, for the next start with a smaller batch."""
        import torch

        self.trainer.model.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            self.trainer._save_checkpoint(self.trainer.model, None)
        except Exception as error:  # the checkpoint before it is whole
            self.tell("noted", level="warning", text=f"the last step could not be kept: {type(error).__name__}")

    def step_ended(self, logs: Mapping[str, float], state: Any, seconds: float) -> None:
        """Report one step of the optimiser; raises NotFinite."""
        loss, norm = float(logs["loss"]), logs.get("grad_norm")
        numbers = [loss] if norm is None else [loss, float(norm)]
        if not all(map(math.isfinite, numbers)):
            what = "the loss" if not math.isfinite(loss) else "the gradient"
            raise NotFinite(
                f"{what} is no number any more at step {state.global_step}",
                "Nothing of this step was kept; the last checkpoint is whole. Lower the learning rate, or look at the "
                "examples of this step, and train anew with --set.",
            )
        if self.trainer.args.world_size > 1:
            import torch

            mine = torch.tensor([self._tokens_in_step], device=self.trainer.accelerator.device)
            self._tokens_in_step = int(self.trainer.accelerator.gather(mine).sum())
        self.tell(
            "step",
            step=state.global_step,
            planned=state.max_steps,
            epoch=float(state.epoch or 0),
            loss=loss,
            learning_rate=float(logs["learning_rate"]),
            **{name: None if logs.get(key) is None else float(logs[key]) for name, key in OF_LOGS.items()},
            n_tokens=self._tokens_in_step,
            seconds=seconds,
            memory_bytes=_peak_memory(),
        )
        self._tokens_in_step = 0

    def measured(self, loss: float, step: int) -> bool:
        """Report a held-out loss; True where training should end by the spec's patience."""
        self.trainer.heldout_loss = loss
        self.tell("heldout", step=step, loss=loss)
        if not step:
            return False
        self._compare(loss, step)
        return self.patience_is_over

    @property
    def patience_is_over(self) -> bool:
        patience = self.job.settings["patience"]
        return bool(patience) and self.worse >= patience

    def _compare(self, loss: float, step: int) -> None:
        if self.best is None or loss < self.best[0]:
            self.best, self.worse = (loss, step), 0
        else:
            self.worse += 1

    def remember(self) -> None:
        """Take up the held-out losses that were measured up to the step from which training goes on."""
        reports = [report for _, report in read_journal(self.folder) if report["kind"] == "heldout"]
        for step, loss in sorted({report["step"]: report["loss"] for report in reports}.items()):
            if 0 < step <= self.trainer.state.global_step:
                self._compare(loss, step)

    def told(self) -> str:
        """What the engine wants now; the same answer for every process."""
        command = jobs.RUN
        if self.journal is not None:
            command = heard(self.folder) if jobs.lives(self._engine) else jobs.STOP
        if self.trainer.args.world_size > 1:
            from accelerate.utils import broadcast_object_list

            command = broadcast_object_list([command])[0]
        return command


def _callback(training: Training) -> Any:
    from transformers import TrainerCallback

    class Reports(TrainerCallback):  # type: ignore[misc]
        """What happens at the borders of a step."""

        began = 0.0
        seconds = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step:
                training.remember()
                if training.patience_is_over:  # it had ended, but its adapter was not put in place
                    training.why = "no better held-out loss"
                    control.should_training_stop = True
            elif training._has_heldout:
                training.trainer.evaluate()

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.began = time.monotonic()
            training.orphan.step_begins()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.seconds = time.monotonic() - self.began
            control.should_log = True
            last = state.global_step >= state.max_steps
            if last or state.global_step % training.job.settings["checkpoint_every"] == 0:
                control.should_evaluate = training._has_heldout
                control.should_save = True
            command = training.told()
            if command == jobs.PAUSE:
                training.tell("paused", step=state.global_step)
                while command == jobs.PAUSE:
                    time.sleep(PAUSE_LOOK_S)
                    command = training.told()
                training.tell("resumed", step=state.global_step)
            if command == jobs.STOP and not last:
                training.why = "stopped"
                control.should_save = control.should_training_stop = True

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs and "learning_rate" in logs:
                training.trainer.heldout_loss = None
                training.step_ended(logs, state, self.seconds)

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
            if training.measured(float(metrics["eval_loss"]), state.global_step):
                training.why = "no better held-out loss"
                control.should_training_stop = True

    return Reports()


def _count(parameter: Any) -> int:
    """Numbers in a parameter, of which ZeRO-3 leaves none where it was."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _peak_memory() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "unsloth", "bitsandbytes")
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv))
