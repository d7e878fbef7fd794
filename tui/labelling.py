"""What a person's label does: it is kept with its note, and the critics are compared with all labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store.db import Store

_NOTE = "SELECT note FROM person_labels WHERE run_id = ? AND subject_kind = 'sample' AND subject_id = ?"


def keep_label(store: Store, run_id: str, sample_id: str, label: str, note: str | None) -> list[dict[str, Any]]:
    """Keep the label of a sample, with the note that is stored where `note` is None; returns the critics' audits."""
    from engine.labels import mark

    if note is None:
        with store.reader() as reader:
            found = reader.query(_NOTE, [run_id, sample_id])
        note = found[0]["note"] if found else ""
    return mark(store, run_id, sample_id, label, note)


def agreement(audits: Sequence[Mapping[str, Any]]) -> str:
    """How far each critic agrees with the person, in words; that the label was kept where there is no critic."""
    said = []
    for audit in audits:
        kappa = audit["detail"]["kappa"]
        n = audit["n_good"] + audit["n_bad"]
        told = f"κ {kappa:+.2f}" if kappa is not None else "κ undefined"
        said.append(f"{audit['critic']} agrees with you in {audit['accuracy']:.0%} of {n}, {told}")
    return "; ".join(said) or "label kept"
