"""A run beside another one, like another one, or under other thresholds."""
