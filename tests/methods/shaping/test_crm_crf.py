"""CRF: conciseness as a factor of the outcome."""

import pytest

from satisfice.core.shaper import advance
from satisfice.methods.shaping.crm_crf import CrmCrf
from satisfice.methods.shaping.grpo import Grpo
from satisfice.testing import rollouts

BATCH = rollouts([1, 1, 0, 1], score=[0.9, 0.4, 0.9, 0.6])


def test_worked_example() -> None:
    shaped = CrmCrf(anneal=0.5, anneal_end=0.5)(BATCH)
    assert shaped.reward == pytest.approx([2.1777, 1.5234, 0.0, 1.7851], abs=1e-4)
    assert shaped.advantage == pytest.approx([0.8458, 0.1593, -1.4391, 0.4339], abs=1e-4)
    population = CrmCrf(anneal=0.5, anneal_end=0.5, advantage=Grpo(ddof=0))(BATCH)
    assert population.advantage == pytest.approx([0.9767, 0.1840, -1.6617, 0.5011], abs=1e-4)


def test_a_wrong_or_truncated_rollout_earns_nothing_by_being_concise() -> None:
    cut = rollouts([1, 1, 0, 1], truncated=[0, 0, 0, 1], score=[0.9, 0.4, 0.9, 0.6])
    assert CrmCrf()(cut).reward[[2, 3]].tolist() == [0, 0]


def test_the_coefficient_falls_in_a_straight_line_and_stays_at_its_end() -> None:
    shaper = CrmCrf(anneal=1, anneal_end=0.2, anneal_steps=4)
    state, seen = shaper.init(), []
    for _ in range(6):
        seen.append(shaper(BATCH, state).metrics["anneal"])
        state = advance(shaper, state, BATCH)
    assert seen == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0.2])
