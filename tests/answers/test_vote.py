from hypothesis import given
from hypothesis import strategies as st

from satisfice.answers.math import same
from satisfice.answers.vote import Vote, majority, tally

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


# Answers of every kind, with chains of them that agree pairwise but not from end to end.
MIXED = (
    "5", "5 m", "5 cm", "500 cm", "5.0", "x = 5", "50%", "50", "0.5", "1/2", "½", r"\frac{1}{2}", "0.333333", "1/3",
    "0.3333333", "no", "on", "No", "AB", "BA", "1, 2", "2, 1", "(1, 2)", "1 or 2", "1 and 2", "12:00", "2024-01-02",
    "January 2, 2024", "90°", "90", "H2O", "HO2", "1 000", "1000", "p or q", "p and q", "A)", "A", "3 apples",
    "3 pears", "3",
)  # fmt: skip


@given(answers=st.lists(st.sampled_from(MIXED), max_size=14), data=st.data())
def test_the_groups_do_not_depend_on_the_order_of_the_answers(answers: list[str], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(answers))))
    groups = {frozenset(group) for group in tally(answers)}
    again = {frozenset(order[place] for place in group) for group in tally([answers[place] for place in order])}
    assert groups == again
    vote, other = majority(answers), majority([answers[place] for place in order])
    assert (vote.share, vote.tie, vote.parsed) == (other.share, other.tie, other.parsed)
    if not vote.tie:
        assert sorted(vote.voters) == sorted(order[place] for place in other.voters)


@given(a=st.sampled_from(MIXED), b=st.sampled_from(MIXED))
def test_to_be_the_same_goes_both_ways(a: str, b: str) -> None:
    assert same(a, b) == same(b, a)
    assert same(a, a)


def test_positions_of_a_group_are_in_order_and_every_answer_is_in_one() -> None:
    assert tally(["5 m", "5 cm", "x+1", "", "5", None, "1+x", "5 m"]) == [(0, 1, 4, 7), (2, 6)]
