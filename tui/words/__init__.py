"""How things are called and written, in one place for all faces of the program."""
