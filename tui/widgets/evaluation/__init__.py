"""What the room Evaluation is made of, and what is asked before an evaluation."""
