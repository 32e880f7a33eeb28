"""Recall and risk from a prefix tree: the worked figures, a toy language whose truth is known, and equal risk."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.sampling.worlds import random_logits

from satisfice.core.errors import BadInput
from satisfice.methods.sampling.basis_aware import BasisAware
from satisfice.methods.sampling.diversity_risk import (
    GRIDS,
    at_risk,
    compare,
    measure,
    prefix_tree,
    recall_and_risk,
    tokens_needed,
)
from satisfice.methods.sampling.top_k import TopK
from satisfice.methods.sampling.top_p import TopP


def test_worked_figures() -> None:
    z = np.log([[0.3, 0.25, 0.2, 0.1, 0.08, 0.04, 0.03]])
    needed = tokens_needed(z, [{1, 4}])
    assert needed.tolist() == [5], "the lowest-ranked of them is the fifth"
    for k, recall, risk in ((2, 0.4, 0.0), (5, 1.0, 0.0), (6, 1.0, 0.2)):
        told = recall_and_risk(TopK(k=k).keep(z), z, needed)
        assert [float(x[0]) for x in told] == pytest.approx([recall, risk])


def test_tokens_that_are_no_prefix_of_the_order_are_counted_one_by_one() -> None:
    z = np.log([[0.4, 0.3, 0.2, 0.1]])
    recall, risk = recall_and_risk(np.array([[False, True, False, True]]), z, [2])
    assert (recall[0], risk[0]) == (0.5, 0.5)


def test_a_tree_holds_prefixes_with_their_continuations() -> None:
    corpus = [[9, 1, 2], [9, 1, 3], [9, 4], [9, 4]]
    assert prefix_tree(corpus) == {(9,): {1, 4}, (9, 1): {2, 3}}
    assert prefix_tree(corpus, start=2) == {(9, 1): {2, 3}}
    assert prefix_tree(corpus, least=1)[(9, 4)[:1]] == {1, 4}
    assert () in prefix_tree(corpus, least=1)
    assert prefix_tree([]) == {}


def test_places_where_one_token_is_right_count_where_the_corpus_is_certain() -> None:
    corpus = [[9, 1, 2]] * 3 + [[8, 8, 1, 2]] * 2
    assert prefix_tree(corpus, least=1, visits=3, start=1) == {(9,): {1}, (9, 1): {2}}
    assert prefix_tree(corpus, least=1, visits=2, start=[1, 1, 1, 2, 2]) == {
        (9,): {1}, (9, 1): {2}, (8, 8): {1}, (8, 8, 1): {2},
    }  # fmt: skip
    with pytest.raises(BadInput, match="2 starts for 5 sequences"):
        prefix_tree(corpus, start=[0, 1])


@given(seed=st.integers(0, 1000), k=st.integers(1, 30))
def test_ranks_agree_with_top_k(seed: int, k: int) -> None:
    z = random_logits(seed, 4, 30)
    keep = TopK(k=k).keep(z)
    assert (tokens_needed(z, [np.flatnonzero(row) for row in keep]) == k).all()
    recall, risk = recall_and_risk(keep, z, [k] * 4)
    assert recall.tolist() == [1] * 4
    assert risk.tolist() == [0] * 4


def language(seed: int, n: int, vocab: int) -> tuple[np.ndarray, list[set[int]]]:
    """A toy language: after each prefix some tokens are right, and the model scores them higher, not perfectly."""
    rng = np.random.default_rng(seed)
    follows = [set(rng.choice(vocab, int(rng.integers(1, 12)), replace=False).tolist()) for _ in range(n)]
    z = rng.standard_normal((n, vocab)).astype(np.float32)
    for row, good in zip(z, follows, strict=True):
        row[list(good)] += 4 + rng.standard_normal(len(good))
    return z, follows


def test_risk_grows_along_every_grid_and_the_search_finds_what_a_sweep_finds() -> None:
    z, follows = language(0, 60, 80)
    needed = tokens_needed(z, follows)
    for name, (base, field, grid) in GRIDS.items():
        values = [v if isinstance(v, int) else float(v) for v in grid][::4]
        risks = [measure(type(base)(**{field: v}), v, z, needed).risk for v in values]
        assert all(b >= a - 1e-9 for a, b in itertools.pairwise(risks)), name
        found = at_risk(name, 1.0, z, needed)
        assert abs(found.risk - 1.0) <= min(abs(r - 1.0) for r in risks) + 1e-9
        assert vars(found.method)[field] == found.value


def test_filters_are_compared_at_equal_risk_only() -> None:
    z, follows = language(1, 200, 100)
    told = compare(torch.tensor(z), follows, risks=(0.5, 5.0, 1e6))
    assert told[1e6] == [], "nobody keeps so many"
    for risk in (0.5, 5.0):
        assert {p.method.card.id for p in told[risk]} >= {"top-p", "min-p", "top-h", "typical"} - (
            {"typical"} if risk == 0.5 else set()
        )
        assert all(abs(p.risk - risk) <= 0.1 * risk for p in told[risk])
        recalls = [p.recall for p in told[risk]]
        assert recalls == sorted(recalls, reverse=True)
        assert all(0 < p.recall <= 1 and p.stability > 0 and p.n == 200 for p in told[risk])
    assert told[5.0][0].recall > told[0.5][0].recall, "more risk buys recall"


def test_an_oracle_of_the_right_size_has_full_recall_and_no_risk() -> None:
    z, follows = language(2, 50, 60)
    needed = tokens_needed(z, follows)
    keep = np.argsort(np.argsort(-z, axis=1), axis=1) < needed[:, None]
    recall, risk = recall_and_risk(keep, z, needed)
    assert (recall.mean(), risk.mean()) == (1.0, 0.0)
    assert measure(TopP(p=1.0), 1.0, z, needed).recall == 1.0


def test_bad_input_is_refused() -> None:
    z, follows = language(3, 4, 20)
    with pytest.raises(BadInput, match="has no grid"):
        at_risk(BasisAware.card.id, 1.0, z, tokens_needed(z, follows))
    with pytest.raises(BadInput, match="0 or more"):
        at_risk("top-p", -1.0, z, tokens_needed(z, follows))
    with pytest.raises(BadInput, match="4 rows of logits for 3 prefixes"):
        tokens_needed(z, follows[:3])
