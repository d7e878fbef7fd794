"""A model's files: weights, tokenizer, and the base model that is shipped in a package."""
