"""What must be set before any library is loaded."""

from __future__ import annotations

import os

# Two workers with a model each share two cores: threads that spin while they wait made tests take 2.5 times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
