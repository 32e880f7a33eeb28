"""Chains recorded once, with what the model would have answered on the way: writing, reading and replaying them."""
