"""What the room Preferences is made of."""
