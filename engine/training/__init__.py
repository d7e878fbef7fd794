"""Training in a process of its own: what is trained on, what opens it, what it may take, and the process itself.

The engine's side (`examples`, `locks`, `forecast`, `job`, `checkpoints`, `worker`) imports no model library. The
child's side (`child`, `trainers`, `tokens`, `loading`) is never imported by the engine: it gives all its memory back at
its end, lets Unsloth patch the libraries before they are imported, and can be started by `accelerate launch` instead.
"""
