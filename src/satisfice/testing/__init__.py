"""For people who write methods: the battery that every method of the catalogue passes, and an engine with a script.

from satisfice.testing import check_method

def test_my_rule():
    check_method(MyRule)
"""

from satisfice.engines.scripted import ScriptedEngine, from_text
from satisfice.testing.battery import STORIES, Faulty, check_method, play

__all__ = ["STORIES", "Faulty", "ScriptedEngine", "check_method", "from_text", "play"]
