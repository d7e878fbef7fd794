"""The backend vLLM: an engine in a process of its own."""
