"""What a training process reports, as rows of the store and events for whoever listens."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from engine.core import events
from engine.training import job as jobs
from engine.training.plan import Plan, steps_of
from store.db import Store
from store.read import Reader
from store.salvage.clock import utc_now

STEP_FIELDS = (
    "step", "epoch", "loss", "learning_rate", "grad_norm", "entropy", "reward_margin", "reward_accuracy", "n_tokens",
    "seconds", "memory_bytes",
)  # fmt: skip


class Keeper(Protocol):
    """Whoever works on trainings: where rows and events go."""

    store: Store
    reader: Reader
    run: Mapping[str, Any]
    session_id: str

    @property
    def emit(self) -> events.Emit: ...


class Record:
    """The rows of one training, from its first report to its last."""

    def __init__(self, trainer: Keeper, wanted: Plan) -> None:
        self._t = trainer
        self._plan = wanted
        self._run_id = trainer.run["run_id"]
        self._ids = {"run_id": self._run_id, "training_id": wanted.training_id}
        self._began = time.monotonic()
        self._before_s = 0.0
        self._last: dict[str, Any] | None = None  # the row of the last step
        self._replaying = False
        self._saved_bytes = 0
        self.step = 0
        self._row: dict[str, Any] = {
            **self._ids,
            "session_id": trainer.session_id,
            "method": wanted.method,
            "settings": {"adapter": dict(wanted.adapter), wanted.section: wanted.settings.model_dump()},
            "planned_steps": wanted.steps,
            "device": "",
            "device_bytes": wanted.memory.device if wanted.memory else None,
            "started_at": utc_now(),
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
        for old in self._stored("trainings"):
            self._before_s = float(old["elapsed_s"] or 0.0)
            self._row |= {name: old[name] for name in ("started_at", "heldout_before", "device", "planned_steps")}
            for name in ("first_batch", "facts"):
                self._row[name] = json.loads(old[name]) if old[name] else self._row[name]

    def _stored(self, table: str) -> list[dict[str, Any]]:
        """This training's rows of a table."""
        sql = f"SELECT * FROM {table} WHERE run_id = ? AND training_id = ?"
        return self._t.reader.query(sql, list(self._ids.values()))

    def _replay(self) -> int:
        """Take up what was reported while no engine listened; returns where the journal ends."""
        offset = 0
        stored = {row["step"]: row for row in self._stored("training_steps")}
        self._replaying = True
        for end, report in jobs.read_journal(self._plan.folder):
            offset = end
            told = report["kind"]
            if told == "step" and report["step"] in stored:
                self._last = stored[report["step"]]
            elif told in ("step", "heldout", "lengths", "first_batch", "checkpoint"):
                self._take(report)
        self._replaying = False
        return offset

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
                {**self._ids, "example_id": name, "split": report["split"], "n_tokens": n, "used": n <= most}
                for name, n in report["tokens"]
            ]
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

    def _take_loaded(self, report: Mapping[str, Any]) -> None:
        self._row["facts"] |= {name: value for name, value in report.items() if name not in ("kind", "device_bytes")}
        self._row["device"] = report["device"]
        self._row["device_bytes"] = report["device_bytes"] or self._row["device_bytes"]
        self._row["planned_steps"] = steps_of(report["examples"], self._plan.settings)
        self._put("running", "")
        self._t.emit(
            events.TrainingStarted(
                self._run_id, self._plan.training_id, self._plan.method, self._row["planned_steps"], self.step,
                report["examples"], report["device"],
            )
        )  # fmt: skip

    def _take_step(self, report: Mapping[str, Any]) -> None:
        self._last = {name: report.get(name) for name in STEP_FIELDS} | self._ids
        self._last |= {"heldout_loss": None, "session_id": self._t.session_id, "at": _when(report)}
        self._t.store.put({"training_steps": [self._last]})
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
            if self._last["heldout_loss"] == report["loss"]:
                return
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
        kept = {name: report[name] for name in ("step", "path", "n_bytes", "heldout_loss")}
        kept |= {**self._ids, "at": _when(report), "kept": True}
        removed = [row | {"kept": False} for row in self._stored("checkpoints") if row["step"] in report["removed"]]
        self._t.store.put({"checkpoints": [*removed, kept]})
        if not self._replaying:
            self._t.emit(
                events.CheckpointSaved(self._run_id, self._plan.training_id, report["step"], report["n_bytes"])
            )

    def close(self, state: str, reason: str) -> None:
        """Say how it ended, in the store and to whoever listens."""
        self._put(state, reason)
        self._t.emit(events.TrainingFinished(self._run_id, self._plan.training_id, self._plan.method, state, reason))

    def _put_unless_replaying(self) -> None:
        if not self._replaying:
            self._put("running", "")

    def _put(self, state: str, reason: str) -> None:
        elapsed = self._before_s + time.monotonic() - self._began
        self._row |= {"state": state, "reason": reason, "elapsed_s": elapsed, "updated_at": utc_now()}
        self._t.store.put({"trainings": [self._row]})

    def _note(self, level: str, text: str) -> None:
        self._t.emit(events.Noted(self._run_id, level, text))


def _when(report: Mapping[str, Any]) -> datetime:
    """When the process reported it, which may be long before it is taken up."""
    return datetime.fromtimestamp(report["at"], UTC)
