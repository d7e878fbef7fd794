"""What verifiers know of English: spellings, members of categories, signs of what is no sentence."""
