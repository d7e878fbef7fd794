"""What makes the held-out items and their planted answers: wordings, what fills them, and how both become files."""
