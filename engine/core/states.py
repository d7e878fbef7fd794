"""The states in which a run can be left."""

from __future__ import annotations

# States of a stored run that has work left to do; a process that was killed leaves "running" behind.
RESUMABLE = frozenset({"running", "paused", "stopped", "waiting", "budget_reached", "failed"})
