"""Small algorithms of the local engine: where a stop text begins, drawing by key and position, attention's products."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from satisfice.engines.local.cache import _products
from satisfice.engines.local.sampler import LOT, draw, nucleus, uniforms
from satisfice.engines.stops import could_end, find_stop
from satisfice.methods.parallel.cntp import processed
from satisfice.methods.sampling.top_p import TopP

PIECES = ["W", "a", "i", "t", "Wa", "it", " ", "Wait", "x", "\n", "ta"]


def decode(ids: list[int]) -> str:
    return "".join(PIECES[i] for i in ids)


@given(st.lists(st.integers(0, len(PIECES) - 1), max_size=30), st.integers(0, 5))
def test_streaming_search_finds_what_a_search_of_the_whole_text_finds(ids: list[int], begin: int) -> None:
    begin = min(begin, len(ids))
    texts = ("Wait", "t\n", "aa")
    found = None
    for n in range(begin + 1, len(ids) + 1):
        if could_end(PIECES[ids[n - 1]], texts) and (found := find_stop(ids[:n], begin, n - 1, texts, decode)):
            break
    whole = decode(ids[begin:])
    ends = [whole.find(t) + len(t) for t in texts if t in whole]
    if not ends:
        assert found is None
        return
    assert found is not None
    upto = next(k for k in range(begin, len(ids) + 1) if len(decode(ids[begin:k])) >= min(ends))
    assert n == upto  # found at the very token that completes the earliest match
    assert begin <= found.cut < n
    assert found.text in decode(ids[found.cut : n])
    assert found.text not in decode(ids[found.cut + 1 : n])


@given(st.integers(0, 2**64 - 1), st.integers(0, 10_000))
def test_uniforms_depend_on_key_and_position_alone(key: int, position: int) -> None:
    alone = uniforms(np.array([key], dtype=np.uint64), np.array([position]))
    crowd = uniforms(np.array([1, key, 2], dtype=np.uint64), np.array([9, position, 3]))
    assert alone[0] == crowd[1]
    assert 0 <= alone[0] < 1


def test_uniforms_are_uniform_over_keys_and_over_positions() -> None:
    from scipy.stats import kstest

    n = 20_000
    over_positions = uniforms(np.full(n, 12345, dtype=np.uint64), np.arange(n))
    over_keys = uniforms(np.arange(n, dtype=np.uint64), np.full(n, 7))
    assert kstest(over_positions, "uniform").pvalue > 1e-3
    assert kstest(over_keys, "uniform").pvalue > 1e-3


def test_draws_follow_the_softmax_of_the_scores_over_temperature() -> None:
    from scipy.stats import chisquare

    logits, n = torch.tensor([1.0, 0.0, -1.0, float("-inf"), 2.0]), 50_000
    chance = torch.from_numpy(uniforms(np.arange(n, dtype=np.uint64), np.zeros(n, dtype=np.int64)))
    picked = draw(logits.expand(n, -1), torch.full((n,), 0.7), None, chance, [])
    wanted = torch.softmax(logits / 0.7, -1).double().numpy()
    counts = np.bincount(picked, minlength=5)
    assert counts[3] == 0
    keep = wanted > 0
    assert chisquare(counts[keep], wanted[keep] / wanted[keep].sum() * n).pvalue > 1e-3


def test_nucleus_keeps_the_smallest_set_that_reaches_the_mass() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]] * 4))
    kept = nucleus(scores, torch.tensor([0.4, 0.5, 0.79, 1.0])).isfinite().sum(-1)
    assert kept.tolist() == [1, 1, 2, 4]


@given(st.integers(1, 9), st.integers(1, 600), st.floats(0.01, 9), st.integers(0, 1 << 30))
def test_nucleus_is_what_all_tokens_in_order_of_their_mass_give(rows: int, vocab: int, sharp: float, seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    scores = sharp * torch.randn(rows, vocab, generator=dice, dtype=torch.float64)
    top_p = torch.rand(rows, generator=dice, dtype=torch.float64)
    mass = torch.softmax(scores, -1)
    ordered, order = mass.sort(-1, descending=True)
    stay = ordered.cumsum(-1) - ordered < top_p[:, None]
    wanted = torch.zeros_like(stay).scatter(1, order, stay)
    wanted[torch.arange(rows), order[:, 0]] = True
    assert torch.equal(nucleus(scores, top_p).isfinite(), wanted)


@given(st.integers(2, 300), st.floats(0.1, 4), st.floats(0.05, 0.999), st.integers(0, 1 << 30))
def test_every_nucleus_in_this_package_holds_the_same_tokens(vocab: int, sharp: float, top_p: float, seed: int) -> None:
    scores = sharp * torch.randn(1, vocab, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    before = np.sort(torch.softmax(scores, -1).numpy()[0])[::-1].cumsum()
    assume(np.abs(before - top_p).min() > 1e-5)  # what rounding may decide either way
    engine = nucleus(scores, torch.tensor([top_p], dtype=torch.float64)).isfinite()
    assert torch.equal(TopP(p=top_p).keep(scores), engine)
    ordered = torch.log_softmax(scores, -1).sort(descending=True).values[0].numpy()
    assert np.isfinite(processed(ordered, 1.0, top_p)).sum() == engine.sum()


def test_rows_drawn_a_few_at_a_time_are_those_of_each_alone() -> None:
    dice = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(13, 50_000, generator=dice)
    assert LOT // scores.shape[1] < len(scores), "one lot: nothing is tried"
    heat, top_p = torch.rand(13, generator=dice), torch.rand(13, generator=dice)
    heat[4] = 0
    chance = torch.rand(13, generator=dice, dtype=torch.float64)
    for p in (None, top_p):
        alone = [
            draw(scores[i : i + 1], heat[i : i + 1], None if p is None else p[i : i + 1], chance[i : i + 1], [])
            for i in range(13)
        ]
        assert torch.equal(draw(scores, heat, p, chance, []), torch.cat(alone))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("queries", [1, 3, 15, 16, 48])
def test_products_of_queries_and_keys_are_those_of_their_definition(dtype: torch.dtype, queries: int) -> None:
    dice = torch.Generator().manual_seed(0)
    query = torch.randn(6, queries, 64, generator=dice).to(dtype)
    keys = torch.randn(6, 128, 64, generator=dice).to(dtype)
    found = _products(query, keys)
    assert found.is_contiguous()
    wanted = torch.einsum("nqd,nkd->nqk", query.double(), keys.double())
    torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-5 if dtype is torch.float32 else 2**-8)
