"""The rule that each chain of a policy over several chains follows."""

from satisfice.core.chain import Chain
from satisfice.core.session import Policy, Session


async def follow(stop: Policy | None, session: Session) -> Chain:
    """One chain under the rule `stop`, or to its natural end."""
    return await (session.chain().finish() if stop is None else stop(session))
