"""One choice of a response on its way, and what is told of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from satisfice.gateway.generation import Generation, Outcome
from satisfice.gateway.parameters import Parameters
from satisfice.gateway.prompts import Prompt
from satisfice.gateway.reasoning import Delta, content_of


@dataclass(kw_only=True)
class Choice:
    """One choice on its way."""

    index: int
    prompt: Prompt
    asked: Parameters  # what the request asks for
    run: Parameters  # what is done: without its rule in shadow mode, and for the share that shows what rules save
    generation: Generation
    deltas: list[Delta]
    outcome: Outcome | None = None

    @property
    def answered(self) -> bool:
        """Whether there is something to read, or a call of a tool."""
        return bool(content_of(self.deltas).strip()) or any(delta.data for delta in self.deltas)


def described(choices: Sequence[Choice], outcomes: Sequence[Outcome], *, shadow: bool) -> dict[str, Any]:
    """Return what the gateway did: for one choice its rule and ledger; for several, those of each."""
    rows = []
    for choice, outcome in zip(choices, outcomes, strict=True):
        more: dict[str, Any] = {"ignored": list(choice.run.ignored)} if choice.run.ignored else {}
        if choice.run is not choice.asked:
            more["shadow" if shadow else "control"] = choice.asked.name
        if choice.generation.looped:
            more["looped"] = True
        rows.append({
            "policy": choice.run.name, "stopped": outcome.stopped, "no_answer": not choice.answered,
            "chains": outcome.chains, "looks": outcome.looks, "ledger": outcome.ledger.as_row(), **more,
        })  # fmt: skip
    return rows[0] if len(rows) == 1 else {"policy": rows[0]["policy"], "choices": rows}
