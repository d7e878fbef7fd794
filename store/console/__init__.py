"""What a person or an agent types: which statements run, on what, and for how long. The cage of every console."""
