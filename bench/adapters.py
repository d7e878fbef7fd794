"""Train the critic adapters of the embedded model: `python bench/adapters.py [STORE] [--kinds instruction sample]`.

On this machine's CPU or GPU, as a run does before its audit; in STORE what was trained is kept and found again. Prints
one JSON line a kind and part of the audit: n, AUC with its interval, calibration error; then seconds and last loss.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from common import report

from engine.run.engine import open_engine
from engine.run.orders import NewRun
from store.db import Store

SPEC = "stage_1_small_model"
ALL = "100000"  # items of each part that are reported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", nargs="?", type=Path, help="where it is kept (default: nowhere)")
    parser.add_argument("--kinds", nargs="+", default=["instruction", "sample"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(args.store or Path(folder) / "adapters.duckdb", args.kinds)


def measure(path: Path, kinds: list[str]) -> None:
    named = {f"critics.{kind}": "[adapter]" if kind in kinds else "[]" for kind in ("instruction", "sample")}
    engine = open_engine(NewRun(path, spec=SPEC, until="audit", overrides={**named, "critics.audit_items": ALL}), tell)
    engine.start()
    engine.join()
    run_id, outcome = engine.run_id, engine.outcome
    engine.close()
    assert outcome is not None and outcome.state == "done", outcome
    with Store.open(path) as store, store.reader() as reader:
        for audit in reader.audits(run_id):
            figures = {
                name: audit[name] for name in ("subject_kind", "part", "n_good", "n_bad", "auc", "auc_lo", "auc_hi")
            }
            report(benchmark="adapters", **figures, calibration_error=audit["detail"]["calibration_error"])
        for row in reader.query("SELECT kind, facts FROM critic_adapters"):
            facts = json.loads(row["facts"])
            told = {name: facts[name] for name in ("n_good", "n_bad", "steps", "last_loss", "seconds")}
            report(benchmark="adapters", kind=row["kind"], **told)


def tell(event: object) -> None:
    """What a run notes goes to the log alone."""


if __name__ == "__main__":
    main()
