"""Profiles: opening thinking behind any prompt, other tags, names and files."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.profile import HARMONY, PROFILES, QWEN3, R1, Profile, named_profile, profile_from, with_tags
from satisfice.methods.stopping.budget_forcing import BudgetForcing
from satisfice.methods.stopping.concise import Concise

TAGGED = [
    R1,
    HARMONY,
    with_tags("mistral", "[THINK]", "[/THINK]"),
    with_tags("gemma", "<|channel>thought\n", "<channel|>"),
]


@pytest.mark.parametrize("profile", TAGGED, ids=lambda profile: profile.name)
@given(before=st.text(max_size=20), blank=st.sampled_from(["", "\n", "\n\n", " "]))
def test_whatever_the_template_did_thinking_is_open_once(profile: Profile, before: str, blank: str) -> None:
    opens, closes = profile.think_open, profile.think_close
    for prompt in (before, before + opens + blank, before + opens + "\n" + closes + blank, before + closes + blank):
        text = profile.opened(prompt)
        assert text.rstrip().endswith(opens.rstrip())
        assert profile.opened(text) == text
        assert text.count(opens.rstrip()) == before.count(opens.rstrip()) + 1
        assert text.startswith(before.rstrip()) or before.rstrip().endswith((opens.rstrip(), closes.rstrip()))


def test_profiles_by_name() -> None:
    assert named_profile("r1") is R1
    assert named_profile("qwen3") is QWEN3
    assert named_profile("gpt-oss") is named_profile("harmony") is HARMONY
    assert set(PROFILES) == {"r1", "qwen3", "harmony", "gpt-oss"}
    with pytest.raises(UnknownName, match=r"unknown profile 'gptoss'.*Did you mean 'gpt-oss'"):
        named_profile("gptoss")


def test_profiles_from_files(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"name": "own", "answer_form": "plain", "temperature": 1}))
    assert named_profile(str(path)) == Profile(name="own", answer_form="plain", temperature=1)
    for text in ("[]", '{"name": 3}', '{"name": "x", "nam": 1}', "{"):
        path.write_text(text)
        with pytest.raises(BadInput, match=r"own\.json"):
            named_profile(str(path))
    with pytest.raises(BadInput, match="cannot be read"):
        named_profile(str(tmp_path / "none.json"))


def test_every_profile_closes_what_it_opens() -> None:
    for profile in [*PROFILES.values(), *TAGGED]:
        for text in (profile.close_thinking, profile.skip_thinking):
            assert profile.think_close in text
        assert profile.think_close in profile.words("s1-budget-forcing", BudgetForcing.words).close_at_budget
        assert profile_from(json.loads(json.dumps(vars(profile))), "again") == profile


def test_words_of_a_rule_are_its_own_unless_the_profile_says_otherwise() -> None:
    own = profile_from({"name": "own", "rules": {"concise": {"sure_words": ["Yes"]}}}, "own")
    words = own.words("concise", Concise.words)
    assert (words.sure_words, words.doubting_words) == (("Yes",), Concise.words.doubting_words)
    other = with_tags("magistral", "[THINK]", "[/THINK]").words("concise", Concise.words)
    assert other.sure_words == ("Great", "Perfect", "Therefore", "Thus", "[/THINK]")
    with pytest.raises(UnknownName, match=r"word of concise in profile own 'sure_word'. Did you mean 'sure_words'"):
        profile_from({"name": "own", "rules": {"concise": {"sure_word": []}}}, "own").words("concise", Concise.words)
    with pytest.raises(BadInput, match="sure_words of concise must be a list of texts, got 'Yes'"):
        profile_from({"name": "own", "rules": {"concise": {"sure_words": "Yes"}}}, "own").words(
            "concise", Concise.words
        )


@pytest.mark.parametrize("rules", [3, [], {"concise": []}, {"concise": {"sure_words": [3]}}])
def test_words_that_are_no_texts_are_refused(rules: object) -> None:
    with pytest.raises(BadInput, match=r"own\.json: "):
        profile_from({"name": "own", "rules": rules}, "own.json")


def test_tags_of_nothing_are_refused() -> None:
    with pytest.raises(BadInput, match="must open and close with something"):
        with_tags("x", " ", "</x>")
