"""Make the README's pictures from a run that is in a store: `python docs/screenshots.py STORE`.

Each picture is what the control center shows of that run, drawn by the control center itself.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tui.app.app import ControlCenter
from tui.live.opener import opener

PICTURES = Path(__file__).parent / "pictures"
SHOTS = (
    ("run", "1", (132, 40)),
    ("samples", "2", (132, 40)),
    ("thresholds", "3", (132, 36)),
    ("questions", "4", (132, 30)),
    ("preferences", "0", (132, 40)),
)


async def shoot(store: Path, out: Path) -> None:
    """Write one SVG a room."""
    for name, key, size in SHOTS:
        app = ControlCenter(store, None, opener())
        async with app.run_test(size=size) as pilot:
            await pilot.pause(1.0)
            await pilot.press(key)
            await pilot.pause(5.0)  # the first figures and samples are there
            (out / f"{name}.svg").write_text(app.export_screenshot(title="cai"), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(shoot(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else PICTURES))
