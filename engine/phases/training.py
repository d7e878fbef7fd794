"""Training: examples that passed their gate, a process that learns from them, and what it reports as rows.

A training is identified by its data, its settings, its model and the adapter it begins with: asked for again it goes on
from its newest whole checkpoint, and one that is done is not done twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine import events
from engine.control import Control
from engine.errors import Interrupted, TrainingError
from engine.training import adapters, checkpoints, forecast
from engine.training import job as jobs
from engine.training.locks import require_open
from engine.training.plan import Plan
from engine.training.worker import Worker, command_for, processes_of
from store import Reader, Store

SMALLER_BATCHES = 3  # times that a training may go on with half the micro-batch
SILENT_S = 1800.0  # without any report, loading included
STEP_FIELDS = (
    "step", "epoch", "loss", "learning_rate", "grad_norm", "entropy", "reward_margin", "reward_accuracy", "n_tokens",
    "seconds", "memory_bytes",
)  # fmt: skip


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


class _One:
    """One training from its first report to its adapter."""

    def __init__(self, trainer: Trainer, wanted: Plan) -> None:
        self._t = trainer
        self._plan = wanted
        self._run_id = trainer.run["run_id"]
        self._began = time.monotonic()
        self._before_s = 0.0
        self._last: dict[str, Any] | None = None  # the row of the last step
        self._ending: dict[str, Any] | None = None  # the report that ended the process
        self._loaded = False
        self._replaying = False
        self._saved_bytes = 0
        self.step = 0
        now = datetime.now(UTC)
        known = trainer.reader.query(
            "SELECT * FROM trainings WHERE run_id = ? AND training_id = ?", [self._run_id, wanted.training_id]
        )
        self._row: dict[str, Any] = {
            "run_id": self._run_id,
            "training_id": wanted.training_id,
            "session_id": trainer.session_id,
            "method": wanted.method,
            "settings": {"adapter": dict(wanted.adapter), wanted.kind: wanted.settings.model_dump()},
            "planned_steps": wanted.steps,
            "device": "",
            "device_bytes": wanted.memory.device if wanted.memory else None,
            "started_at": now,
            "data_sha256": wanted.found.sha256,
            "start_training": wanted.start.training_id if wanted.start else None,
            "elapsed_s": 0.0,
            "heldout_before": None,
            "first_batch": None,
            "facts": {
                "seed": wanted.seed,
                "forecast": wanted.memory.facts() if wanted.memory else None,
                "locks": {lock.name: lock.found for lock in wanted.locks},
                "micro_batches": [],
            },
        }
        if known:
            old = known[0]
            self._before_s = float(old["elapsed_s"] or 0.0)
            self._row |= {name: old[name] for name in ("started_at", "heldout_before", "device", "planned_steps")}
            for name in ("first_batch", "facts"):
                self._row[name] = json.loads(old[name]) if old[name] else self._row[name]

    def run(self) -> str:
        """Start the process, again with a smaller batch where the memory is used up, and take up what it reports."""
        wanted = self._plan
        micro = wanted.memory.micro_batch if wanted.memory else min(8, wanted.settings.effective_batch)
        # Several processes share the effective batch.
        share = max(1, wanted.settings.effective_batch // processes_of(self._t.command))
        micro = max(size for size in range(1, min(micro, share) + 1) if share % size == 0)
        checkpointing = bool(wanted.memory and wanted.memory.gradient_checkpointing)
        if wanted.memory is not None:
            self._tell_of_memory(wanted.memory)
        offset = self._replay()
        halved = 0
        while True:
            resume = self._newest()
            self._row["facts"]["micro_batches"].append(micro)
            self._put("running", "")
            job = jobs.Job(
                method=wanted.method,
                model=self._t.run["model"],
                model_name=self._t.run["model"],
                adapter=wanted.adapter,
                settings=wanted.settings.model_dump(),
                seed=wanted.seed,
                micro_batch=micro,
                gradient_checkpointing=checkpointing,
                start_adapter=str(wanted.start.folder) if wanted.start else None,
                resume_from=resume.path if resume else None,
                report_to=self._t.report_to,
            )
            self.step = resume.step if resume else 0
            ending = self._work(job, offset)
            offset = self._offset
            if ending["kind"] == "finished":
                return self._finish(ending)
            if ending["cause"] != "memory" or halved == SMALLER_BATCHES or micro == 1:
                raise self._failure(ending)
            halved += 1
            micro = max(size for size in range(1, micro) if size <= micro // 2 and micro % size == 0)
            text = (
                f"{ending['title']}: goes on with {micro} examples at once and "
                f"{wanted.settings.effective_batch // micro} times the accumulation; the effective batch stays "
                f"{wanted.settings.effective_batch}"
            )
            self._note("warning", text)

    def _replay(self) -> int:
        """Take up what was reported while no engine listened; returns where the journal ends."""
        offset = 0
        self._replaying = True
        for end, report in jobs.read_journal(self._plan.folder):
            offset = end
            if report["kind"] in ("step", "heldout", "checkpoint", "lengths", "first_batch"):
                self._take(report)
        self._replaying = False
        return offset

    def _newest(self) -> checkpoints.Checkpoint | None:
        found, damaged = checkpoints.newest(self._plan.folder)
        for path, what in damaged.items():
            on = f"step {found.step}" if found else "the beginning"
            self._note("warning", f"the checkpoint {Path(path).name} is damaged, {what}: training goes on from {on}")
        return found

    def _work(self, job: jobs.Job, offset: int) -> dict[str, Any]:
        """One process from its start to its end; returns its last report."""
        control, folder = self._t.control, self._plan.folder
        try:
            worker = Worker(folder, job, self._t.command, offset)
        except OSError as error:
            raise TrainingError(f"the training process could not be started: {error}", "Nothing was lost.") from error
        self._ending, self._loaded = None, False
        said, heard_at = jobs.RUN, time.monotonic()
        try:
            while True:
                code = worker.exit_code  # before its reports are read: none can follow those
                some = False
                for report in worker.reports():
                    some = True
                    self._take(report)
                now = time.monotonic()
                heard_at = now if some or control.paused else heard_at
                if code is not None:
                    break
                if control.stopping and not self._loaded:
                    break  # no step was done yet: nothing is lost by not waiting for one
                command = jobs.STOP if control.stopping else jobs.PAUSE if control.paused else jobs.RUN
                if command != said:
                    worker.say(command)
                    said = command
                if now - heard_at > self._t.silent_s:
                    raise TrainingError(
                        f"the training process has said nothing for {self._t.silent_s:.0f} s, and was ended",
                        "The last checkpoint is whole: `cai train` goes on from it. The log has what it printed.",
                    )
                worker.wait_a_little()
        finally:
            self._offset = worker.offset
            worker.kill()
        if self._ending is not None:
            return self._ending
        control.check()
        return {"kind": "failed", "cause": "error", **_died(code)}

    def _take(self, report: Mapping[str, Any]) -> None:
        kind = report["kind"]
        if kind == "step":
            self._take_step(report)
        elif kind == "heldout":
            self._take_heldout(report)
        elif kind == "checkpoint":
            self._take_checkpoint(report)
        elif kind == "lengths":
            most = self._plan.settings.max_length
            rows = [
                {"run_id": self._run_id, "training_id": self._plan.training_id, "example_id": name,
                 "split": report["split"], "n_tokens": n, "used": n <= most}
                for name, n in report["tokens"]
            ]  # fmt: skip
            self._t.store.put({"training_examples": rows})
        elif kind in ("paused", "resumed"):
            self._put("paused" if kind == "paused" else "running", "")
        elif kind == "first_batch":
            self._row["first_batch"] = report["rows"]
            self._put_unless_replaying()
        elif kind == "left_out":
            ids, most = report["ids"], report["max_length"]
            text = f"{len(ids)} {report['split']} examples are longer than {most} tokens and left out, such as {ids[0]}"
            self._note("warning", text)
        elif kind == "noted":
            self._note(report["level"], report["text"])
        elif kind == "loaded":
            self._take_loaded(report)
        elif kind in ("finished", "failed"):
            self._ending = dict(report)

    def _take_loaded(self, report: Mapping[str, Any]) -> None:
        self._loaded = True
        facts = {name: value for name, value in report.items() if name not in ("kind", "device_bytes")}
        self._row["facts"] |= facts
        self._row["device"] = report["device"]
        self._row["device_bytes"] = report["device_bytes"] or self._row["device_bytes"]
        batch = self._plan.settings.effective_batch
        self._row["planned_steps"] = int(-(-report["examples"] // batch) * self._plan.settings.epochs)
        self._put("running", "")
        self._t.emit(
            events.TrainingStarted(
                self._run_id, self._plan.training_id, self._plan.method, self._row["planned_steps"], self.step,
                report["examples"], report["device"],
            )
        )  # fmt: skip

    def _take_step(self, report: Mapping[str, Any]) -> None:
        row = {name: report.get(name) for name in STEP_FIELDS}
        row |= {"run_id": self._run_id, "training_id": self._plan.training_id, "heldout_loss": None,
                "session_id": self._t.session_id, "at": datetime.now(UTC)}  # fmt: skip
        self._last = row
        self._t.store.put({"training_steps": [row]})
        self._row["planned_steps"] = report["planned"]
        self.step = report["step"]
        if not self._replaying:
            self._tell_step()
            self._t.emit(
                events.PhaseProgressed(self._run_id, self._plan.kind, self.step, self._row["planned_steps"], None)
            )

    def _take_heldout(self, report: Mapping[str, Any]) -> None:
        if not report["step"]:
            self._row["heldout_before"] = report["loss"]
            self._put_unless_replaying()
        elif self._last is not None and self._last["step"] == report["step"]:
            self._last["heldout_loss"] = report["loss"]
            self._t.store.put({"training_steps": [self._last]})
            if not self._replaying:
                self._tell_step()

    def _tell_step(self) -> None:
        assert self._last is not None
        row = self._last
        self._t.emit(
            events.TrainingStepped(
                self._run_id, self._plan.training_id, row["step"], self._row["planned_steps"], row["loss"],
                row["heldout_loss"], row["reward_margin"],
                row["n_tokens"] / row["seconds"] if row["seconds"] else 0.0, row["memory_bytes"],
            )
        )  # fmt: skip

    def _take_checkpoint(self, report: Mapping[str, Any]) -> None:
        kept = {"run_id": self._run_id, "training_id": self._plan.training_id, "at": datetime.now(UTC), "kept": True,
                **{name: report[name] for name in ("step", "path", "n_bytes", "heldout_loss")}}  # fmt: skip
        gone = self._t.reader.query(
            "SELECT * FROM checkpoints WHERE run_id = ? AND training_id = ?", [self._run_id, self._plan.training_id]
        )
        removed = [row | {"kept": False} for row in gone if row["step"] in report["removed"]]
        self._t.store.put({"checkpoints": [*removed, kept]})
        if not self._replaying:
            self._t.emit(
                events.CheckpointSaved(self._run_id, self._plan.training_id, report["step"], report["n_bytes"])
            )

    def _finish(self, ending: Mapping[str, Any]) -> str:
        if ending["why"] == "stopped":
            raise Interrupted(
                f"training was stopped and kept at step {ending['step']}", "`cai train` goes on from there."
            )
        steps = self._t.reader.query(
            "SELECT step, loss, heldout_loss FROM training_steps WHERE run_id = ? AND training_id = ? AND step <= ? "
            "ORDER BY step",
            [self._run_id, self._plan.training_id, ending["step"]],
        )
        made = adapters.finish(self._t.run, self._row, steps, self._plan.folder, ending["adapter_step"])
        self._row |= {"adapter_sha256": made.sha256, "adapter_step": ending["adapter_step"],
                      "adapter_path": str(made.folder.relative_to(self._t.store.path.parent))}  # fmt: skip
        measured = {row["step"]: row["heldout_loss"] for row in steps if row["heldout_loss"] is not None}
        text = f"{self._plan.method} trained in {ending['step']} steps on {self._row['facts']['examples']} examples"
        before, after = self._row["heldout_before"], measured.get(ending["adapter_step"])
        if before is not None and after is not None:
            text += f", held-out loss {before:.4f} → {after:.4f}"
        if ending["adapter_step"] != ending["step"]:
            text += f" (the adapter is that of step {ending['adapter_step']}, the best)"
        self.close("done", "" if ending["why"] == "done" else f"ended early: {ending['why']}")
        return text

    def _failure(self, ending: Mapping[str, Any]) -> TrainingError:
        found, _ = checkpoints.newest(self._plan.folder)
        kept = f"Kept up to step {found.step}." if found else "No checkpoint was reached."
        if ending["cause"] == "memory":
            hint = f"Lower max_length or the adapter's rank, or take a larger device. {kept}"
            return TrainingError(ending["title"], hint)
        return TrainingError(ending["title"], f"{kept} {ending['hint']}".strip())

    def close(self, state: str, reason: str) -> None:
        """Say how it ended, in the store and to whoever listens."""
        self._put(state, reason)
        self._t.emit(events.TrainingFinished(self._run_id, self._plan.training_id, self._plan.method, state, reason))

    def _tell_of_memory(self, memory: forecast.Forecast) -> None:
        has = "" if memory.device is None else f" of {memory.device / 2**30:.1f} GiB"
        text = (
            f"memory forecast {memory.total / 2**30:.1f} GiB{has}: weights {memory.weights / 2**30:.2f}, adapter and "
            f"optimiser {(memory.adapter + memory.optimiser) / 2**30:.2f}, activations "
            f"{memory.activations / 2**30:.2f}, logits {memory.logits / 2**30:.2f}, {memory.micro_batch} examples at "
            f"once{', activations computed again' if memory.gradient_checkpointing else ''}"
        )
        self._note("info" if memory.fits else "warning", text)

    def _put_unless_replaying(self) -> None:
        if not self._replaying:
            self._put("running", "")

    def _put(self, state: str, reason: str) -> None:
        elapsed = self._before_s + time.monotonic() - self._began
        self._row |= {"state": state, "reason": reason, "elapsed_s": elapsed, "updated_at": datetime.now(UTC)}
        self._t.store.put({"trainings": [self._row]})

    def _note(self, level: str, text: str) -> None:
        self._t.emit(events.Noted(self._run_id, level, text))


def _died(code: int | None) -> dict[str, str]:
    """What to say of a process that ended without a last word."""
    if code is not None and code < 0:
        return {
            "title": f"the training process was killed (signal {-code})",
            "hint": "By a person, or by the system where memory ran out. `cai train` goes on from the last checkpoint.",
        }
    return {
        "title": f"the training process ended without a word (exit code {code})",
        "hint": "The log has what it printed; a full disk is the likeliest reason. `cai train` goes on from the last "
        "checkpoint.",
    }
