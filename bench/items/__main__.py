"""The held-out items and their planted answers, made anew by seeded templates and written where the program reads them.

    python -m bench.items            # writes engine/data/evaluation_{items,item_plants}.jsonl.gz
    git status --short engine/data   # nothing, as long as no template changed

A change of an item is deliberate: set ITEMS_SHA256 in engine/evaluation/items.py to the hash that is printed. Where the
old set was released, move its files to engine/data/earlier/ and name it in EARLIER first, so that runs that were asked
it go on with it, and let the new ids be others.
"""

from __future__ import annotations

from bench.items.make import build, files, sha256_of
from engine.core.data import DATA

if __name__ == "__main__":
    items = build()
    for name, packed in files(items).items():
        (DATA / name).write_bytes(packed)
        print(f"{len(packed):>8,} bytes  {name}")
    print(f"ITEMS_SHA256 = {sha256_of(items)}")
