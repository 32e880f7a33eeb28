"""The catalogue: specs, JSON, errors with a way out, and strangers' own rules."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice import catalog
from satisfice.catalog import as_json, build, canonical, check_fit, from_json, kind_of, parse_policies, parse_sampler
from satisfice.core.card import Need
from satisfice.core.errors import BadInput, Unfit, UnknownName
from satisfice.core.fields import field_types
from satisfice.core.method import Kind
from satisfice.core.scorer import SCORER
from satisfice.core.session import POLICY, Policy
from satisfice.core.shaper import SHAPER
from satisfice.core.spec import split
from satisfice.methods.parallel.first_finish import FirstFinish
from satisfice.methods.parallel.self_consistency import SelfConsistency
from satisfice.methods.sampling import FILTER
from satisfice.methods.stopping.deer import Deer
from satisfice.methods.stopping.es_cot import EsCot
from satisfice.methods.stopping.first_cue import FirstCue
from satisfice.methods.stopping.fixed_budget import FixedBudget
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.no_thinking import NoThinking

simple = st.one_of(
    st.sampled_from([Full(), FirstCue(), NoThinking()]),
    st.builds(FixedBudget, tokens=st.integers(0, 10**6)),
    st.builds(
        Deer, threshold=st.floats(0, 1), mean=st.sampled_from(["arithmetic", "geometric", "min"]),
        trial_tokens=st.integers(1, 99), require_closed=st.booleans(),
    ),
    st.builds(EsCot, d_min=st.integers(1, 99), alpha=st.floats(0, 1), trigger=st.sampled_from(["step", "cue"])),
)  # fmt: skip
policies: st.SearchStrategy[Policy] = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(SelfConsistency, n=st.integers(1, 99), stop=st.none() | inner),
        st.builds(FirstFinish, n=st.integers(9, 99), k=st.integers(1, 9), stop=st.none() | inner),
    ),
    max_leaves=3,
)


@given(policies)
def test_every_policy_survives_spec_and_json(policy: Policy) -> None:
    assert build(canonical(policy)) == policy
    assert canonical(build(canonical(policy))) == canonical(policy)
    assert from_json(json.loads(json.dumps(as_json(policy)))) == policy


@given(st.text(alphabet='derfull-finsh:(),=".0123 \\', max_size=40) | st.text(max_size=40))
def test_any_text_is_read_or_refused_with_one_of_our_errors(text: str) -> None:
    with contextlib.suppress(BadInput):
        assert parse_policies(text, allow_files=False)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("full", Full()),
        ("full()", Full()),
        ("cap:96", FixedBudget(tokens=96)),
        ("cap(tokens=12)", FixedBudget(tokens=12)),
        ("deer:0.9", Deer(threshold=0.9)),
        (" deer ( threshold = 1 , mean = min )", Deer(threshold=1.0, mean="min")),
        ("es-cot(trigger=cue)", EsCot(trigger="cue")),
        ("self-consistency:4", SelfConsistency(n=4)),
        ("first-finish(n=4, stop=cap:8)", FirstFinish(n=4, stop=FixedBudget(tokens=8))),
        (
            "first-finish(stop=deer(threshold=0.9, mean=min), n=4)",
            FirstFinish(n=4, stop=Deer(threshold=0.9, mean="min")),
        ),
        ("first-finish(stop=none)", FirstFinish()),
    ],
)
def test_what_people_type(text: str, policy: Policy) -> None:
    assert build(text) == policy


def test_a_preset_is_written_with_its_fields_and_gives_way_to_what_is_typed() -> None:
    assert canonical(build("deer@pocket")) == "deer(threshold=0.97, reuse_answer=true)"
    assert build("deer@smollm2(threshold=0.8)") == Deer(threshold=0.8, reuse_answer=True)
    assert build("deer@pocket:0.5") == Deer(threshold=0.5, reuse_answer=True)
    assert build("first-finish(n=2, stop=deer@pocket)") == FirstFinish(n=2, stop=build("deer@pocket"))


def test_every_preset_is_shown_by_the_study_that_it_names() -> None:
    found = [preset for row in catalog.methods() for preset in row["presets"].values()]
    assert found
    for preset in found:
        page = Path(__file__).parents[1] / "studies" / preset["study"] / "README.md"
        assert f"`{preset['spec']}`" in page.read_text("utf-8")


def test_canonical_names_only_what_differs_in_the_order_of_the_class() -> None:
    assert canonical(build("first-finish(stop=es-cot(trigger=cue,d_min=3),k=2,n=8)")) == (
        "first-finish(k=2, stop=es-cot(d_min=3, trigger=cue))"
    )
    assert canonical(build("cap:96")) == "fixed-budget"


def test_commas_split_outside_parentheses() -> None:
    text = "full,cap:32,first-finish(n=8, stop=deer(threshold=0.9, mean=min))"
    assert [type(policy) for policy in parse_policies(text)] == [Full, FixedBudget, FirstFinish]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("der", "unknown policy 'der'. Did you mean 'deer'"),
        ("deer(thresold=0.9)", "Did you mean 'threshold'"),
        ("deer:high", r"deer: threshold must be a number \(from 0 to 1\), got 'high'"),
        ("deer:2", r"deer: threshold must be a number \(from 0 to 1\), got 2.0"),
        ("deer(threshold=nan)", "from 0 to 1"),
        ("cap:1.5", r"cap: tokens must be a whole number \(at least 0\), got '1.5'"),
        ("deer(mean=mode)", "one of arithmetic, geometric, min"),
        ("deer(require_closed=yes)", "true or false"),
        ("deer(0.9)", "is no `field=value`"),
        ("deer(threshold=0.9, threshold=0.8)", "given twice"),
        ("full:3", "full has no fields"),
        ("first-finish(n=2, k=3)", "k must be at most n"),
        ("first-finish(stop=first-finish(n=0))", "n must be a whole number"),
        ("first-finish(n=2", "parentheses or quotes do not match"),
        ("deer)", "parentheses or quotes do not match"),
        ("full,,deer", "a comma has nothing on one side"),
        ("", "a comma has nothing on one side"),
        ("full, full", "named more than once"),
        ("deer extra", "cannot be read"),
        ("deer@pockett", "unknown preset of deer 'pockett'. Did you mean 'pocket'"),
        ("deer@", "unknown preset of deer ''"),
        ("full@pocket", "full has no presets"),
        ("__import__('os')", "cannot be read|unknown policy|is no `field=value`"),
        ("./mine.py:Rule", "on the command line only"),
        ("full," * 600 + "x(" + "y" * 2100 + ")", "at most 2000 characters"),
        ("first-finish(stop=" * 20 + "full" + ")" * 20, "deep"),
    ],
)
def test_bad_specs_are_refused_with_a_way_out(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse_policies(text)


@pytest.mark.parametrize(
    "row", [None, [], {}, {"id": 3}, {"id": "deer", "stop": 1}, {"id": "first-finish", "stop": "deer"}]
)
def test_bad_json_is_refused(row: Any) -> None:
    with pytest.raises(BadInput):
        from_json(row)


def test_needs_of_inner_methods_count() -> None:
    check_fit([Full()], "bare", frozenset())
    with pytest.raises(Unfit, match=r"deer needs .* which the bare engine does not provide.*full"):
        check_fit([FirstFinish(stop=Deer())], "bare", frozenset({Need.ABORT, Need.INJECT}))


def test_the_listing_is_json_and_tells_each_methods_fields() -> None:
    rows = {row["id"]: row for row in json.loads(json.dumps(catalog.methods()))}
    assert list(rows) == [name for family in catalog.FAMILIES.values() for name in sorted(family.methods)]
    assert {(row["family"], row["kind"]) for row in rows.values()} == {
        (name, family.kind.name) for name, family in catalog.FAMILIES.items()
    }
    assert rows["deer"]["system"] == "deer"
    assert rows["deer"]["fields"][0] == {
        "name": "threshold", "takes": "a number (from 0 to 1)", "default": 0.95, "ours": False,
    }  # fmt: skip
    assert rows["first-finish"]["system"] == "ffs"
    assert rows["fixed-budget"]["aliases"] == ["cap"]
    assert all(row["summary"].endswith(".") for row in rows.values())


@pytest.mark.parametrize("kind", catalog.KINDS.values(), ids=str)
def test_every_method_survives_spec_and_json_as_its_kind_and_no_other_kind_takes_it(kind: Kind[Any]) -> None:
    for family in catalog.FAMILIES.values():
        for name, method in family.methods.items():
            assert kind_of(method) is family.kind
            if family.kind is not kind:
                with pytest.raises(BadInput, match=f"{kind}: {name} is a {family.kind}, not a {kind}"):
                    build(name, kind)
                continue
            if "artefact" in field_types(method):
                continue  # learned: it cannot be made without its file
            made = build(name, kind)
            assert type(made) is method
            assert build(canonical(made), kind) == made
            assert from_json(json.loads(json.dumps(as_json(made))), kind) == made


def test_every_kind_accepts_its_own_methods_and_its_example() -> None:
    for family in catalog.FAMILIES.values():
        for method in family.methods.values():
            stranger = type("Stranger", (method,), {})  # in no table: known by what it can be called with
            assert kind_of(stranger) is family.kind
    for kind in catalog.KINDS.values():
        assert [build(spec, kind) for spec in split(kind.example)]
        assert kind.about.startswith(f"A {kind} is called with ")


def test_names_are_suggested_within_the_kind_that_is_asked_for() -> None:
    with pytest.raises(UnknownName, match=r"unknown filter 'min-q'\. Did you mean 'min-p'"):
        build("min-q", FILTER)
    with pytest.raises(UnknownName, match=r"unknown policy 'min-q'(?!.*min-p)"):
        build("min-q")


def test_a_field_takes_methods_of_its_own_kind_only() -> None:
    with pytest.raises(BadInput, match="policy: min-p is a filter, not a policy"):
        build("first-finish(stop=min-p)")


RULE = '''
from dataclasses import dataclass
from typing import ClassVar
from satisfice import Card, Chain, Session

@dataclass(frozen=True, kw_only=True)
class Short:
    """Think a little."""

    card: ClassVar = Card(id="short", paper="", where="mine", needs=frozenset(), fidelity="standard")

    tokens: int = 5

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        await chain.think(limit=self.tokens)
        return await chain.close_thinking()
'''


def test_a_strangers_own_rule_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(RULE)
    name = f"{tmp_path}/mine.py:Short"
    policy = build(f"{name}(tokens=7)", allow_files=True)
    assert canonical(policy) == f"{name}(tokens=7)"
    assert build(canonical(policy), allow_files=True) == policy
    nested = build(f"first-finish(n=2, stop={name})", allow_files=True)
    assert canonical(nested) == f"first-finish(n=2, stop={name})"
    with pytest.raises(UnknownName, match="Did you mean 'Short'"):
        build(f"{tmp_path}/mine.py:Shot", allow_files=True)
    with pytest.raises(BadInput, match="is no method"):
        build(f"{tmp_path}/mine.py:dataclass", allow_files=True)


OTHERS = """
from dataclasses import dataclass
from typing import ClassVar
from satisfice import Card

def card(name):
    return Card(id=name, paper="", where="mine", needs=frozenset(), fidelity="standard")

@dataclass(frozen=True, kw_only=True)
class Two:
    "Keep two tokens."
    card: ClassVar = card("two")
    def keep(self, logits):
        return logits >= logits.argsort(-1)[:, -2:-1] * 0 + sorted(logits[0])[-2]
    def __call__(self, logits):
        import numpy as np
        return np.where(self.keep(logits), logits, -np.inf)

@dataclass(frozen=True, kw_only=True)
class Longer:
    "The longer, the better."
    card: ClassVar = card("longer")
    def __call__(self, question, texts):
        return [float(len(text)) for text in texts]
"""


def test_a_strangers_own_method_of_any_kind_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "others.py").write_text(OTHERS)
    two, longer = (f"{tmp_path}/others.py:{name}" for name in ("Two", "Longer"))
    assert canonical(build(two, FILTER, allow_files=True)) == two
    sampler = parse_sampler(f"{two}, temperature, top-k:3", allow_files=True)
    assert [method.card.id for method in sampler.filters] == ["two", "top-k"]
    assert canonical(build(f"er-prm(scorer={longer})", allow_files=True)) == f"er-prm(scorer={longer})"
    assert kind_of(build(longer, SCORER, allow_files=True)) is SCORER
    for kind in (POLICY, SHAPER, SCORER):
        with pytest.raises(BadInput, match=rf"^{kind} '.*Two': Two is no {kind}. A {kind} is called with"):
            build(two, kind, allow_files=True)
    with pytest.raises(BadInput, match=r"^shaper '.*none\.py:X': there is no file"):
        build(f"{tmp_path}/none.py:X", SHAPER, allow_files=True)
    with pytest.raises(BadInput, match=r"^filter '.*Two': methods from files can be named on the command line only"):
        parse_sampler(two)


def test_a_file_that_is_not_there_or_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no file"):
        build(f"{tmp_path}/none.py:Rule", allow_files=True)
    (tmp_path / "broken.py").write_text("1/0")
    with pytest.raises(BadInput, match="ZeroDivisionError"):
        build(f"{tmp_path}/broken.py:Rule", allow_files=True)
