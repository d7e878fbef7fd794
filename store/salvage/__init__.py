"""That nothing opens empty that was not: how many commits a store has, who else knows it, and what can be saved."""
