"""Have a short plan written first, and solve the problem with the plan in view."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import follow, new_chain

PLAN = (
    "Write a plan of a few sentences for solving the problem below. Say which steps to take and in which order. Do not "
    "carry them out, and do not give the answer.\n\n{question}"
)
SOLVE = "{question}\n\nA plan that may help:\n{plan}"


@dataclass(frozen=True, kw_only=True)
class PlanFirst:
    """Have a short plan written first, and solve the problem with the plan in view.

    The plan is at most `plan_tokens` long and written without thinking; the problem is then asked with the plan after
    it. The paper has an autoregressive model plan for a diffusion model, where the gain was large; for autoregressive
    models, which is what runs here, it reports little, and harm from a wrong plan or a weak planner. Whether the plan
    already holds the answer that came out is written into the log: such a plan has solved the problem, not planned it.
    """

    card: ClassVar = Card(
        id="plan-first",
        paper="arXiv:2603.13243",
        where="plan conditioning; prompts are ours",
        needs=frozenset({Need.INJECT}),
        fidelity="reconstructed",
        system="plan-conditioning",
        ours=("stop",),
    )

    plan_tokens: Annotated[int, Range(1)] = 100  # longest plan
    stop: Policy | None = None  # rule that the solving chain follows; none: it runs to its end

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        question = session.problem.question
        planner = new_chain(session, question=PLAN.format(question=question))
        planner.inject(session.engine.profile.skip_thinking)
        await planner.sample(self.plan_tokens)
        plan = planner.answer_text.strip()
        asked = SOLVE.format(question=question, plan=plan) if plan else question
        chain = await follow(self.stop, session, new_chain(session, after=[planner], question=asked))
        answer = session.parse(chain.answer_text)
        chain.look("plan holds the answer", float(answer is not None and answer in plan), stop=True, text=plan)
        return chain
