"""From a request to what is done about it: which rule, how long a chain, how much kept back for the answer; pure."""

import itertools
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from satisfice.catalog import (
    ALIASES,
    FAMILIES,
    build,
    canonical,
    check_fit,
    from_json,
    methods_of,
    parse_sampler,
)
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput
from satisfice.core.fields import Counts, field_types
from satisfice.core.session import POLICY, Policy, Session
from satisfice.gateway.body import Body, ChatBody, CompletionBody, Wish
from satisfice.gateway.settings import Settings
from satisfice.gateway.thinking import Amount, amount_of
from satisfice.methods.sampling.filter import Truncation, Unbound
from satisfice.methods.stopping.no_thinking import NoThinking

LONGEST = 1 << 16  # the greatest whole number that a request may set in a policy
LIKELIEST = 100  # the most tokens that a policy may see at each position


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Continue a text that leaves no thinking open: there is nothing for a rule to end."""

    card: ClassVar[Card] = Card(
        id="plain", paper="", where="standard practice", needs=frozenset[Need](), fidelity="standard"
    )

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        await chain.sample()
        return chain


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done about a request."""

    policy: Policy
    name: str  # the policy's spec
    live: bool  # what the chain brings may be shown as it grows; otherwise once the policy has decided
    chain_limit: int  # tokens
    reserve: int  # of these, kept back for the answer
    temperature: float | None
    top_p: float | None
    seed: int
    stop: tuple[str, ...]  # ends the answer; thinking may hold it
    sampler: Truncation | None = None  # what truncates the next-token distribution; None: the model's own top-p
    raw: bool  # one text, as `/v1/completions` gives it, in place of thinking and answer
    thinks: bool = True  # the prompt leaves thinking open


def make_plan(body: Body, settings: Settings, engine: Engine, *, thinks: bool = True) -> Plan:
    """What is done about a request that a policy can serve.

    Raises:
        BadInput: unknown or contradictory wishes; a limit of the server is exceeded.
        Unfit: the engine lacks what the policy needs.
    """
    limit = _chain_limit(body, settings, engine)
    amount = amount_of(body)
    policy = choose_policy(body.satisfice, amount, settings) if thinks else Plain()
    if not thinks and body.satisfice is not None and body.satisfice.policy is not None:
        raise BadInput(
            f"prompt: it leaves no thinking open, so the policy {body.satisfice.policy!r} has nothing to decide. "
            f"End the prompt with {engine.profile.think_open!r}, or leave the policy out."
        )
    return Plan(
        policy=policy, name=_spec_if_fit(policy, engine) if thinks else "plain", live=not thinks or _is_live(policy),
        chain_limit=limit, reserve=_reserve(amount, limit, engine) if thinks else 0,
        temperature=body.temperature, top_p=body.top_p, raw=isinstance(body, CompletionBody), thinks=thinks,
        seed=secrets.randbits(62) if body.seed is None else body.seed,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        sampler=_sampler(body, engine),
    )  # fmt: skip


def _sampler(body: Body, engine: Engine) -> Truncation | None:
    text = None if body.satisfice is None else body.satisfice.sampler
    if text is None:
        return None
    hot = engine.profile.temperature if body.temperature is None else body.temperature
    sampler = parse_sampler(text, temperature=hot)
    check_fit(sampler.filters, engine.name, engine.provides)
    if slow := [method.card.id for method in sampler.filters if isinstance(method, Unbound)]:
        raise BadInput(
            f"satisfice: {slow[0]} reads the whole output matrix at each token, which no request may ask for."
        )
    return sampler


def choose_policy(wish: Wish | None, amount: Amount, settings: Settings) -> Policy:
    """The policy that a request asks for, or the server's own."""
    asked = _asked_policy(wish, settings) if wish is not None else None
    if amount.on:
        return settings.policy if asked is None else asked
    if asked is not None and not isinstance(asked, NoThinking):
        raise BadInput(
            f"{amount.said} turns thinking off, and the policy {canonical(asked)} decides about it. Send one of them."
        )
    return NoThinking()


def _spec_if_fit(policy: Any, engine: Engine) -> str:
    """The spec of a policy that the engine can run; `Unfit` when it cannot."""
    try:
        return _spec(policy, engine.name, engine.provides)
    except TypeError:  # a policy of somebody's own that has no hash
        return _spec.__wrapped__(policy, engine.name, engine.provides)


@lru_cache(256)  # most requests run one of few policies, and this is half of the work of a plan
def _spec(policy: Any, engine: str, provides: frozenset[Need]) -> str:
    check_fit([policy], engine, provides)
    return canonical(policy)


def _asked_policy(wish: Wish, settings: Settings) -> Policy | None:
    fields: Mapping[str, Any] = wish.model_extra or {}
    if wish.policy is None:
        if fields:
            raise BadInput(f"satisfice: {', '.join(fields)} are fields of a policy. Say which: policy=NAME.")
        return None
    if wish.policy in settings.offers and not fields:
        return settings.offers[wish.policy]
    if wish.policy == canonical(settings.policy) and not fields:
        return settings.policy
    _check_texts(wish.policy, fields)
    if not fields:
        policy: Policy = build(wish.policy)
    elif set(wish.policy) & set(":("):
        raise BadInput(f"satisfice: fields stand in the policy {wish.policy!r} or beside it, not both.")
    else:
        policy = from_json({**_methods_read(fields), "id": wish.policy})
    _check_numbers(policy, settings)
    return policy


def _methods_read(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields in which a method may stand by its name, as it does in a spec."""
    inner = {
        f for table in methods_of(POLICY).values() for f, kind in field_types(table).items() if kind.kind == "method"
    }
    return {
        name: {"id": value} if name in inner and isinstance(value, str) else value for name, value in fields.items()
    }


def _check_texts(spec: str, fields: Mapping[str, Any]) -> None:
    """Refuse fields that hold text: they are paths of files on this machine, or patterns that may take for ever."""
    texts = {
        f for method in methods_of(POLICY).values() for f, kind in field_types(method).items() if kind.kind == "text"
    }
    first = {name for name, method in methods_of(POLICY).items() if next(iter(field_types(method)), "") in texts}
    parts = re.findall(r"[\w-]+|[=:]", spec[:LONGEST])
    pairs = list(itertools.pairwise(parts))
    named = {name for name, sign in pairs if sign == "="} | set(_keys(fields))
    short = {ALIASES.get(name, name) for name, sign in pairs if sign == ":"}
    if bad := sorted(named & texts) or sorted(short & first):
        raise BadInput(
            f"satisfice: {bad[0]} cannot be set by a request. Name a policy that whoever runs this server offers."
        )


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)


def _check_numbers(policy: Policy, settings: Settings) -> None:
    for method in _with_inner(policy):
        for name, kind in field_types(type(method)).items():
            value = getattr(method, name)
            most = LIKELIEST if kind.counts is Counts.LIKELIEST else LONGEST
            if kind.counts is Counts.CHAINS:
                most = max(settings.limits.chains, getattr(type(method), name, 0) or 0)
            if kind.kind == "int" and value is not None and value > most:
                raise BadInput(f"{method.card.id}: {name} may be at most {most} on this server, got {value}. Lower it.")


def _with_inner(policy: Any) -> Iterator[Any]:
    yield policy
    for name, kind in field_types(type(policy)).items():
        if kind.kind == "method" and (inner := getattr(policy, name)) is not None:
            yield from _with_inner(inner)


def _is_live(policy: Policy) -> bool:
    """Whether it is a rule for one chain: policies over several decide late which one counts."""
    return type(policy) in FAMILIES["stopping"].methods.values()


def _chain_limit(body: Body, settings: Settings, engine: Engine) -> int:
    most = min(settings.limits.tokens or engine.profile.max_tokens, engine.max_length)
    names = ("max_completion_tokens", "max_tokens") if isinstance(body, ChatBody) else ("max_tokens",)
    given: dict[str, int] = {name: value for name in names if (value := getattr(body, name)) is not None}
    if len(set(given.values())) > 1:
        raise BadInput("max_tokens and max_completion_tokens differ. Send max_completion_tokens alone.")
    for name, value in given.items():
        if value > most:
            raise BadInput(f"{name} may be at most {most} on this server, got {value}. Lower it or leave it out.")
        return value
    return most


def _reserve(amount: Amount, limit: int, engine: Engine) -> int:
    """Tokens kept back for the answer: the profile's, or more where less thinking is wanted."""
    least = min(engine.profile.answer_tokens, limit)
    if amount.tokens is not None:
        return max(least, limit - amount.tokens)
    return least if amount.share is None else max(least, limit - round(amount.share * limit))
