"""For people who write methods: the battery that every method of the catalogue passes, and worlds to try them in.

from satisfice.testing import check_method

def test_my_rule():
    check_method(MyRule)  # a policy, filter, shaper, scorer ...: its kind says what is checked
"""

from satisfice.engines.scripted import ScriptedEngine, from_text
from satisfice.testing.method import Faulty, check_method
from satisfice.testing.policies import STORIES, play
from satisfice.testing.rollouts import random_rollouts, rollouts

__all__ = [
    "STORIES",
    "Faulty",
    "ScriptedEngine",
    "check_method",
    "from_text",
    "play",
    "random_rollouts",
    "rollouts",
]
