"""What may pass: rules, gates, the contamination guard, the choice of pairs, and what persons said of samples."""
