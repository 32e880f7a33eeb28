"""For people who write methods: the batteries that every method of the catalogue passes, and worlds to try them in.

from satisfice.testing import check_method, check_shaper

def test_my_rule():
    check_method(MyRule)

def test_my_shaper():
    check_shaper(MyShaper)
"""

from satisfice.engines.scripted import ScriptedEngine, from_text
from satisfice.testing.battery import STORIES, Faulty, check_method, play
from satisfice.testing.rollouts import check_shaper, random_rollouts, rollouts

__all__ = [
    "STORIES",
    "Faulty",
    "ScriptedEngine",
    "check_method",
    "check_shaper",
    "from_text",
    "play",
    "random_rollouts",
    "rollouts",
]
