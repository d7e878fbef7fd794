"""The backend transformers: a model in this process, on a CPU or a GPU."""
