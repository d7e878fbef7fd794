"""Critic adapters: trained before the audit where a run's critics need one that the store has not.

A fit is named by the base weights, the labelled texts and the settings. Its folder lies beside the store: a training
that was stopped or killed goes on there, and one that is done is found again by whoever needs the same. The model is
closed while an adapter is trained, because a device that holds one seldom has room for two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.core import events
from engine.core.errors import Interrupted, ModelError, TrainingError
from engine.critics.adapted import (
    KINDS,
    LABELS,
    LORA,
    SEED,
    TRAINING,
    AdapterCritic,
    AdapterFit,
    fit_of,
    prompt_of,
    stored_fit,
)
from engine.critics.audit import served
from engine.critics.probe import platt
from engine.critics.probed import LabelledItem
from engine.models import adapters, checkpoints
from engine.models.files.source import resolve
from engine.models.requests import LoraFiles
from engine.phases.work import Work, away
from engine.training import job as jobs
from engine.training.plan import LARGEST_MICRO_BATCH, memory_of, steps_of
from engine.training.worker import Sizes, Worker, command_for, failure, follow, wait_until_free
from store.names import STAND_INS, STOOD_IN
from store.salvage.clock import utc_now

Row = dict[str, Any]


def tune(work: Work, command: Sequence[str] | None = None) -> Work:
    """Train the critic adapters that are missing, calibrate them and keep their rows.

    Returns the work to go on with: where the training of one that stands in for a probe fails, labels judge in its
    place, now and whenever the run goes on.

    Raises SpecError where labels are too few or all of one kind, ModelError where the model takes no adapter or the
    files of one were changed, TrainingError, and Interrupted where a person stopped it: what was trained until then is
    gone on with.
    """
    model, asked = work.answers.model, work.spec.instructions.kind
    named = [kind for kind in KINDS if "adapter" in getattr(work.spec.critics, kind)]
    fits = [fit_of(model, kind, asked) for kind in named]
    missing = [fit for fit in fits if stored_fit(work.answers, fit) is None]
    if not missing:
        return work
    weights = model.adaptable
    if weights is None:
        raise ModelError(
            f"the model {model.name} takes no adapter that could be trained here",
            "A critic adapter needs the base weights on this machine and, of a server, vLLM with --enable-lora and "
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True. Name another critic, such as grade. Nothing was generated.",
        )
    facts = dict(model.facts)
    stood_in: dict[str, str] = work.reader.run(work.run_id)["manifest"].get(STOOD_IN) or {}
    made: list[tuple[AdapterFit, Row]] = []
    failed: dict[str, TrainingError] = {}
    with away(work):
        for fit in missing:
            try:
                made.append((fit, _trained(work, fit, weights, facts, command or command_for())))
            except TrainingError as error:
                if stood_in.get(fit.kind) != AdapterCritic.name:
                    raise
                failed[fit.kind] = error
    for fit, row in made:
        work.answers.keep("critic_adapters", row | _calibrated(work, fit, row))
    return _by_labels(work, failed) if failed else work


def _by_labels(work: Work, failed: Mapping[str, TrainingError]) -> Work:
    """The work with the last stand-in in the place of adapters that could not be trained, settled in the manifest."""
    instead = dict.fromkeys(failed, STAND_INS["probe"][-1])
    manifest = work.reader.run(work.run_id)["manifest"]
    stood_in = (manifest.get(STOOD_IN) or {}) | instead
    work.store.update_run(work.run_id, manifest=manifest | {STOOD_IN: stood_in})
    for kind, error in failed.items():
        text = f"no critic adapter of {kind}s could be trained: {error.title}: {kind} critic is {instead[kind]}"
        work.emit(events.Noted(work.run_id, "warning", text))
    critics = served(work.spec.critics, instead, AdapterCritic.name)
    return replace(work, spec=work.spec.model_copy(update={"critics": critics}))


def folder_of(work: Work, fit: AdapterFit) -> Path:
    """Where the training of a fit keeps its files: beside the store, so that the two travel together."""
    return work.store.path.parent / f"{work.store.path.stem}.critics" / f"{fit.kind}-{fit.fit_id}"


def examples_of(items: Sequence[LabelledItem]) -> list[dict[str, str]]:
    """Labelled items as what the training process learns from: the bare text, and its label as the next token."""
    return [
        {"id": one.item.key, "prompt": prompt_of(one.item), "completion": LABELS[0] if one.good else LABELS[1]}
        for one in items
    ]


def _trained(work: Work, fit: AdapterFit, weights: str, facts: Mapping[str, Any], command: Sequence[str]) -> Row:
    """Train one adapter to its end and put it in its place; returns its row without what calibrates it."""
    folder, train = folder_of(work, fit), examples_of(fit.split.trained)
    try:
        (folder / checkpoints.FOLDER).mkdir(parents=True, exist_ok=True)
        jobs.write_examples(folder / "train.jsonl", train)
        jobs.write_examples(folder / "heldout.jsonl", [])
    except OSError as error:
        raise TrainingError(
            f"the folder {folder} can't be written: {error}", "Free some space or make it writable. Nothing was lost."
        ) from error
    steps = steps_of(len(train), TRAINING)
    _note(work, f"training a critic adapter of {fit.kind}s on {len(train):,} labelled texts, {steps} steps")
    ending, told = _run(work, fit, folder, weights, facts, command)
    if ending["why"] == "stopped":
        raise Interrupted(
            f"the training of a critic adapter was stopped and kept at step {ending['step']}",
            "`cai resume` goes on from there.",
        )
    # Steps since the last checkpoint are done again after a kill: what was said last of one is what came of it.
    losses = list({report["step"]: report for report in told if report["kind"] == "step"}.values())
    about = {
        **fit.facts,
        "n_good": sum(one.good for one in fit.split.trained),
        "n_bad": sum(not one.good for one in fit.split.trained),
        "steps": ending["step"],
        "last_loss": losses[-1]["loss"] if losses else None,
        "seconds": round(sum(report["seconds"] for report in losses), 1),
    }
    manifest = {"critic": fit.kind, "fit": fit.fit_id, "fingerprint": fit.fingerprint, "facts": about}
    metrics = "".join(json.dumps(report) + "\n" for report in losses)
    place, sha256 = adapters.put_in_place(folder, manifest, metrics, _card(work, fit, about))
    loss = f", loss {losses[0]['loss']:.3f} → {losses[-1]['loss']:.3f}" if losses else ""
    _note(work, f"critic adapter of {fit.kind}s trained in {ending['step']} steps{loss}")
    return {
        "fit_id": fit.fit_id,
        "sha256": sha256,
        "path": str(place.relative_to(work.store.path.parent)),
        "fingerprint": fit.fingerprint,
        "kind": fit.kind,
        "facts": about,
        "created_at": utc_now(),
    }


def _run(
    work: Work, fit: AdapterFit, folder: Path, weights: str, facts: Mapping[str, Any], command: Sequence[str]
) -> tuple[Row, list[Row]]:
    """The process, again with a smaller batch where the memory is used up; its last report, and all of its journal."""
    wait_until_free(folder)
    source, memory = resolve(weights), memory_of(weights, LORA, "sft", TRAINING)
    micro = memory.micro_batch if memory else min(LARGEST_MICRO_BATCH, TRAINING.effective_batch)
    sizes = Sizes(micro, bool(memory and memory.gradient_checkpointing))
    offset = max((end for end, _ in jobs.read_journal(folder)), default=0)

    def take(report: Mapping[str, Any]) -> None:
        if report["kind"] == "step":
            work.emit(events.PhaseProgressed(work.run_id, "audit", report["step"], report["planned"], None))

    while True:
        resume, _ = checkpoints.newest(folder)
        job = jobs.Job(
            method="sft",
            model=source.name if source.embedded else source.path,
            model_name=source.name,
            adapter=LORA,
            settings=TRAINING.model_dump(),
            seed=SEED,
            micro_batch=sizes.micro_batch,
            gradient_checkpointing=sizes.gradient_checkpointing,
            start_adapter=None,
            resume_from=resume.path if resume else None,
            # Of a served model the fingerprint is not of its weights, and no data type of theirs is known.
            base_fingerprint=fit.fingerprint if facts.get("dtype") else None,
            base_dtype=facts.get("dtype"),
        )
        try:
            worker = Worker(folder, job, command, offset)
        except OSError as error:
            raise TrainingError(f"the training process could not be started: {error}", "Nothing was lost.") from error
        ending = follow(worker, work.control, take)
        offset = worker.offset
        if ending["kind"] == "finished":
            return ending, [report for _, report in jobs.read_journal(folder)]
        after = sizes.smaller() if ending["cause"] == "memory" else None
        if after is None:
            raise failure(folder, ending, "Name another critic in critics, such as grade")
        sizes = after
        _note(work, f"{ending['title']}: the critic adapter is trained on with {sizes.told}")


def _calibrated(work: Work, fit: AdapterFit, row: Row) -> dict[str, float]:
    """What makes margins log-odds, from items that it was not trained on and that the audit does not report."""
    critic = AdapterCritic(fit.kind, LoraFiles(work.store.path.parent / row["path"], row["sha256"]))
    items = {one.item.key: one for one in fit.split.calibrating}
    asks = {ask.request: key for key, one in items.items() for ask in critic.asks(one.item)}
    margins = {asks[found.request]: critic.margin(items[asks[found.request]].item, [found])
               for _, found in work.answers.score(asks)}  # fmt: skip
    good = np.array([items[key].good for key in margins])
    slope, offset = platt(np.array(list(margins.values())), good)
    return {"slope": slope, "offset": offset}


def _card(work: Work, fit: AdapterFit, about: Mapping[str, Any]) -> str:
    rows = {"base model": work.answers.model.name, "fingerprint": fit.fingerprint, "fit": fit.fit_id, **about}
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return (
        f"# Critic adapter of {fit.kind}s\n\nA low-rank adapter that was trained on labelled texts: the next token "
        "after a bare text and `Grade:` says good or bad. It judges, and writes nothing.\n\n"
        f"| what | value |\n|---|---|\n{table}\n"
    )


def _note(work: Work, text: str) -> None:
    work.emit(events.Noted(work.run_id, "info", text))
