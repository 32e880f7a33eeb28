from hypothesis import given
from hypothesis import strategies as st

from satisfice.answers.vote import Vote, majority

ballots = st.lists(st.sampled_from(["1", "2", "3", "4", "", None]), max_size=12)


def test_worked_example_of_self_consistency() -> None:
    # 12, 12, 7, none, 7, 12: three of five parsed votes
    assert majority(["12", "12", "7", None, "7", "12"]) == Vote(
        answer="12", share=0.6, tie=False, voters=(0, 1, 5), parsed=5
    )


def test_a_tie_goes_to_the_answer_seen_first() -> None:
    assert majority(["7", "12", "12", "7"]) == Vote(answer="7", share=0.5, tie=True, voters=(0, 3), parsed=4)


def test_all_different_is_a_tie_of_one_vote_each() -> None:
    vote = majority(["3", "1", "2"])
    assert (vote.answer, vote.tie, vote.voters) == ("3", True, (0,))


def test_notations_are_merged_before_counting() -> None:
    vote = majority(["3", "0.5", r"\frac{1}{2}", "3", "1/2"])
    assert (vote.answer, vote.voters) == ("0.5", (1, 2, 4))


def test_nobody_votes() -> None:
    nobody = Vote(answer=None, share=0.0, tie=False, voters=(), parsed=0)
    assert majority([]) == majority([None, "", " "]) == nobody


@given(ballots)
def test_unparsed_answers_change_nothing(answers: list[str | None]) -> None:
    kept = [answer for answer in answers if answer]
    vote, without = majority(answers), majority(kept)
    assert (vote.answer, vote.share, vote.tie, vote.parsed) == (
        without.answer,
        without.share,
        without.tie,
        without.parsed,
    )


@given(ballots)
def test_the_winner_has_the_most_votes_and_is_the_first_that_has(answers: list[str | None]) -> None:
    vote = majority(answers)
    kept = [answer for answer in answers if answer]
    assert vote.parsed == len(kept)
    if kept:
        assert vote.answer == max(kept, key=kept.count)  # `max` keeps the first
        assert vote.share == kept.count(str(vote.answer)) / len(kept)
        assert vote.tie == (len({a for a in kept if kept.count(a) == len(vote.voters)}) > 1)
        assert {answers[position] for position in vote.voters} == {vote.answer}
