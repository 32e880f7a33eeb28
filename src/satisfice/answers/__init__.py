"""From text to answer to verdict.

`extract` finds the answer in what a model wrote, strictly or flexibly; `math` says whether two answers are the same and
whether one is right; `vote` merges the answers of several chains.
"""

from satisfice.answers.extract import extract_flexible, extract_strict, read_trial
from satisfice.answers.math import Grader, same, verify, verify_async
from satisfice.answers.vote import Vote, majority

__all__ = [
    "Grader",
    "Vote",
    "extract_flexible",
    "extract_strict",
    "majority",
    "read_trial",
    "same",
    "verify",
    "verify_async",
]
