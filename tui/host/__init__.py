"""The machine around the program: the terminal, tmux, hang-ups, clipboards, and who else holds the store."""
