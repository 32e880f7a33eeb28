"""From a request to how it is generated: which policy, how long a chain, which sampling settings; pure."""

import itertools
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from satisfice.catalog import (
    ALIASES,
    FAMILIES,
    METHODS,
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
from satisfice.engines.http.upstream import HttpUpstream
from satisfice.gateway.fields import FIELDS, OURS, no_tools, speaks, treated
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.settings import Settings
from satisfice.gateway.thinking import EVERYTHING, SPELLINGS, Amount
from satisfice.methods.sampling.filter import Truncation, Unbound
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.no_thinking import NoThinking

LONGEST = 1 << 16  # the greatest whole number that a request may set in a policy
_TAGS = 2  # tokens that a whole answer gets here: the tag that ends thinking, and the end of the turn
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
class Whole:
    """No rule, in one call of the engine where no limit binds: as whoever asks a server directly does."""

    card: ClassVar[Card] = Full.card

    async def __call__(self, session: Session) -> Chain:
        return await session.chain().write()


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How one choice of a request is generated."""

    policy: Policy
    name: str  # the policy's spec
    live: bool  # what the chain brings may be shown as it grows; otherwise once the policy has decided
    chain_limit: int  # tokens
    thinking: Amount = EVERYTHING
    effort_of: int = 1 << 30  # the longest chain of which an effort is a share
    temperature: float | None = None
    top_p: float | None = None
    seed: int
    stop: tuple[str, ...] = ()  # ends the answer; thinking may hold it
    stop_ids: frozenset[int] = frozenset()  # end the turn
    sampler: Truncation | None = None  # what truncates the next-token distribution; None: the model's own top-p
    bias: Mapping[int, float] = field(default_factory=dict)
    options: Mapping[str, Any] | None = None  # for a server: sampling settings by its names, and no others
    raw: bool = False  # one text, as `/v1/completions` gives it, in place of thinking and answer
    thinks: bool = True  # the prompt leaves thinking open
    whole: bool = False  # the server writes thinking and answer in one go, and nothing can be put between them
    answers: bool = True  # the chain goes on to its answer; otherwise the server's own chat route writes it
    ignored: tuple[str, ...] = ()  # fields that a model in this process does nothing about

    def reserve(self, room: int, answer_tokens: int) -> int:
        """Return how many of `room` tokens are kept back for the answer: at most half, unless a budget says more."""
        if not self.thinks or self.whole:
            return 0
        least = min(answer_tokens, room // 2)
        if self.thinking.tokens is not None:
            return max(least, room - self.thinking.tokens)
        if self.thinking.share is not None:
            return max(least, room - round(self.thinking.share * min(room, self.effort_of)))
        return least


def make_parameters(
    request: GenerationRequest,
    settings: Settings,
    engine: Engine,
    server: HttpUpstream | None = None,
    *,
    thinks: bool = True,
) -> Parameters:
    """Return how a request is generated that a policy can serve.

    Raises:
        BadInput: unknown or contradictory wishes; a field that cannot go with the policy or this model.
        Unfit: the engine lacks what the policy needs.
    """
    whole = server is not None and server.whole
    policy = choose_policy(request, settings, thinks=thinks) if thinks or request.policy else Plain()
    if whole and not request.thinking.on and request.policy is None:
        policy = Full()  # the field that says so reaches the server, which has its own way
    if not thinks and request.policy is not None and not isinstance(policy, NoThinking):
        raise BadInput(
            f"prompt: it leaves no thinking open, so the policy {request.policy!r} has nothing to decide. "
            f"End the prompt with {engine.profile.think_open!r}, or leave the policy out."
        )
    name = _spec_if_fit(policy, engine) if thinks else "plain"
    fields, known = request.fields, None if server is None else server.known_length
    most = [n for n in (request.max_tokens, settings.limits.tokens, known) if n is not None]
    longest = min([engine.max_length if server is None or whole else known or engine.profile.max_tokens, *most])
    options, sampler, bias, ignored = _sampling(request, engine, server, policy)
    if whole and options is not None:
        thinking = {name.partition(".")[0] for name, _ in SPELLINGS} - {"chat_template_kwargs"}
        options |= {name: fields[name] for name in thinking if name in fields}
        if request.max_tokens or settings.limits.tokens:  # otherwise the provider's own limit holds
            options["max_tokens"] = longest
    return Parameters(
        policy=(Whole() if type(policy) is Full else policy) if thinks else Plain(), name=name,
        live=not thinks or _is_live(policy), thinking=request.thinking, effort_of=engine.profile.max_tokens,
        chain_limit=longest + _TAGS * whole, whole=whole,
        temperature=fields.get("temperature"), top_p=fields.get("top_p"), raw=not request.chat, thinks=thinks,
        seed=secrets.randbits(62) if request.seed is None else request.seed, stop=request.stop,
        stop_ids=frozenset(fields.get("stop_token_ids") or ()), sampler=sampler, bias=bias, options=options,
        ignored=ignored,
    )  # fmt: skip


def _sampling(
    request: GenerationRequest, engine: Engine, server: HttpUpstream | None, policy: Policy
) -> tuple[dict[str, Any] | None, Truncation | None, dict[int, float], tuple[str, ...]]:
    """Settings for a server, or filter and bias for a model in this process with the fields that it ignores."""
    fields = request.fields
    sampler = _sampler(request, engine)
    if server is not None:
        penalties = treated({name: fields.get(name) for name in ("frequency_penalty", "presence_penalty")}, "emulated")
        if (
            penalties
            and not server.takes_ids
            and not server.whole
            and not isinstance(policy, Full | Plain | NoThinking)
        ):
            raise BadInput(
                f"{next(iter(penalties))}: this model's server takes no token ids, so the policy cannot carry it from "
                'one call to the next. Leave it out, or ask for {"satisfice": {"policy": "full"}}.'
            )
        carried = {name: value for name, value in fields.items() if _is_carried(name) and speaks(name, value)}
        least = treated({"min_tokens": fields.get("min_tokens")}, "emulated")
        seed = {} if request.seed is None else {"seed": request.seed}
        return {**carried, **penalties, **least, **seed}, sampler, {}, ()
    unused = no_tools(fields)
    for name, value in fields.items():
        if name in FIELDS and FIELDS[name].local == "refused" and speaks(name, value) and name not in unused:
            raise BadInput(f"{request.name_of(name)}: the model of this server cannot do that. Leave it out.")
    filters = [f"{spec}:{fields[name]}" for name, spec in (("top_k", "top-k"), ("min_p", "min-p"))
               if speaks(name, fields.get(name))]  # fmt: skip
    if filters and sampler is None:
        top_p = fields.get("top_p")
        sampler = parse_sampler(",".join([*filters, f"top-p:{engine.profile.top_p if top_p is None else top_p}"]),
                                temperature=_temperature(request, engine))  # fmt: skip
    bias = {int(token): float(value) for token, value in (fields.get("logit_bias") or {}).items()}
    known = {*FIELDS, *OURS, *(name.partition(".")[0] for name, _ in SPELLINGS), "include_reasoning"}
    ignored = [*unused] + [
        name for name, value in fields.items()
        if name not in known or (_would_matter(name) and speaks(name, value))
    ]  # fmt: skip
    return None, sampler, bias, tuple(name[:100] for name in ignored[:20])


def _would_matter(name: str) -> bool:
    """Return whether a field that a model in this process ignores would have an effect on a server."""
    return name in FIELDS and FIELDS[name].local == "ignored" and FIELDS[name].treatment != "unused"


def _is_carried(name: str) -> bool:
    """Return whether a field goes to the server with every call: those of the table, and all that nobody here knows."""
    if name in FIELDS:
        return FIELDS[name].treatment == "carried" and name not in ("chat_template_kwargs", "documents")
    return name not in OURS and name != "include_reasoning" and name not in {n.partition(".")[0] for n, _ in SPELLINGS}


def _temperature(request: GenerationRequest, engine: Engine) -> float:
    given = request.fields.get("temperature")
    return engine.profile.temperature if given is None else float(given)


def _sampler(request: GenerationRequest, engine: Engine) -> Truncation | None:
    if request.sampler is None:
        return None
    sampler = parse_sampler(request.sampler, temperature=_temperature(request, engine))
    check_fit(sampler.filters, engine.name, engine.provides)
    if slow := [method.card.id for method in sampler.filters if isinstance(method, Unbound)]:
        raise BadInput(
            f"satisfice: {slow[0]} reads the whole output matrix at each token, which no request may ask for."
        )
    return sampler


def choose_policy(request: GenerationRequest, settings: Settings, *, thinks: bool = True) -> Policy:
    """Return the policy that a request asks for, or the server's own."""
    asked, amount = _asked_policy(request, settings), request.thinking
    if amount.on:
        if asked is None and amount.automatic and isinstance(settings.policy, Full):
            return settings.offers.get("adaptive", settings.policy)
        return settings.policy if asked is None else asked
    if asked is not None and not isinstance(asked, NoThinking):
        raise BadInput(
            f"{amount.said} turns thinking off, and the policy {canonical(asked)} decides about it. Send one of them."
        )
    return NoThinking()


def _spec_if_fit(policy: Any, engine: Engine) -> str:
    """Return the spec of a policy that the engine can run; `Unfit` when it cannot."""
    try:
        return _spec(policy, engine.name, engine.provides)
    except TypeError:  # a policy of somebody's own that has no hash
        return _spec.__wrapped__(policy, engine.name, engine.provides)


@lru_cache(256)  # most requests run one of few policies, and this is half of the work of a plan
def _spec(policy: Any, engine: str, provides: frozenset[Need]) -> str:
    check_fit([policy], engine, provides)
    return canonical(policy)


def _asked_policy(request: GenerationRequest, settings: Settings) -> Policy | None:
    asked, fields = request.policy, request.policy_fields
    if asked is None:
        if fields:
            raise BadInput(f"satisfice: {', '.join(fields)} are fields of a policy. Say which: policy=NAME.")
        return None
    if asked in settings.offers and not fields:
        return settings.offers[asked]
    if asked == canonical(settings.policy) and not fields:
        return settings.policy
    _check_texts(asked, fields)
    if not fields:
        policy: Policy = build(asked)
    elif set(asked) & set(":("):
        raise BadInput(f"satisfice: write fields inside the policy {asked!r} or beside it, not both.")
    else:
        policy = from_json({**_methods_read(fields), "id": asked})
    _check_numbers(policy, settings)
    return policy


def _methods_read(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields in which a method may stand by its name, as it does in a spec."""
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
    """Return whether it is a rule for one chain: policies over several decide late which one counts."""
    return METHODS.get(policy.card.id) is type(policy) and policy.card.id in FAMILIES["stopping"].methods
