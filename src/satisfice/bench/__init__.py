"""Measure stop rules: run them on the same problems, keep every sample, compare honestly.

`plan` checks what is asked for, `run` does it, `folder` keeps it on disk, `statistics` makes rows of it, `report` draws
them.
"""
