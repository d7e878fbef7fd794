"""What is damaged is refused or whole, and what can be read is saved."""
