"""Questions about a run that change nothing in it: what if, what was, what each principle did."""
