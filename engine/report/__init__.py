"""Reports out of the store: one run in full, every figure a query."""

from engine.report.build import build

__all__ = ["build"]
