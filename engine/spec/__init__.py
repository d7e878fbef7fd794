"""What a run is told: a stage's numbers, the constitution, the prompts, and what its manifest keeps of them."""
