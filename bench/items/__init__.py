"""What makes the held-out items and their planted answers; `python -m bench.items` writes them."""
