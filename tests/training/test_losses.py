"""StableMax, the orthogonal gradient and early-learning regularisation: worked examples, and what they are for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from satisfice.core.errors import BadInput
from satisfice.training.losses import EarlyLearning, log_stablemax, orthogonal_gradient, stablemax_loss


def test_stablemax_by_hand() -> None:
    """z = (3, 0, -2): s = (4, 1, 1/3), shares .75, .1875, .0625."""
    z = torch.tensor([3.0, 0.0, -2.0])
    assert log_stablemax(z).exp().tolist() == pytest.approx([0.75, 0.1875, 0.0625])
    assert float(stablemax_loss(z[None], torch.tensor([0]))) == pytest.approx(0.2877, abs=1e-4)
    two = stablemax_loss(torch.stack([z, z]), torch.tensor([0, -100]))
    assert float(two) == pytest.approx(0.2877, abs=1e-4)  # what is ignored is in no mean


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=8))
def test_stablemax_is_a_distribution_with_the_order_of_the_logits(values: list[float]) -> None:
    z = torch.tensor(values, dtype=torch.float64)
    direct = torch.where(z >= 0, z + 1, 1 / (1 - z))
    assert log_stablemax(z).exp().tolist() == pytest.approx((direct / direct.sum()).tolist(), rel=1e-9)
    assert log_stablemax(z)[z.argmax()] == log_stablemax(z).max()


def test_where_softmax_has_no_gradient_left_stablemax_has_one() -> None:
    for loss, alive in ((functional.cross_entropy, False), (stablemax_loss, True)):
        z = torch.tensor([[150.0, 0.0, 0.0]], requires_grad=True)
        loss(z, torch.tensor([0])).backward()
        assert z.grad is not None
        assert bool((z.grad.abs() > 0).any()) is alive


def with_gradient(weight: list[float], gradient: list[float]) -> nn.Parameter:
    p = nn.Parameter(torch.tensor(weight))
    p.grad = torch.tensor(gradient)
    return p


def test_the_orthogonal_gradient_by_hand() -> None:
    """w = (3, 4), g = (1, 2): w.g = 11, coefficient .44, (-.32, .24), rescaled from .4 to 2.236."""
    for rescale, expected in ((False, [-0.32, 0.24]), (True, [-1.789, 1.342])):
        p = with_gradient([3.0, 4.0], [1.0, 2.0])
        orthogonal_gradient([p], rescale=rescale)
        assert p.grad is not None
        assert p.grad.tolist() == pytest.approx(expected, abs=1e-3)
        assert float(p.detach() @ p.grad) == pytest.approx(0, abs=1e-5)


def test_edges_of_the_orthogonal_gradient() -> None:
    still = with_gradient([0.0, 0.0], [1.0, 2.0])  # no weights: nothing points along them
    parallel = with_gradient([1.0, 1.0], [2.0, 2.0])
    none = nn.Parameter(torch.ones(2))
    orthogonal_gradient([still, parallel, none])
    assert still.grad is not None
    assert still.grad.tolist() == pytest.approx([1, 2])
    assert parallel.grad is not None
    assert parallel.grad.norm() < 1e-5  # rounding is not blown up
    assert none.grad is None
    one, other = with_gradient([3.0], [1.0]), with_gradient([4.0], [2.0])
    orthogonal_gradient([one, other], rescale=False, scope="global")
    assert one.grad is not None
    assert other.grad is not None
    assert [float(one.grad), float(other.grad)] == pytest.approx([-0.32, 0.24], abs=1e-6)
    with pytest.raises(BadInput, match="scope must be tensor or global"):
        orthogonal_gradient([], scope="row")  # type: ignore[arg-type]


def test_early_learning_by_hand() -> None:
    """p = (.7, .2, .1), t = 0: t becomes (.21, .06, .03), <t, p> = .162, three times log(1 - .162) is -.530."""
    loss = EarlyLearning(examples=2, classes=3)
    z = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    label, index = torch.tensor([0]), torch.tensor([1])
    found = loss(z, label, index)
    assert loss.target[1].tolist() == pytest.approx([0.21, 0.06, 0.03])
    assert loss.target[0].tolist() == [0, 0, 0]
    assert float(found - functional.cross_entropy(z, label)) == pytest.approx(-0.530, abs=1e-3)
    with pytest.raises(BadInput, match="beta must be from 0"):
        EarlyLearning(examples=1, classes=2, beta=1.0)


@pytest.mark.slow
def test_on_digits_with_two_labels_in_five_wrong_it_ends_near_its_early_peak_and_cross_entropy_below() -> None:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    torch.manual_seed(0)
    inputs, clean = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    order = torch.randperm(len(x))
    train, test = order[:1000], order[1000:]
    noisy = torch.where(torch.rand(1000) < 0.4, torch.randint(0, 10, (1000,)), clean[train])
    ends = {}
    for name in ("plain", "early"):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        early, curve = EarlyLearning(examples=1000, classes=10), []
        for _ in range(100):
            for rows in torch.randperm(1000).split(100):
                z = model(inputs[train[rows]])
                loss = functional.cross_entropy(z, noisy[rows]) if name == "plain" else early(z, noisy[rows], rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                curve.append(float((model(inputs[test]).argmax(1) == clean[test]).float().mean()))
        ends[name] = (curve[-1], max(curve))
    assert ends["plain"][0] < ends["plain"][1] - 0.05  # it has fitted wrong labels
    assert ends["early"][0] > ends["plain"][0] + 0.03
    assert ends["early"][0] > ends["early"][1] - 0.04
