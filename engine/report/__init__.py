"""Reports out of the store: one run in full, every figure a query, and several runs compared item by item."""

from engine.report.build import build
from engine.report.comparison import compare_runs, write_comparison

__all__ = ["build", "compare_runs", "write_comparison"]
