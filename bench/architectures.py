"""Which path a class of models takes, and how far it is from its own forward pass: `python bench/architectures.py`.

Tiny random models (tests/engine/models/architectures.py) are loaded as a person's folder is, and the self-check's own
figures are written into docs/ARCHITECTURES.md.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from common import ROOT, versions

from engine.models.registry import load
from engine.models.selfcheck import SelfCheck, of_facts
from tests.engine.models.architectures import ARCHITECTURES, made

PAGE = ROOT / "docs" / "ARCHITECTURES.md"
HEAD = """# Architectures

Each is a random model of two layers, hidden size 32, whose weights are drawn wide, so that a window, a bias or a scale
that is left out would show. Differences are those of the self-check at load (`engine/models/local/checking.py`): label
log-probabilities against the class's own forward pass over one text at a time, in float32, at most {tolerance:g} nats;
greedy texts are equal in all, and the logits of their tokens as near. Hidden states are what a probe reads; their
difference is a share of the largest value.
A class that is not listed is checked in the same way when it is loaded.

Written by `python bench/architectures.py` (transformers {transformers}, torch {torch}, CPU).

| model | class | path | largest difference, nats | hidden states | why not the fast path |
| --- | --- | --- | --- | --- | --- |
"""


def checked(name: str, folder: Path) -> SelfCheck:
    """What the self-check says of a tiny model."""
    model = load(str(made(name, folder / name)), batch_size=4)
    found = of_facts(model.facts)
    model.close()
    assert found is not None
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CAI_CACHE"] = folder
        found = {name: checked(name, Path(folder)) for name in sorted(ARCHITECTURES)}
    rows = [
        f"| {name} | {one.architecture} | {one.path} | {one.largest_nats:.1g} | "
        f"{'not read' if one.hidden is None else f'{one.hidden:.1g}'} | {one.instead or '–'} |"
        for name, one in found.items()
    ]
    tolerance = max(one.tolerance_nats for one in found.values())
    PAGE.write_text(HEAD.format(tolerance=tolerance, **versions("torch", "transformers")) + "\n".join(rows) + "\n")
    print(f"{len(rows)} architectures in {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
