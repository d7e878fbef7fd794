"""A run from its options to its end: one engine, one thread, the phases of a stage one after the other."""
