"""Model calls that another machine computes: files of requests, and files of their answers."""
