"""What every room of the engine stands on: events, errors, control of a run, shipped data, text, keys, retries."""
