"""The table of samples: its columns, and what stands in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tui.widgets.endless import EndlessTable, GridColumn
from tui.widgets.marks import TONES, VERDICT_TONES
from tui.words.text import one_line
from tui.words.wording import LABEL_SHAPES, VERDICT_SHAPES

WORDS = {
    "ordinal": "number",
    "verdict": "verdict",
    "score": "margin",
    "person": "your label",
    "instruction": "instruction",
    "response": "response",
    "n_tokens": "tokens",
    "split": "split",
    "flags": "flags",
}
HINTS = {  # what may be typed below the filters
    "text": "text in instruction or response; Enter searches, Esc goes back",
    "margin": "margins from … to, such as -0.5 … 0.5 or 1 …; Enter takes it, empty clears it",
    "where": "n_tokens > 40 AND flags = [] AND score BETWEEN -1 AND 0; columns: " + ", ".join(WORDS),
    "note": "a note for this sample; Enter keeps it, Esc goes back",
}


class SamplesTable(EndlessTable):
    """`blind` hides verdicts, margins and flags from a person who labels."""

    blind = False
    critic: str | None = None
    no_scale: Collection[tuple[str, str]] = ()  # (critic, subject_kind) of those whose scores say nothing

    def cells(self, row: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        verdict = row["verdict"] or "pending"
        score = (row.get("scores") or {}).get(self.critic) if self.critic else None
        label = row.get("person")
        flags = ", ".join(row["flags"] or ())
        if self.blind:
            verdict_cell, score_text, flags = ("·", ""), "", ""
        else:
            tone = TONES[VERDICT_TONES[verdict]] if verdict in VERDICT_TONES else ""
            verdict_cell = (f"{VERDICT_SHAPES.get(verdict, '·')} {verdict}", tone)
            score_text = "–" if score is None or (self.critic, "sample") in self.no_scale else f"{score:+.2f}"
        known = {
            "ordinal": (str(row["ordinal"]), ""),
            "verdict": verdict_cell,
            "score": (score_text, ""),
            "person": (LABEL_SHAPES.get(label or "", ""), "$text-accent"),
            "instruction": (one_line(row["instruction"] or "", 120), ""),
            "response": (one_line(row["response"] or "", 160), ""),
            "flags": (flags, "$text-warning"),
            "n_tokens": (str(row["n_tokens"]), ""),
            "split": (row["split"] or "–", ""),
        }
        return [known[column.name] for column in self.columns]


def columns_for(width: int) -> tuple[GridColumn, ...]:
    """What fits: texts take what the narrow columns leave; tokens, split and flags only where there is plenty."""
    fixed = [
        GridColumn("ordinal", "#", 5, True),
        GridColumn("verdict", "verdict", 10),
        GridColumn("score", "margin", 7, True),
    ]
    fixed.append(GridColumn("person", "you", 4))
    tail = []
    if width > 84:
        tail = [GridColumn("n_tokens", "tokens", 7, True), GridColumn("split", "split", 10)]
    if width > 110:
        tail.append(GridColumn("flags", "flags", 18))
    texts = max(20, width - 1 - sum(column.width + 1 for column in [*fixed, *tail]) - 2)
    left = texts * 2 // 5
    return (
        *fixed,
        GridColumn("instruction", "instruction", left),
        GridColumn("response", "response", texts - left),
        *tail,
    )
