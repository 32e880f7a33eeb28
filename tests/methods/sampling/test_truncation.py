"""Filters and the temperature in their order, and inside transformers."""

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.sampling.worlds import KINDS, Z, ids, random_logits

from satisfice.catalog import check_fit, parse_sampler, sampler_text
from satisfice.core.card import Need
from satisfice.core.errors import BadInput, Unfit, UnknownName
from satisfice.methods.sampling import Truncation
from satisfice.methods.sampling.basis_aware import BasisAware
from satisfice.methods.sampling.min_p import MinP
from satisfice.methods.sampling.top_k import TopK
from satisfice.methods.sampling.top_p import TopP
from satisfice.plugins.transformers import Truncate


def q(truncation: Truncation, kind: str) -> list[float]:
    scores = np.asarray(truncation.process(KINDS[kind](Z)), dtype=np.float64)[0]
    mass = np.exp(scores)
    return [float(x) for x in mass[mass > 0] / mass.sum()]


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_temperature_stands_changes_what_is_kept(kind: str) -> None:
    first, last = parse_sampler("top-p:0.9", temperature=2.0), parse_sampler("top-p:0.9, temperature", temperature=2.0)
    assert q(first, kind) == pytest.approx([0.32492, 0.242181, 0.187593, 0.136998, 0.108307], abs=1e-6)
    assert q(last, kind) == pytest.approx([0.364386, 0.271597, 0.210378, 0.153639], abs=1e-6)
    assert len(q(parse_sampler("min-p:0.3", temperature=2.0), kind)) == 5
    last = parse_sampler("min-p:0.3, temperature", temperature=2.0)
    assert q(last, kind) == pytest.approx([0.430532, 0.3209, 0.248568], abs=1e-6)


@given(seed=st.integers(0, 99), t=st.sampled_from([0.3, 1.0, 2.5]), spec=st.sampled_from(["top-k:4", "top-n-sigma:1"]))
def test_top_k_and_top_n_sigma_do_not_care(seed: int, t: float, spec: str) -> None:
    z = random_logits(seed, 3, 50).astype(np.float64)
    first, last = (parse_sampler(text, temperature=t).process(z) for text in (spec, f"{spec}, temperature"))
    assert np.array_equal(np.isfinite(first), np.isfinite(last))
    assert np.isfinite(first).any(1).all()


def test_each_filter_sees_what_the_one_before_it_left() -> None:
    z = np.log([[0.4, 0.3, 0.2, 0.1]])
    assert ids(np.isfinite(parse_sampler("top-p:0.75").process(z))) == [0, 1, 2]
    assert ids(np.isfinite(parse_sampler("top-k:3, top-p:0.75").process(z))) == [0, 1], "0.7 of 0.9 is more than 0.75"


def test_temperature_0_keeps_the_likeliest_whatever_the_filters() -> None:
    z = np.array([[1.0, 3.0, 2.0]])
    assert ids(np.isfinite(Truncation(after=(TopK(k=3),), temperature=0.0).process(z))) == [1]
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="temperature"):
            Truncation(temperature=bad)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("min-p", "temperature, min-p"),
        ("min-p(p=0.1), temperature", "min-p, temperature"),
        ("top-k:20,temperature,top-p(p=0.9, min_tokens_to_keep=2)",
         "top-k(k=20), temperature, top-p(p=0.9, min_tokens_to_keep=2)"),
        ("temperature", "temperature"),
    ],
)  # fmt: skip
def test_what_people_type(text: str, canonical: str) -> None:
    assert sampler_text(parse_sampler(text)) == canonical
    assert parse_sampler(canonical) == parse_sampler(text)


def test_bad_texts_are_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'min-p'"):
        parse_sampler("minp")
    with pytest.raises(BadInput, match="deer is a policy, not a filter"):
        parse_sampler("deer")
    with pytest.raises(BadInput, match="Name it once"):
        parse_sampler("temperature, top-k, temperature")
    with pytest.raises(BadInput, match="comma"):
        parse_sampler("")


def test_a_filter_that_needs_the_output_matrix_is_refused_or_bound() -> None:
    with pytest.raises(Unfit, match=r"basis-aware needs .*the output matrix.* top-k"):
        check_fit(parse_sampler("basis-aware").filters, "http", frozenset({Need.LOGITS}))
    matrix = np.array([(1, 0), (1, 0.2), (0, 1), (0, 0.9), (-1, -0.5), (2.5, 2.5)])
    method = BasisAware(base="epsilon", epsilon=0.3, columns=2)
    bound = Truncation(before=(method,), after=(TopK(k=3),)).bound(lambda: matrix)
    assert ids(np.isfinite(bound.process(Z))) == [0, 1, 2]
    plain = Truncation(after=(MinP(),))
    assert plain.bound(lambda: pytest.fail("nobody needs it")) == plain


@pytest.mark.parametrize("order", ["min-p:0.2", "min-p:0.2, temperature"])
def test_in_transformers_generate_only_kept_tokens_are_sampled(order: str) -> None:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=60, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    model.lm_head.weight.data *= 60
    truncation = parse_sampler(order, temperature=2.0)
    out = model.generate(
        input_ids=torch.tensor([[5, 6, 7]] * 4), attention_mask=torch.ones(4, 3, dtype=torch.long), do_sample=True,
        temperature=2.0, top_k=0, top_p=1.0, max_new_tokens=20, logits_processor=[Truncate(truncation)],
        output_scores=True, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    cut = 0
    for logits, scores in zip(out.logits, out.scores, strict=True):
        wanted = truncation.process(logits)
        assert torch.equal(torch.isfinite(scores), torch.isfinite(wanted))
        assert torch.allclose(scores.softmax(-1), wanted.softmax(-1), atol=1e-6)
        cut += int((~torch.isfinite(wanted)).sum())
    assert cut > 0
    assert torch.isfinite(torch.stack(out.scores)).any(-1).all()


def test_top_p_alone_is_a_filter_too() -> None:
    z = torch.tensor(random_logits(0, 2, 30))
    assert torch.equal(TopP(p=0.8)(z), Truncation(after=(TopP(p=0.8),)).process(z))
