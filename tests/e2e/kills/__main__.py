"""All kills and all signals, one kind after the other; a line of JSON for each, and the figures at the end."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.kills.files import cut_exports, cut_migrations
from tests.e2e.kills.playing import playing
from tests.e2e.kills.runs import Tally, cut_runs, whole_run
from tests.e2e.kills.signalled import signalled_runs
from tests.e2e.kills.trained import cut_trainings, trained_whole

SHARES = {"runs": 0.55, "trainings": 0.12, "exports": 0.18, "migrations": 0.15}  # of the kills


def main() -> int:
    """Exit code 1 where something did not hold; the stores stay then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--signals", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--only", choices=(*SHARES, "signals"), action="append")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    os.environ |= {"CAI_CONFIG": str(folder / "config.toml"), "XDG_STATE_HOME": str(folder / "state")}
    rng, tallies = random.Random(given.seed), []
    _tell(seed=given.seed, folder=str(folder))

    wanted = set(given.only or (*SHARES, "signals"))
    n = {name: round(share * given.kills) for name, share in SHARES.items()}

    def do(name: str, work: Callable[[], Tally]) -> None:
        if name in wanted:
            began, tally = time.monotonic(), work()
            tallies.append(tally)
            _tell(what=name, seconds=round(time.monotonic() - began), **tally.told())

    if wanted - {"trainings"}:
        with playing() as model:
            whole = whole_run(folder / "whole", model)
            do("signals", lambda: signalled_runs(folder / "signals", model, whole, rng, given.signals))
            do("exports", lambda: cut_exports(folder / "exports", whole.store, rng, n["exports"]))
            do("migrations", lambda: cut_migrations(folder / "migrations", rng, n["migrations"]))
            do("runs", lambda: cut_runs(folder / "runs", model, whole, rng, n["runs"], tell=_so_far))
    if "trainings" in wanted:
        tiny, trained = trained_whole(folder / "trained")
        do("trainings", lambda: cut_trainings(folder / "trainings", tiny, trained, rng, n["trainings"], tell=_so_far))
    kills, problems = sum(tally.killed for tally in tallies), sum(len(tally.problems) for tally in tallies)
    _tell(kills=kills, problems=problems)
    return 1 if problems else 0


def _so_far(tally: Tally) -> None:
    _tell(so_far=tally.told())


def _tell(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
