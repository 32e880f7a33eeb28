"""Whether a recommendation still holds: where it does, where it does not, and where nobody can say."""

import json

import pytest
from tests.recommend.test_recommend import Compare, run, scripted, sums

from satisfice.core.errors import BadInput, EngineError
from satisfice.recommend.check import check, checked
from satisfice.recommend.found import read_found
from satisfice.recommend.search import Goal

SETTING = "deer(threshold=0.9)"


def samples(lost, gained, size, task="a@1"):
    rows = []
    for at in range(size):
        full = "wrong" if lost <= at < lost + gained else "right"
        ours = "wrong" if at < lost else "right"
        for policy, verdict, spent in (("full", full, 100), (SETTING, ours, 40)):
            answer = "2" if verdict == "right" else "3"
            rows.append({"policy": policy, "task": task, "problem": str(at), "verdict": verdict, "spent": spent,
                         "answer": answer, "error": ""})  # fmt: skip
    return rows


@pytest.mark.parametrize(("lost", "state"), [(1, "holds"), (6, "open"), (40, "broken")])
def test_what_paired_samples_say(lost, state):
    found = checked(samples(lost, 2, 400), Goal(), SETTING, 0.5, True)
    assert found.state == state
    assert (found.lost, found.gained, found.problems) == ((lost,), (2,), (400,))
    assert found.least[0] <= lost / 400 <= found.most[0]
    assert found.saving == pytest.approx(0.6)
    assert (found.more is not None) == (state == "open")
    assert str(found).startswith(
        {"holds": "The promise holds", "open": "These problems neither", "broken": "The promise is broken"}[state]
    )


def test_each_class_must_hold():
    rows = samples(1, 0, 400) + samples(40, 0, 400, "b@1")
    assert checked(rows, Goal(), SETTING, 0.5, None).state == "broken"


@pytest.mark.parametrize(("loss", "lost", "gained", "state"), [("net", 12, 30, "holds"), ("changed", 12, 30, "broken")])
def test_other_losses(loss, lost, gained, state):
    found = checked(samples(lost, gained, 600), Goal(most=0.02, loss=loss), SETTING, 0.5, False)
    assert found.state == state


def test_failures_are_no_losses():
    rows = samples(0, 0, 200)
    rows[3] = {**rows[3], "error": "gone"}
    with pytest.raises(EngineError, match="1 answers failed, the first with: gone"):
        checked(rows, Goal(), SETTING, 0.5, None)


def test_a_recommendation_is_checked_on_other_problems_and_resumed(tmp_path):
    run(tmp_path)
    fresh = [sums("a@1", 150), sums("b@1", 150)]
    found = check(tmp_path, "scripted", fresh, scripted, judge=Compare())
    assert found.state == "holds"
    assert found.setting == read_found(tmp_path)["choice"]["setting"]
    again = check(tmp_path, "scripted", fresh, scripted, judge=Compare())
    assert again == found
    assert len(list((tmp_path / "checked").iterdir())) == 1


def test_the_problems_of_the_recommendation_are_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(BadInput, match="a@1: these are the problems that the recommendation was made from"):
        check(tmp_path, "scripted", [sums("a@1", 60)], scripted, judge=Compare())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "holds no recommendation"), ("{", "cannot be read"), ('{"schema_version": 2}', "cannot be read"),
        (json.dumps({"schema_version": 1, "choice": {"setting": "full"}}), "schema_version 1"),
        (json.dumps({"schema_version": 2, "choice": {"setting": None}}), "nothing was recommended"),
    ],
)  # fmt: skip
def test_a_folder_without_a_recommendation_is_named(tmp_path, text, words):
    if text is not None:
        (tmp_path / "recommendation.json").write_text(text, "utf-8")
    with pytest.raises(BadInput, match=words):
        read_found(tmp_path)
