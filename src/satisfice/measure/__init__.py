"""Measure what is compared: run it on the same problems, keep every sample, compare honestly.

`plan` checks what is asked for, `run` does it, `store` keeps it on disk, `judge` says what is right, `statistics` makes
rows of it, `promises` says what may be claimed.
"""
