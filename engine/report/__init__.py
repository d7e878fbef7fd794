"""Reports out of the store: one run in full, every figure a query, and several runs compared item by item."""
