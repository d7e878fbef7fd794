"""What the room Run is made of."""
