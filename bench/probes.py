"""Fit the probes that come with the program: `python bench/probes.py`, minutes on two cores.

For the embedded model and the shipped labels alone; a run finds a fit by its id and fits anew where the labels, the
model or the libraries are others. Old files are removed. Prints one JSON line a kind: file, seconds, AUC by part.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from common import report

from engine.core.control import Control
from engine.critics.probed import LABELLED, SHIPPED, fitted
from engine.models import registry
from engine.models.answers import Answers
from engine.stats.intervals import auc
from store.db import Store

KEPT = ("kind", "sha256", "layer", "weights", "bias", "slope", "offset", "held_out", "facts")


def main() -> None:
    for old in SHIPPED.glob("*.json"):
        old.unlink()
    SHIPPED.mkdir(exist_ok=True)
    model = registry.load(None)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "fits.duckdb") as store:
        answers = Answers(model, store, "fits", Control())
        for kind in LABELLED:
            began = time.perf_counter()
            found = fitted(answers, kind)
            seconds = time.perf_counter() - began
            sha256 = found.critic.probe.sha256
            row = answers.stored("SELECT * FROM probes WHERE sha256 = ?", sha256)
            assert row is not None
            path = SHIPPED / f"{row['fit_id']}.json"
            path.write_text(json.dumps({name: row[name] for name in KEPT}) + "\n", encoding="utf-8")
            aucs = {
                part: round(auc([v for _, good, v in of if good], [v for _, good, v in of if not good]) or 0, 3)
                for part, of in found.held_out.items()
            }
            report(
                benchmark="probes", kind=kind, file=path.name, seconds=round(seconds, 1), layer=row["layer"], auc=aucs
            )


if __name__ == "__main__":
    main()
