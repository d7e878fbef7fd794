"""What the room Samples is made of, and the way of a sample through the pipeline."""
