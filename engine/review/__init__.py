"""Reviews of methodology: a question, whoever answers it, the record of both, and what the run does next."""
