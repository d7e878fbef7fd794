"""What stands round every room: header, keys, questions, notices, help."""
