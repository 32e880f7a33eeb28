"""The card of a trained model says what was measured, and no more."""

from typing import Any

from satisfice.training.model_card import model_card

RUN: dict[str, Any] = {
    "config": {
        "model": "pocket", "weights": "abc", "tasks": ["chain-sum:easy@1"], "shaper": "laser(target=128)",
        "problems": {"chain-sum:easy@1": {"n": 60, "digest": "d"}}, "steps": 3, "prompts": 4, "group": 4,
        "max_tokens": 96, "temperature": 1.1, "learning_rate": 3e-4, "warmup": 0, "updates": 1, "bf16": False,
        "refill": 0, "seed": 0,
    },
    "preflight": {
        "problems": 48, "rollouts": 192, "accuracy": 0.9, "solved_by_any": 1.0, "solved_by_all": 0.5, "truncated": 0.0,
        "length_mean": 90.0, "length_p10": 50.0, "length_p50": 88.0, "length_p90": 140.0, "notes": ["Odd."],
    },
}  # fmt: skip
ROW: dict[str, Any] = {
    "task": "chain-sum:easy@1", "n": 200, "accuracy_first": 0.99, "accuracy_second": 0.98, "delta_accuracy": -0.01,
    "delta_accuracy_low": -0.02, "delta_accuracy_high": 0.0, "spent_first": 95.0, "spent_second": 50.0, "saving": 0.47,
    "saving_low": 0.45, "saving_high": 0.5,
}  # fmt: skip


def step(n: int, **more: Any) -> dict[str, Any]:
    figures = {"rollouts/accuracy": 0.9, "rollouts/length": 80.0, "rollouts/truncated": 0.0, "loss/entropy": 0.1}
    return {"step": n, "alarms": [], **figures, **more}


def test_results_stand_first_and_small_samples_are_called_small() -> None:
    card = model_card(RUN, [step(n) for n in range(1, 21)], [ROW])
    assert card.startswith("# pocket, trained with laser\n")
    row = "| chain-sum:easy@1 | 200 | 99.0% | 98.0% | -1.0 (-2.0 to +0.0) | 95 | 50 | 47.0 % (45.0 % to 50.0 %) |"
    assert row in card
    assert "these are for orientation" in card
    assert "these are for orientation" not in model_card(RUN, [], [{**ROW, "n": 2000}])
    other = {**RUN, "config": {**RUN["config"], "model": "smollm2+reasoning"}}
    assert "A claim needs 1,500 problems: these" in model_card(other, [], [{**ROW, "n": 700}, {**ROW, "n": 799}])
    assert "these are for orientation" not in model_card(other, [], [{**ROW, "n": 700}, {**ROW, "n": 800}])
    assert card.index("Accuracy and length") < card.index("## Training")
    assert "- Odd." in card


def test_the_curve_has_the_first_step_and_the_last_and_alarms_are_told() -> None:
    steps = [step(n) for n in range(1, 21)]
    steps[9]["alarms"] = ["Entropy fell."]
    steps[19]["rollouts/length_right"] = 33.3
    card = model_card(RUN, steps, [])
    assert "| 1 | 90.0% | 80 |" in card
    assert "| 20 | 90.0% | 80 | 33 |" in card
    assert "- step 10: Entropy fell." in card
    assert "Not measured" in card
    assert "Alarms" not in model_card(RUN, steps[:3], [])
