"""The real program ended at random moments by SIGKILL and by other signals, with a reader attached all the time.

python -m tests.e2e.kills [--kills 200] [--signals 40] [--seed N]      # all of it, its figures as a line of JSON
"""
