"""What the rest of a run costs, what an n can show, and when going on is not worth it. Nothing is started."""
