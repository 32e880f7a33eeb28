"""Hold the thinking to a budget from both sides: cut it off when it is spent, make it go on when it ends too early."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session


@dataclass(frozen=True, kw_only=True)
class BudgetWords:
    """What it puts in; a model's `profile.json` may say otherwise under `rules`."""

    extend_thinking: str = "Wait"  # where the model would have ended its thinking
    close_at_budget: str = "\n</think>\nFinal Answer:"  # when the budget ends the thinking


@dataclass(frozen=True, kw_only=True)
class BudgetForcing:
    """Hold the thinking to a budget: cut it off when it is spent, and make it go on when it ends too early.

    Thinking that is not over after `tokens` tokens is closed with "Final Answer:". Thinking that the model ends earlier
    is continued `extensions` times: its end is taken back and "Wait" put in its place. Then it closes as it likes.
    Reference code: https://github.com/simplescaling/s1 (Apache-2.0).

    Differs from the code, which was read and not run beside this: `tokens` holds for all pieces together (the code
    gives each piece all of them and cuts the sum afterwards, in which case it closes without "Final Answer:"); the word
    that is put in does not count towards them, as it does there; it goes on no further once an extension brings
    nothing, or the same as the piece before it (the code may loop, and forces one token after "Wait" by suppressing the
    end). The word and the closing text are in `BudgetWords`. Resampling until the thinking is short enough, its
    control, is not here. The paper tries `extensions` from 0 to 6.
    """

    card: ClassVar = Card(
        id="s1-budget-forcing",
        paper="arXiv:2501.19393",
        where="budget forcing",
        needs=frozenset({Need.INJECT}),
        fidelity="paper",
        ours=("extensions",),
    )
    words: ClassVar = BudgetWords()

    tokens: Annotated[int, Range(0)] | None = None  # thinking tokens; none: what the session's limits leave
    extensions: Annotated[int, Range(0)] = 1  # ends of thinking that are ignored

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        profile, chain = session.engine.profile, session.chain()
        words = profile.words(self.card.id, self.words)
        left, piece = self.tokens, ""
        for ignored in range(self.extensions + 1):
            begin = len(chain)
            if await chain.think(limit=left):
                chain.look("thinking tokens", len(chain), threshold=self.tokens, stop=True)
                return await chain.close_thinking(closing(chain.text, words.close_at_budget))
            before, piece = piece, chain.last_text.partition(profile.think_close)[0].strip()
            if ignored == self.extensions or (ignored and piece in ("", before)) or not chain.reopen():
                break
            left = None if left is None else left - (len(chain) - begin)
            chain.look("extension", ignored + 1, threshold=self.extensions, stop=False)
            chain.inject(words.extend_thinking)
        return await chain.finish()


def closing(text: str, close: str) -> str:
    r"""Return the closing text, without its leading line end where the thinking is at the beginning of a line.

    >>> closing("so 4\n", "\n</think>\nFinal Answer:"), closing("so 4", "\n</think>")
    ('</think>\nFinal Answer:', '\n</think>')
    """
    return close.removeprefix("\n") if not text or text.endswith("\n") else close
