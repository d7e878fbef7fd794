"""What the room Training is made of, and what is asked before a training."""
