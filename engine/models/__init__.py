"""The one door to language models: two streams, generate and score.

`load` knows the backends, and nobody else does. Importing this room imports no model library; `load` does. A base model
sees exactly the text that a request holds, after its own BOS where it needs one: no chat template exists behind this
door, unless an instruct model is loaded as a reference, for chat.
"""
