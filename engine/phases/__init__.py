"""The phases of a stage. Each asks the store what is missing, and makes rows of a model's answers.

A phase has no memory that the store does not have: after a restart the same code meets the same answers, found instead
of computed, and arrives at the same rows.
"""
