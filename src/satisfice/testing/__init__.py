"""For people who write methods: the battery that every method of the catalogue passes, and worlds to try them in.

from satisfice.testing import check_engine, check_method

def test_my_rule():
    check_method(MyRule)  # a policy, filter, shaper, scorer ...: its kind says what is checked

def test_my_engine():
    assert check_engine(MyEngine) == ()  # the checks that its `provides` rules out
"""

from satisfice.engines.scripted import ScriptedEngine, from_text
from satisfice.testing.engines import check_engine
from satisfice.testing.method import Faulty, check_method
from satisfice.testing.policies import STORIES, play
from satisfice.testing.rollouts import random_rollouts, rollouts
from satisfice.testing.traces import random_traces, trace

__all__ = [
    "STORIES",
    "Faulty",
    "ScriptedEngine",
    "check_engine",
    "check_method",
    "from_text",
    "play",
    "random_rollouts",
    "random_traces",
    "rollouts",
    "trace",
]
