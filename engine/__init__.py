"""The pipeline: specs in, model calls out, rows to the store, events to whoever listens. It knows no screen.

`engine.run` opens an engine on a store, `engine.analyses` asks about a run without changing it.
"""
