"""Shapers inside other people's trainers: TRL on one machine, verl on a cluster."""
