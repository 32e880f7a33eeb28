"""The loss in torch: the reference of `core.shaper` to the digit, in parts that add up."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.arrays import constant
from satisfice.core.loss_term import Added, LossTerm, PolicyLoss, Tokens
from satisfice.core.shaper import Loss, Shaped
from satisfice.methods.shaping.adaptive_deep_reasoning import ModeMargin, mode_hinge
from satisfice.methods.shaping.dot import KlCov
from satisfice.methods.shaping.drpo import Drpo, TrustRegion
from satisfice.methods.shaping.spear import ClipCov
from satisfice.methods.shaping.t_ppo import SquaredValueError
from satisfice.training.trl_loss import batch_loss, by_length, divergence

B, T = 5, 7


def batch(seed: int, loss: Loss) -> tuple[Shaped, dict[str, Any], Tokens]:
    rng = np.random.default_rng(seed)
    mask = np.arange(T) < rng.integers(1, T + 1, B)[:, None]
    new, old = -rng.exponential(1, (2, B, T))
    keep = np.append(rng.random(B - 1) > 0.3, True)
    shaped = Shaped(
        advantage=rng.normal(size=(B, T) if seed % 2 else B), reward=np.zeros(B), keep=keep,
        weight=rng.random((B, T) if seed % 3 else B) if seed % 5 else None,
    )  # fmt: skip
    share = loss.share(mask, keep)
    given = np.ones(B) if shaped.weight is None else shaped.weight
    weight = given if given.ndim == 2 else given[:, None]
    advantage = shaped.advantage if shaped.advantage.ndim == 2 else np.repeat(shaped.advantage[:, None], T, 1)
    # What stands where there is no token must not matter, however odd.
    odd = np.where(mask, new, np.inf)
    part = Tokens(
        logprob=tensor(odd).requires_grad_(), old_logprob=tensor(np.where(mask, old, -np.inf)),
        entropy=tensor(np.where(mask, rng.random((B, T)), np.nan)).requires_grad_(), mask=tensor(mask),
        advantage=tensor(advantage), share=tensor(share * weight), plain_share=tensor(share),
        entropy_share=tensor(share * 2), reference=tensor(np.where(mask, old - 0.5, 0)),
    )  # fmt: skip
    return shaped, {"logprob": new, "old_logprob": old, "mask": mask}, part


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(values, dtype=np.float64))


def rows(part: Tokens, some: slice) -> Tokens:
    arrays = {name: v for name, v in vars(part).items() if isinstance(v, torch.Tensor)}
    return replace(part, **{name: v[some] for name, v in arrays.items()})


losses = st.builds(
    Loss,
    clip_low=st.floats(0, 1),
    clip_high=st.floats(0, 2),
    dual_clip=st.none() | st.floats(1, 10),
    ratio=st.sampled_from(["token", "sequence", "none"]),
    aggregation=st.sampled_from(["token", "sequence", "constant"]),
    constant=st.just(9),
)


@settings(deadline=None, max_examples=60)
@given(losses, st.integers(0, 1000))
def test_the_policy_loss_is_the_reference_and_parts_add_up(loss: Loss, seed: int) -> None:
    shaped, arrays, part = batch(seed, loss)
    expected = loss.policy_loss(shaped, **arrays)
    total, told = batch_loss(loss, part)
    assert (total.item(), told["policy_loss"]) == pytest.approx((expected, expected), rel=1e-9, abs=1e-9)
    assert np.isfinite(told["entropy"])
    parts = sum(batch_loss(loss, rows(part, some))[0].item() for some in (slice(0, 2), slice(2, B)))
    assert parts == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_gradient_is_finite_and_stays_on_the_tokens() -> None:
    loss = Loss(kl=0.1, entropy=0.1, dual_clip=3, terms=(KlCov(share=0.2, weight=1.0),))
    _, arrays, part = batch(1, loss)
    batch_loss(loss, part)[0].backward()
    gradient = part.logprob.grad
    assert gradient is not None
    assert torch.isfinite(gradient).all()
    assert not gradient[~torch.from_numpy(arrays["mask"])].any()


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_the_divergence_counts_every_kept_token_whatever_its_weight(kind: str) -> None:
    loss = Loss(kl=0.5, kl_kind=kind)  # type: ignore[arg-type]
    part = batch(2, loss)[2]
    gap = torch.where(part.mask.bool(), part.reference - part.logprob, 0.0)  # type: ignore[operator]
    expected = 0.5 * (part.plain_share * divergence(kind, gap)).sum()
    found = batch_loss(loss, part)[0] - batch_loss(replace(loss, kl=0), part)[0]
    assert found.item() == pytest.approx(expected.item())
    assert batch_loss(loss, part)[1]["kl"] == pytest.approx(divergence(kind, gap)[part.mask.bool()].mean().item())


def test_entropy_is_averaged_by_its_own_shares() -> None:
    loss = Loss(entropy=0.25)
    part = batch(3, loss)[2]
    there = torch.where(part.mask.bool(), part.entropy, 0.0)
    found = batch_loss(loss, part)[0] - batch_loss(replace(loss, entropy=0), part)[0]
    assert found.item() == pytest.approx(-0.25 * (part.entropy_share * there).sum().item())


def test_only_the_tokens_of_highest_entropy_are_trained_on() -> None:
    one = torch.ones(1, 4, dtype=torch.float64)
    part = Tokens(
        logprob=torch.zeros_like(one).requires_grad_(), old_logprob=torch.zeros_like(one), mask=one, advantage=one,
        entropy=torch.tensor([[0.1, 0.9, 0.2, 0.8]]).double(), share=one / 4,
        plain_share=one / 4, entropy_share=one / 4,
    )  # fmt: skip
    batch_loss(Loss(top_entropy=0.5), part)[0].backward()
    assert part.logprob.grad is not None
    assert (part.logprob.grad != 0).tolist() == [[False, True, False, True]]


@pytest.mark.parametrize("gap", [3e-4, 1e-4, -1.0])
def test_the_trust_region_is_drpos(gap: float) -> None:
    one = torch.ones(2, 3, dtype=torch.float64)
    part = Tokens(
        logprob=(0 * one - gap).requires_grad_(), old_logprob=0 * one, mask=one, advantage=0 * one, entropy=0 * one,
        share=one / 6, plain_share=one / 6, entropy_share=one / 6,
    )  # fmt: skip
    assert batch_loss(Drpo().loss, part)[0].item() == pytest.approx(max(1000 * (gap - 1e-4), 0) * gap)


def test_the_tokens_of_highest_covariance_are_not_clipped() -> None:
    loss = Loss(clip_high=0.2, terms=(KlCov(share=1.0, weight=0.5),))
    one = torch.ones(1, 2, dtype=torch.float64)
    part = Tokens(
        logprob=torch.log(2 * one).requires_grad_(), old_logprob=0 * one, mask=one, advantage=one, entropy=0 * one,
        share=one / 2, plain_share=one / 2, entropy_share=one / 2,
    )  # fmt: skip
    assert batch_loss(loss, part)[0].item() == pytest.approx(-2 + 0.5 * np.log(2))
    assert batch_loss(loss, part)[1]["clip_share"] == 1


def test_the_mode_margin_is_the_hinge_on_log_odds_and_pulls_the_wanted_way() -> None:
    probability = torch.tensor([0.1, 0.5, 0.9, 0.9, 0.3], requires_grad=True)
    wanted = torch.tensor([-1.0, -1.0, -1.0, 1.0, 0.0])
    one = torch.ones(5, 1)
    part = Tokens(
        logprob=0 * one, old_logprob=0 * one, mask=one, advantage=0 * one, share=one / 5, plain_share=one / 5,
        brief=probability.log(), columns={"wanted_mode": wanted},
    )  # fmt: skip
    total, told = batch_loss(Loss(terms=(ModeMargin(margin=1.0, weight=2.0),)), part)
    odds = np.log(probability.detach().numpy() / (1 - probability.detach().numpy()))
    apart = [mode_hinge(-odd * want, 0.0) for odd, want in zip(odds[:4].tolist(), wanted.tolist(), strict=False)]
    assert told["mode_hinge"] == pytest.approx(sum(apart), abs=1e-4)
    assert total.item() == pytest.approx(2 * told["mode_hinge"])
    total.backward()
    assert (torch.sign(probability.grad)).tolist() == [-1, -1, 0, 1, 0]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Steady:
    """A term of a method that nobody knows: it holds tokens in place, each as much as its column says."""

    reads: ClassVar = frozenset({"care"})

    def __call__(self, part: Tokens, policy: PolicyLoss) -> Added:
        return Added(total=(part.plain_share * part.columns["care"] * policy.change**2).sum())


@pytest.mark.parametrize(
    "term",
    [
        KlCov(share=0.3, weight=0.5), ClipCov(share=0.5, low=0.01, high=40.0), TrustRegion(radius=0.01, weight=3.0),
        SquaredValueError(weight=0.5), ModeMargin(margin=1.0, weight=0.1), Steady(),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", [1, 4])
def test_a_term_is_the_same_in_numpy_and_torch_and_its_gradient_is_finite(term: LossTerm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    part = batch(seed, Loss())[2]
    there = part.mask.bool()
    mean = {name: torch.where(there, getattr(part, name), 0.0) for name in ("logprob", "old_logprob", "entropy")}
    part = replace(
        part, **mean, value=tensor(rng.normal(size=(B, T))), brief=tensor(-rng.exponential(1, B)),
        columns={
            "value_target": tensor(rng.normal(size=(B, T))), "value_weight": tensor(rng.random((B, T))),
            "wanted_mode": tensor([0.5, -0.5, 0, 1, -1]), "care": tensor(rng.random((B, T))),
        },
    )  # fmt: skip
    change = part.logprob - part.old_logprob
    policy = PolicyLoss(each=-part.advantage * change.exp(), change=change, clipped=change.abs() > 1)

    def numbers(of: Any) -> Any:
        return replace(of, **{
            name: {key: x.numpy(force=True) for key, x in value.items()} if isinstance(value, dict)
            else value if value is None else value.numpy(force=True)
            for name, value in vars(of).items()
        })  # fmt: skip

    ours, theirs = term(part, policy), term(numbers(part), numbers(policy))
    assert float(constant(ours.total)) == pytest.approx(float(theirs.total))
    assert dict(ours.metrics) == pytest.approx(dict(theirs.metrics))
    if theirs.each is not None:
        assert ours.each.numpy(force=True) == pytest.approx(theirs.each)
        assert not np.array_equal(theirs.each, policy.each.numpy(force=True))
    logprob = part.logprob.detach().requires_grad_()
    whole, told = batch_loss(Loss(terms=(term,)), replace(part, logprob=logprob))
    whole.backward()
    assert logprob.grad is not None
    assert torch.isfinite(logprob.grad).all()
    assert told.keys() >= ours.metrics.keys()


def test_tokens_of_high_covariance_are_left_out_and_the_denominator_stays() -> None:
    loss = Loss(terms=(ClipCov(share=0.5, low=0.5, high=40.0),))
    logprob = torch.tensor([[-5.0, -0.1, -0.1, -0.1]], requires_grad=True)
    ones = torch.ones(1, 4)
    advantage = torch.tensor([[-3.0, 1.0, 1.0, 1.0]])
    part = Tokens(
        logprob=logprob, old_logprob=logprob.detach(), entropy=ones, mask=ones, advantage=advantage, share=ones / 4,
        plain_share=ones / 4, entropy_share=ones / 4,
    )  # fmt: skip
    total, _ = batch_loss(loss, part)
    total.backward()
    assert logprob.grad is not None
    assert (logprob.grad != 0).sum() == 2  # of four tokens in the band at most half are left out
    assert total.item() == pytest.approx(-float((advantage * (logprob.grad != 0)).sum()) / 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6)), min_size=1, max_size=7), st.integers(1, 4), st.data())
def test_rows_of_like_length_go_together_and_come_back_in_order(
    lengths: list[tuple[int, int]], rows: int, data: st.DataObject
) -> None:
    before, kept = max(p for p, _ in lengths), max(1, max(c for _, c in lengths))
    ids = torch.tensor(
        data.draw(st.lists(st.integers(1, 9), min_size=(n := len(lengths) * (before + kept)), max_size=n))
    )
    ids = ids.view(len(lengths), -1)
    there = torch.zeros_like(ids)
    for row, (prompt, completion) in enumerate(lengths):
        there[row, before - prompt : before + completion] = 1
    widths = []

    def through(ids: torch.Tensor, there: torch.Tensor, kept: int) -> tuple[torch.Tensor, None]:
        """Something of each place that depends on all tokens of its row before it."""
        widths.append(ids.shape)
        return (ids * there).cumsum(1)[:, -kept:], None

    found, nothing = by_length(through, ids, there, kept, rows)
    assert nothing is None
    assert found is not None
    whole = through(ids, there, kept)[0]
    assert torch.equal(found * there[:, -kept:], whole * there[:, -kept:])
    assert all(height <= rows for height, _ in widths[:-1])
    if rows == 1:  # no padding at all, but for a place where something is asked of an empty completion
        assert sum(width for _, width in widths[:-1]) == sum(p + max(1, c) for p, c in lengths)
