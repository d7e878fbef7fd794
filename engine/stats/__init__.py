"""Intervals, paired tests, power and similarity of texts: numbers in, numbers out."""
