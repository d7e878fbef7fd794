"""What a claim needs besides its test: persons who read the verdicts, and trainings with other seeds."""
