"""What work on a run needs: its constitution, its model behind the store, and a session that says who worked."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engine.core import events
from engine.core.control import Control
from engine.core.errors import ModelError, SpecError
from engine.critics.adapted import LORA
from engine.critics.audit import KINDS as CRITICS_OF
from engine.critics.audit import served, stand_in
from engine.critics.probed import Taught
from engine.models import adapters, registry
from engine.models.adapters import Adapter
from engine.models.answers import Answers
from engine.models.requests import Model
from engine.models.selfcheck import of_facts
from engine.quality.teaching import lessons_of
from engine.review.context import Decision
from engine.spec.constitution import Constitution, load_constitution
from engine.spec.stage import StageSpec
from store.db import Store
from store.names import ELSEWHERE, STAND_INS, STOOD_IN
from store.read import Reader
from store.salvage.clock import utc_now

HELD = 32  # rows committed together at most


@dataclass(frozen=True)
class Work:
    """What every phase works with."""

    run_id: str
    session_id: str
    seed: int
    spec: StageSpec
    answers: Answers
    store: Store
    reader: Reader
    control: Control
    emit: events.Emit
    constitution: Constitution | None = None  # where the spec has critiques
    adapter: Adapter | None = None  # of the parent stage, which the model answers with
    taught: tuple[Taught, ...] = ()  # persons' labels that the run's probe of samples is fitted on
    # Returns where a decision that the spec may have reviewed is approved of; see engine.review.consultant.
    consult: Callable[[Decision], None] = lambda decision: None
    batch_size: int | None = None  # as it was asked for when the model was loaded


@contextmanager
def away(work: Work) -> Iterator[None]:
    """Give the model's memory to something else for a time, then load the same model again, with what it answered by.

    Raises ModelError where it is another one by then.
    """
    answers, before = work.answers, work.answers.model
    fingerprint, adapter = before.fingerprint, before.in_use
    before.close()
    answers.away = True
    yield
    run = work.reader.run(work.run_id)
    model = _load(run, work.spec, work.batch_size, work.emit)
    answers.model, answers.away = model, False
    if adapter is not None:
        model.use(adapter.folder, adapter.sha256)
    require_same(run, model, fingerprint)


def require_same(run: Mapping[str, Any], model: Model, fingerprint: str | None) -> None:
    """Raise ModelError where a model is not the one of that fingerprint that a run began with."""
    if fingerprint not in (None, model.fingerprint):
        raise ModelError(
            f"the model {run['model']} is not the one this run began with "
            f"(fingerprint {model.fingerprint}, was {fingerprint})",
            "Restore the old weights, or start a new run. What was committed is safe.",
        )


def begin_session(store: Store, run_id: str, session_id: str) -> None:
    """Say which process works on the run from now on."""
    row = {"session_id": session_id, "run_id": run_id, "pid": os.getpid(), "host": socket.gethostname()}
    store.append({"sessions": [row | {"started_at": utc_now()}]})


@contextmanager
def loaded_work(
    store: Store,
    reader: Reader,
    run: Mapping[str, Any],
    spec: StageSpec,
    *,
    session_id: str,
    control: Control,
    emit: events.Emit,
    on_work: Callable[[int, int], None] = lambda tokens, items: None,
    batch_size: int | None = None,
) -> Iterator[Work]:
    """Load what the run was begun with, after `begin_session`, and give a `Work`; at the end the model is closed.

    Raises SpecError where the constitution, and ModelError where the model is not the one that the run began with.
    """
    run_id = run["run_id"]
    emit(events.ModelLoading(run_id, run["model"]))
    if spread := registry.spread(run["model"]):
        emit(events.Noted(run_id, "info", spread))
    if notice := run["manifest"].get("model_notice"):
        emit(events.Noted(run_id, "info", notice))
    constitution = _constitution(run) if spec.pairs is not None else None
    began = time.monotonic()
    model = _load(run, spec, batch_size, emit)
    answers = Answers(model, store, session_id, control, on_work)
    try:
        parent = _parent(reader, run, spec, model.fingerprint, emit)
        if parent is not None:
            adapters.require_whole(parent)
            model.use(parent.folder, parent.sha256)
        require_same(run, model, run["fingerprint"])
        spec, found = _with_stand_ins(run, spec, model, emit)
        # A model that is not here has no facts: those of the machine that began the run stay.
        found |= {"model": model.facts} if model.facts else {ELSEWHERE: True}
        found |= {"adapter": parent and parent.facts(reader.path)}
        store.update_run(run_id, fingerprint=model.fingerprint, manifest=run["manifest"] | found)
        room = (answers.room, batch_size is not None)
        emit(events.ModelLoaded(run_id, model.name, model.fingerprint, time.monotonic() - began, *room))
        if (checked := of_facts(model.facts)) is not None:
            level = "warning" if checked.doubtful else "info"
            emit(events.Noted(run_id, level, f"Self-check of the model: {checked.told()}"))
        control.check()
        taught = lessons_of(reader, run["manifest"]).taught
        about = (constitution, parent, taught)
        yield Work(
            run_id, session_id, run["seed"], spec, answers, store, reader, control, emit, *about, batch_size=batch_size
        )
    finally:
        if not answers.away:
            answers.model.close()


def _load(run: Mapping[str, Any], spec: StageSpec, batch_size: int | None, emit: events.Emit) -> Model:
    model = registry.load(
        run["model"],
        batch_size=batch_size,
        lora_rank=lora_rank_of(spec),
        lora_slots=lora_slots_of(spec),
        fingerprint=run["fingerprint"],
    )
    if (tell := getattr(model, "tell", None)) is not None:  # of workers elsewhere that come and go
        tell(lambda text: emit(events.Noted(run["run_id"], "warning", text)))
    return model


def lora_rank_of(spec: StageSpec) -> int:
    """The largest rank of the adapters that a run of this spec may answer with; 0 where it has none."""
    critic = int(LORA["rank"]) if _may_have_adapter(spec) else 0
    return max(critic, spec.adapter.rank if spec.adapter is not None else 0)


def lora_slots_of(spec: StageSpec) -> int:
    """How many adapters a run of this spec asks at the same time: the parent stage's writes while a critic's scores."""
    return 2 if spec.parent is not None and _may_have_adapter(spec) else 1


def _may_have_adapter(spec: StageSpec) -> bool:
    """Whether a critic of the spec, or what stands in for one, is an adapter."""
    return any("adapter" in spec.critics.preferred(kind) for kind in CRITICS_OF)


def _with_stand_ins(
    run: Mapping[str, Any], spec: StageSpec, model: Model, emit: events.Emit
) -> tuple[StageSpec, dict[str, Any]]:
    """The spec with a critic in the place of each probe that the model cannot serve, and what the manifest keeps of it.

    Which one is settled once, and told then: a run that goes on is judged as it was, one of an earlier version by the
    only stand-in that there was.
    """
    found: dict[str, str] = dict(run["manifest"].get(STOOD_IN) or {})
    for kind in CRITICS_OF:
        if kind in found or (name := stand_in(spec, kind, model)) is None:
            continue
        found[kind] = name if run["fingerprint"] is None else STAND_INS["probe"][-1]
        why = "" if found[kind] == "adapter" else ", and no critic adapter was trained for it"
        text = f"this backend shows no hidden states to probe{why}: {kind} critic is {found[kind]}"
        emit(events.Noted(run["run_id"], "warning", text))
    return spec.model_copy(update={"critics": served(spec.critics, found)}), {STOOD_IN: found} if found else {}


def _parent(reader: Reader, run: Mapping[str, Any], spec: StageSpec, base: str, emit: events.Emit) -> Adapter | None:
    """The adapter that writes a stage's data: the one that the run began with, else its parent stage's newest."""
    known = run["manifest"].get("adapter")
    if known:
        return Adapter.of_facts(reader.path, known)
    if spec.parent is None or run["fingerprint"] is not None:
        return None
    found = adapters.of_stage(reader, spec.parent, base)
    if found is None:
        text = f"the parent stage {spec.parent} has no trained adapter here: the base model writes this stage's data"
        emit(events.Noted(run["run_id"], "warning", text))
    else:
        emit(events.Noted(run["run_id"], "info", f"{found.training_id} of {spec.parent} writes this stage's data"))
    return found


def _constitution(run: Mapping[str, Any]) -> Constitution:
    """The constitution, which must be the one that the run began with."""
    found = load_constitution()
    was = (run["manifest"].get("constitution") or {}).get("sha256")
    if was not in (None, found.sha256):
        raise SpecError(
            f"the constitution was changed since this run began (sha256 {found.sha256[:12]}, was {was[:12]})",
            "Restore it, or start a new run. What was committed is safe.",
        )
    return found
