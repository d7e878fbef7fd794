"""A run that is under way: the bridge from its thread, the state that screens show, and who conducts it."""
