"""Training: examples that passed their gate, a process that learns from them, and what it reports as rows.

A training is identified by its data, its settings, its model and the adapter it begins with: asked for again it goes on
from its newest whole checkpoint, and one that is done is not done twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.core import events
from engine.core.control import Control
from engine.core.errors import Interrupted, TrainingError
from engine.models import adapters, checkpoints
from engine.models.files.source import resolve
from engine.training import forecast
from engine.training import job as jobs
from engine.training.locks import require_open
from engine.training.plan import Plan
from engine.training.record import Record
from engine.training.worker import (
    SILENT_S,
    Sizes,
    Worker,
    command_for,
    failure,
    follow,
    processes_of,
    wait_until_free,
)
from store.db import Store
from store.read import Reader


@dataclass
class Trainer:
    """Works on the trainings of one run. `command` starts the process; a test may name another."""

    store: Store
    reader: Reader
    run: Mapping[str, Any]
    session_id: str
    control: Control
    emit: events.Emit
    command: Sequence[str] = field(default_factory=command_for)
    report_to: tuple[str, ...] = ()
    silent_s: float = field(default_factory=lambda: SILENT_S)

    def train(self, wanted: Plan) -> str:
        """Train to the end; returns one line that says what came out.

        Raises Locked, Interrupted where a person stopped it, and TrainingError, each with the last checkpoint intact.
        """
        run_id = self.run["run_id"]
        if wanted.done:
            text = f"{wanted.training_id} is trained already on these examples with these settings"
            self.emit(events.Noted(run_id, "info", text))
            return text
        require_open(wanted.locks)
        processes = processes_of(self.command)
        if wanted.settings.effective_batch % processes:
            raise TrainingError(
                f"the effective batch of {wanted.settings.effective_batch} can't be shared by {processes} processes",
                f"Set {wanted.section}.effective_batch to a multiple of {processes}. Nothing was trained.",
            )
        if processes > 1 and getattr(wanted.settings, "precompute_reference", False):
            raise TrainingError(
                "a reference that is computed before training is not shared by several processes",
                f"Set {wanted.section}.precompute_reference to false. Nothing was trained.",
            )
        if wanted.start is not None:
            adapters.require_whole(wanted.start)
        _leave_examples(wanted)
        self.emit(events.PhaseStarted(run_id, wanted.kind, wanted.steps))
        one = _One(self, wanted)
        try:
            text = one.run()
        except Interrupted as error:
            one.close("stopped", error.title)
            raise
        except TrainingError as error:
            one.close("failed", error.title)
            raise
        except BaseException as error:
            one.close("failed", f"{type(error).__name__}: {error}")
            raise
        self.emit(events.PhaseFinished(run_id, wanted.kind, one.step, None))
        return text


def _leave_examples(wanted: Plan) -> None:
    try:
        (wanted.folder / checkpoints.FOLDER).mkdir(parents=True, exist_ok=True)
        for name, rows in (("train", wanted.found.train), ("heldout", wanted.found.heldout)):
            jobs.write_examples(wanted.folder / f"{name}.jsonl", rows)
    except OSError as error:
        raise TrainingError(
            f"the folder {wanted.folder} can't be written: {error}",
            "Free some space or make it writable. Nothing was trained and the store is safe.",
        ) from error


class _One(Record):
    """One training from its first process to its adapter."""

    def __init__(self, trainer: Trainer, wanted: Plan) -> None:
        super().__init__(trainer, wanted)
        self._trainer = trainer

    def run(self) -> str:
        """Start the process, again with a smaller batch where the memory is used up, and take up what it reports."""
        wanted = self._plan
        micro = wanted.memory.micro_batch if wanted.memory else min(8, wanted.settings.effective_batch)
        # Several processes share the effective batch.
        share = wanted.settings.effective_batch // processes_of(self._trainer.command)
        micro = max(size for size in range(1, min(micro, share) + 1) if share % size == 0)
        memory = wanted.memory
        sizes = Sizes(micro, bool(memory and memory.gradient_checkpointing), memory.reference_batch if memory else None)
        if wanted.memory is not None:
            self._tell_of_memory(wanted.memory)
        source = resolve(self._trainer.run["model"])
        facts = self._trainer.run["manifest"].get("model") or {}
        wait_until_free(wanted.folder)
        offset = self._replay()
        while True:
            resume = self._newest()
            self._row["facts"]["micro_batches"].append(sizes.micro_batch)
            self._put("running", "")
            job = jobs.Job(
                method=wanted.learns,
                model=source.name if source.embedded else source.path,  # the process has another working folder
                model_name=self._trainer.run["model"],
                adapter=wanted.adapter,
                settings=wanted.settings.model_dump(),
                seed=wanted.seed,
                micro_batch=sizes.micro_batch,
                gradient_checkpointing=sizes.gradient_checkpointing,
                reference_batch=sizes.reference_batch,
                start_adapter=str(wanted.start.folder) if wanted.start else None,
                resume_from=resume.path if resume else None,
                report_to=self._trainer.report_to,
                base_fingerprint=facts.get("base_fingerprint"),
                base_dtype=facts.get("dtype"),
            )
            self.step = resume.step if resume else 0
            ending = self._work(job, offset)
            offset = self._offset
            if ending["kind"] == "finished":
                return self._finish(ending)
            after = sizes.smaller() if ending["cause"] == "memory" else None
            if after is None:
                raise failure(self._plan.folder, ending)
            sizes = after
            more = share // sizes.micro_batch
            text = (
                f"{ending['title']}: goes on with {sizes.told}, accumulated over {more}; the effective batch stays "
                f"{wanted.settings.effective_batch}"
            )
            self._note("warning", text)

    def _newest(self) -> checkpoints.Checkpoint | None:
        found, damaged = checkpoints.newest(self._plan.folder)
        for path, what in damaged.items():
            on = f"step {found.step}" if found else "the beginning"
            self._note("warning", f"the checkpoint {Path(path).name} is damaged, {what}: training goes on from {on}")
        return found

    def _work(self, job: jobs.Job, offset: int) -> dict[str, Any]:
        """One process from its start to its end; returns its last report."""
        try:
            worker = Worker(self._plan.folder, job, self._trainer.command, offset)
        except OSError as error:
            raise TrainingError(f"the training process could not be started: {error}", "Nothing was lost.") from error
        try:
            return follow(worker, self._trainer.control, self._take, self._trainer.silent_s)
        finally:
            self._offset = worker.offset

    def _finish(self, ending: Mapping[str, Any]) -> str:
        if ending["why"] == "stopped":
            raise Interrupted(
                f"training was stopped and kept at step {ending['step']}", "`cai train` goes on from there."
            )
        steps = self._trainer.reader.query(
            "SELECT step, loss, heldout_loss FROM training_steps WHERE run_id = ? AND training_id = ? AND step <= ? "
            "ORDER BY step",
            [self._run_id, self._plan.training_id, ending["step"]],
        )
        made = adapters.finish(self._trainer.run, self._row, steps, self._plan.folder, ending["adapter_step"])
        self._row |= {"adapter_sha256": made.sha256, "adapter_step": ending["adapter_step"],
                      "adapter_path": str(made.folder.relative_to(self._trainer.store.path.parent))}  # fmt: skip
        measured = {row["step"]: row["heldout_loss"] for row in steps if row["heldout_loss"] is not None}
        text = f"{self._plan.method} trained in {ending['step']} steps on {self._row['facts']['examples']} examples"
        before, after = self._row["heldout_before"], measured.get(ending["adapter_step"])
        if before is not None and after is not None:
            text += f", held-out loss {before:.4f} → {after:.4f}"
        if ending["adapter_step"] != ending["step"]:
            text += f" (the adapter is that of step {ending['adapter_step']}, the best)"
        self.close("done", "" if ending["why"] == "done" else f"ended early: {ending['why']}")
        return text

    def _tell_of_memory(self, memory: forecast.Forecast) -> None:
        has = "" if memory.device is None else f" of {memory.device / 2**30:.1f} GiB"
        text = (
            f"memory forecast {memory.total / 2**30:.1f} GiB{has}: weights {memory.weights / 2**30:.2f}, adapter and "
            f"optimiser {(memory.adapter + memory.optimiser) / 2**30:.2f}, activations "
            f"{memory.activations / 2**30:.2f}, logits {memory.logits / 2**30:.2f}, {memory.micro_batch} examples at "
            f"once{', activations computed again' if memory.gradient_checkpointing else ''}"
        )
        if memory.reference_batch is not None:
            text += f"; before it the reference, {memory.reference_batch} at once, {memory.reference / 2**30:.1f} GiB"
        self._note("info" if memory.fits else "warning", text)
