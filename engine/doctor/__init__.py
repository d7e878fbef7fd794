"""Whether a machine and a model are fit for a run, tried without a store."""
