"""Money: prices, the ledger that reserves before it spends, and the meter of a run's hours."""
