"""Stop after a fixed number of thinking tokens."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.ladder import Ladder
from satisfice.core.session import Session
from satisfice.core.stepping import Hold, Move, Place, Rows, Vocabulary
from satisfice.methods.stopping.stepwise import follow

STAIRS = 8  # in which a landing makes the end likelier: a policy is asked again at each


@dataclass(frozen=True, kw_only=True)
class FixedBudget:
    """Stop after a fixed number of thinking tokens, then answer.

    The plain baseline that every rule has to beat at equal spending: the chain thinks for at most `tokens` tokens; if
    it is not done by then the thinking is closed for it and it writes its answer. A chain that ends earlier is left
    alone. `at=step` and `at=cue` wait for the next end of a step, or cue: nothing is cut mid-word. A soft `landing`
    lets the model end its thinking itself: over the last tokens of the budget the end becomes likelier, in stairs,

        z'_end = z_end + push * stair / 8,    stair = 1 + floor(8 * (n - (tokens - landing)) / landing) <= 8

    after n tokens of thinking.

    This is truncate-and-answer. Cutting the whole output at a limit and scoring what stands there, answer or none, is a
    baseline too, and an unfairly weak one.
    """

    card: ClassVar = Card(
        id="fixed-budget",
        paper="",
        where="standard practice: truncate and answer",
        needs=frozenset({Need.INJECT}),
        fidelity="standard",
        ours=("tokens", "landing", "push"),
    )

    measure: ClassVar = "thinking tokens"
    ladders: ClassVar = (Ladder(field="tokens", counts="tokens"),)

    tokens: Annotated[int, Range(0)] = 96  # thinking tokens
    at: Place = "token"  # where it stops once they are spent
    landing: Annotated[int, Range(0)] = 0  # last tokens of the budget, in which the end of thinking grows likelier
    push: Annotated[float, Range(0, 100)] = 8.0  # nats added to the score of that end by the end of the landing

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        return await follow(self, session)

    @property
    def line(self) -> float:
        """The budget."""
        return self.tokens

    def step(self, rows: Rows) -> Move:
        """Close once the tokens are spent; a step must end beyond them, a cue may stand right after them."""
        spent = rows.thought - self.tokens
        bias = None if not self.landing else self._push(spent)[:, None]
        return Move(close=spent > 0 if self.at == "step" else spent >= 0, value=rows.thought, bias=bias)

    def hold(self, thought: int, targets: tuple[int, ...]) -> Hold:
        """Nothing changes before the landing, then with each of its stairs, then at the place."""
        left = self.tokens - thought
        if left <= 0:
            return Hold(place=self.at)
        if left > self.landing:
            return Hold(tokens=left - self.landing)
        now = self._push(-left)
        return Hold(tokens=next(n for n in range(1, left + 1) if n == left or self._push(n - left) != now))

    def targets(self, words: Vocabulary) -> tuple[int, ...]:
        """The end of thinking, where there is a landing."""
        return (words.encode(words.profile.think_close)[0],) if self.landing else ()

    def _push(self, spent: Any) -> Any:
        """Return the nats added to the end of thinking, with so many tokens spent beyond the budget (less than 0)."""
        stair = np.floor_divide((spent + self.landing) * STAIRS, self.landing) + 1
        return self.push * np.clip(stair, 0, STAIRS) / STAIRS
