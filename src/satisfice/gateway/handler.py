"""One request on its way: run under a policy or passed through, streamed or whole, and what its client is told."""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput, EngineError, Refused, SatisficeError, Unfit
from satisfice.core.ledger import Ledger
from satisfice.core.race import settle_tasks
from satisfice.engines.http.upstream import HttpUpstream
from satisfice.gateway.answering import Written, answer, keeps_thinking, relay
from satisfice.gateway.choice import Choice, described
from satisfice.gateway.events import dumps
from satisfice.gateway.failures import RequestRefused, Unavailable, failure_of
from satisfice.gateway.fields import no_tools, treated
from satisfice.gateway.generation import Generation, Outcome
from satisfice.gateway.limiter import Client, ConnectionLimiter
from satisfice.gateway.metrics import Metrics
from satisfice.gateway.monitor import Watch
from satisfice.gateway.parameters import Parameters, Whole, choose_policy, make_parameters
from satisfice.gateway.passing import check_refused, copy, passed_body
from satisfice.gateway.prompts import Prompt, prompts_of
from satisfice.gateway.protocols import Route, form_of
from satisfice.gateway.reasoning import Delta, content_of
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.response import ResponseWriter, keep_alive
from satisfice.gateway.settings import Settings
from satisfice.gateway.upstream import Source, Sources
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.no_thinking import NoThinking

log = logging.getLogger("satisfice.gateway")

_UPSTREAM_KEY = frozenset({401, 403})


@dataclass(kw_only=True)
class Shared:
    """What all requests share."""

    sources: Sources
    settings: Settings
    metrics: Metrics
    limiter: ConnectionLimiter
    shadow: Callable[[Parameters, Engine, Prompt, int, str], None]  # a rule, to be run beside an answer that had none
    told: Callable[[dict[str, Any]], None]  # hears what became of each request
    watch: Watch | None = None  # over the promise of the policy


class RequestHandler:
    """Serves one request."""

    def __init__(self, shared: Shared, route: Route, request: GenerationRequest, client: Client, model: str) -> None:
        self.shared, self.route, self.request, self.client = shared, route, request, client
        self.settings, self.metrics = shared.settings, shared.metrics
        self.id = route.prefix + secrets.token_hex(12)
        self.begin = time.monotonic()
        self.about: dict[str, Any] = {"client": client.name}  # for the log: nothing of what was said
        self.encoder = route.encoder(
            request, response_id=self.id, created=int(time.time()), model=model, reasoning=self.settings.reasoning
        )  # fmt: skip
        self._first = True

    async def serve(self, writer: ResponseWriter) -> None:
        """Answer, or say why not."""
        became = "failed"
        writer.stream_type = form_of(self.route.path).stream
        self.metrics.began()
        try:
            with self.shared.limiter.slot(self.client):
                became = "passed" if await self._serve(writer) else "ok"
        except asyncio.CancelledError:
            became = "cancelled"
            raise
        except Exception as error:  # whatever went wrong, the client hears of it and the server goes on
            became = "refused" if isinstance(error, BadInput | RequestRefused | Unfit | Refused) else "failed"
            if became == "failed":
                told = str(error) if isinstance(error, SatisficeError) else type(error).__name__
                log.error("%s failed: %s", self.id, told, exc_info=log.isEnabledFor(logging.DEBUG))
            await self._tell(writer, error)
        finally:
            seconds = time.monotonic() - self.begin
            self.metrics.ended(became, seconds, self.client.name)
            self.about |= {"id": self.id, "route": self.route.path, "outcome": became, "seconds": round(seconds, 3)}
            log.info("%s %s in %.3f s", self.id, became, seconds, extra={"request": self.about})
            self.shared.told(self.about)

    async def _serve(self, writer: ResponseWriter) -> bool:
        """Serve the request on the first source that works; True when it was passed through."""
        check_refused(self.request.fields)
        last: Exception = Unavailable("there is no engine")
        for source in self.shared.sources.in_turn():
            source.running += 1
            try:
                return await self._serve_on(source, writer)
            except Refused as error:  # the server works, and another would say the same
                if error.status not in _UPSTREAM_KEY:
                    raise
                last = EngineError(f"the upstream does not take our key: {error}")
                source.failed(last)
            except EngineError as error:
                self.metrics.fault()
                source.failed(error)
                last = error
            finally:
                source.running -= 1
            if not self._first:  # the client has seen something already
                break
        raise last

    async def _serve_on(self, source: Source, writer: ResponseWriter) -> bool:
        why = await self._upstream_only(source)
        if why:
            await self._pass(source, writer, why)
            return True
        prompts = await prompts_of(self.request, source)
        if not self.request.chat and source.server is not None and not all(prompt.thinks for prompt in prompts):
            await self._pass(source, writer, "prompt")
            return True
        async with self._kept_alive(writer):
            await self._run(source, prompts, writer)
        return False

    @asynccontextmanager
    async def _kept_alive(self, writer: ResponseWriter) -> AsyncIterator[None]:
        """Send signs of life on a stream while the block runs."""
        if not self.request.stream:
            yield
            return
        beat = asyncio.create_task(keep_alive(writer, self.settings.keep_alive_s, self.encoder.keep_alive()))
        try:
            yield
        finally:
            await settle_tasks([beat])

    # Under a policy

    async def _run(self, source: Source, prompts: list[Prompt], writer: ResponseWriter) -> None:
        engine, request, limits = source.engine, self.request, self.settings.limits
        assert engine is not None
        if request.choices > limits.chains:
            raise BadInput(f"n may be at most {limits.chains} on this server, got {request.choices}. Lower it.")
        written = bool(self._answer_fields())
        choices: list[Choice] = []
        for index, prompt in enumerate(prompt for prompt in prompts for _ in range(request.n)):
            asked = make_parameters(request, self.settings, engine, source.server, thinks=prompt.thinks)
            asked = replace(asked, seed=asked.seed + index, answers=not written or not prompt.thinks)
            if self._watch is not None and self._watch.off and _is_ruled(asked):
                asked = _in_full(asked)
            run = self._without_rule(asked)
            choices.append(Choice(
                index=index, prompt=prompt, asked=asked, run=run, deltas=[],
                generation=Generation(run, engine, prompt, limits),
            ))  # fmt: skip
        tasks = [asyncio.create_task(self._choose(choice, source, writer)) for choice in choices]
        try:
            await asyncio.gather(*tasks)
        finally:
            await settle_tasks(tasks)
            for choice in choices:
                self.metrics.took(choice.generation.ledger, choice.run.name, self.client.name)
                self.client.spend(choice.generation.ledger.spent)
        source.worked()
        await self._finish(choices, writer)
        for choice in choices:
            compared = self.settings.shadow or (self._watch is not None and choice.run.answers)
            if compared and choice.run is not choice.asked:
                spent = choice.generation.ledger.spent
                self.shared.shadow(choice.asked, engine, choice.prompt, spent, content_of(choice.deltas))

    def _without_rule(self, parameters: Parameters) -> Parameters:
        """Return the parameters themselves, or without their rule: in shadow mode, and for the share of control."""
        if _is_ruled(parameters) and (self.settings.shadow or random.random() < self.settings.control):
            return _in_full(parameters)
        return parameters

    @property
    def _watch(self) -> Watch | None:
        """The watch, where the request is one that the promise is about: it leaves the policy to the server."""
        return self.shared.watch if self.request.policy is None else None

    async def _choose(self, choice: Choice, source: Source, writer: ResponseWriter) -> None:
        show = partial(self._show, writer, choice)
        outcome = await choice.generation.go(show)
        if not choice.run.answers:
            assert source.server is not None
            outcome = await self._write_answer(choice, outcome, source, show)
        choice.outcome = replace(outcome, prompt=choice.index // self.request.n)

    async def _write_answer(
        self, choice: Choice, outcome: Outcome, source: Source, show: Callable[[list[Delta]], Any]
    ) -> Outcome:
        engine, server, generation = source.engine, source.server, choice.generation
        assert engine is not None
        assert server is not None
        left = choice.run.chain_limit - generation.ledger.kept
        if server.known_length is not None:
            left = min(left, server.known_length - outcome.prompt_tokens - generation.length - 1)
        written = Written()
        opened = choice.prompt.text[max(0, choice.prompt.text.rfind(engine.profile.think_open)) :]
        thinking = opened + generation.text
        seconds = self.settings.limits.seconds
        deltas: AsyncIterator[Delta] = answer(self.request, server, thinking, left, written, seconds=seconds)
        try:
            async with aclosing(deltas):  # type: ignore[type-var]
                async for delta in deltas:
                    await show([delta])
        finally:
            self.metrics.took(Ledger(kept=written.tokens), choice.run.name, self.client.name)
            self.client.spend(written.tokens)
        return replace(outcome, finish=written.finish, answer_spent=written.tokens)

    async def _show(self, writer: ResponseWriter, choice: Choice, deltas: list[Delta]) -> None:
        begins, self_first = not choice.deltas, self._first
        choice.deltas += deltas
        if self_first:
            self._first = False
            self.metrics.first_text(time.monotonic() - self.begin)
        if self.request.stream:
            if not writer.started:
                writer.headers["x-satisfice"] = dumps({"policy": choice.run.name}).decode()
            if chunk := self.encoder.chunk(deltas, index=choice.index, first=begins):
                await writer.events(chunk)

    async def _finish(self, choices: list[Choice], writer: ResponseWriter) -> None:
        outcomes = [choice.outcome for choice in choices if choice.outcome is not None]
        for choice, outcome in zip(choices, outcomes, strict=True):
            self.metrics.stopped(choice.run.name, outcome.stopped)
            if not choice.answered:
                self.metrics.no_answer(choice.run.name)
            if not self.settings.shadow and choice.run.thinks:
                self.metrics.compare("ruled" if choice.run is choice.asked else "control", outcome.spent)
                if self._watch is not None and choice.asked.policy == self.settings.policy:
                    self._watch.spent(
                        outcome, choice.generation.first_look, choice.run is not choice.asked, self.settings.control
                    )
        said = described(choices, outcomes, shadow=self.settings.shadow)
        self.about |= {
            "policy": said["policy"], "stopped": [outcome.stopped for outcome in outcomes],
            "spent": sum(outcome.ledger.spent for outcome in outcomes),
        }  # fmt: skip
        if not self.request.stream:
            writer.headers["x-satisfice"] = dumps(said).decode()
            await writer.whole(200, self.encoder.whole([choice.deltas for choice in choices], outcomes, said))
            return
        data = b""
        for choice, outcome in zip(choices, outcomes, strict=True):
            if not choice.deltas:
                data += self.encoder.chunk([], index=choice.index, first=True)
            last = choice is choices[-1]
            data += self.encoder.last_chunk(outcome, choice.index, said if last else None)
        await writer.events(data + self.encoder.end(outcomes))
        await writer.end()

    # Through the upstream

    def _answer_fields(self) -> list[str]:
        """Return fields that the upstream's own chat route must obey."""
        fields = self.request.fields
        names = list(treated(fields, "answer"))
        names = [name for name in names if name not in no_tools(fields)]
        return [name for name in names if name != "parallel_tool_calls" or "tools" in names]

    async def _upstream_only(self, source: Source) -> str:
        """Return the field for which the whole request goes to the upstream's own route; "" when a policy serves it.

        Raises:
            BadInput: the request names a policy, or there is no upstream, and the field cannot go with that.
        """
        request, server = self.request, source.server
        if server is not None and server.whole and not request.chat:
            raise BadInput("prompt: the upstream has a chat route alone. Send messages to /v1/chat/completions.")
        own = [*treated(request.fields, "upstream"), *([request.has_media] if request.has_media else [])]
        if server is not None and not server.takes_ids and not all(isinstance(text, str) for text in request.prompts):
            own.append("prompt")  # token ids that nobody here can read
        answers = self._answer_fields()
        if not own and not answers:
            return ""
        field = request.name_of((own or answers)[0])
        if server is None:
            if (own == ["ignore_eos"] and not answers) or (own == ["prediction"] and not answers):
                return ""
            raise BadInput(f"{field}: the model of this server cannot do that. Leave it out.")
        if not own and request.chat and await self._can_write(source, server):
            policy = choose_policy(request, self.settings)
            if request.policy is None and isinstance(policy, Full) and request.thinking.on:
                return field  # nothing to decide: it is asked as the client asked
            if make_parameters(request, self.settings, _engine(source), server).live:
                return ""
            reason = "the policy compares finished answers, and the upstream writes those with this field itself"
        else:
            reason = "only the upstream's own route can do that, where no policy runs"
        if request.policy is not None:
            raise BadInput(f"{field} cannot go with the policy {request.policy!r}: {reason}. Leave out one of them.")
        return field

    async def _can_write(self, source: Source, server: HttpUpstream) -> bool:
        """Return whether the upstream's chat route goes on from thinking; asked once for each upstream."""
        if source.keeps_thinking is None:
            source.keeps_thinking = await keeps_thinking(server, _engine(source).profile)
            if not source.keeps_thinking:
                log.warning(
                    "%s: its chat form drops thinking, so requests with tools or schemas pass through", source.name
                )
        return source.keeps_thinking

    async def _pass(self, source: Source, writer: ResponseWriter, why: str) -> None:
        """Hand the request to an upstream and its response to the client."""
        server, limits = source.server, self.settings.limits
        if server is None or not (self.route.passes or self.request.chat):
            raise BadInput(f"{why}: the model of this server cannot do that. Leave it out.")
        body = passed_body(self.request, server, limits)
        self.about["passed"] = why
        writer.headers["x-satisfice"] = dumps({"passed": why}).decode()
        if not self.route.passes:
            async with self._kept_alive(writer):
                await self._relay(server, body, writer, why)
            source.worked()
            return
        async with server.ask(self.route.passes, body, seconds=limits.passed_seconds) as response:
            try:
                await copy(response, writer, self._count)
            finally:
                self._first = self._first and not writer.started
        source.worked()

    async def _relay(self, server: HttpUpstream, body: dict[str, Any], writer: ResponseWriter, why: str) -> None:
        """Have the upstream's chat route write the response, and translate it into the client's protocol."""
        written, deltas, seconds = Written(), list[Delta](), self.settings.limits.passed_seconds
        coming: AsyncIterator[Delta] = relay(body, server, written, stream=self.request.stream, seconds=seconds)
        try:
            async with aclosing(coming):  # type: ignore[type-var]
                async for delta in coming:
                    deltas.append(delta)
                    self._first = self._first and not self.request.stream
                    chunk = self.encoder.chunk([delta], first=len(deltas) == 1) if self.request.stream else b""
                    if chunk:
                        await writer.events(chunk)
        finally:
            self._count(written.tokens)
        outcome, said = written.outcome(time.monotonic() - self.begin), {"passed": why}
        if not self.request.stream:
            await writer.whole(200, self.encoder.whole([deltas], [outcome], said))
            return
        begin = b"" if deltas else self.encoder.chunk([], first=True)
        await writer.events(begin + self.encoder.last_chunk(outcome, 0, said) + self.encoder.end([outcome]))
        await writer.end()

    def _count(self, tokens: int) -> None:
        self.metrics.took(Ledger(kept=tokens), "passed", self.client.name)
        self.client.spend(tokens)

    async def _tell(self, writer: ResponseWriter, error: Exception) -> None:
        failure = failure_of(error)
        if writer.started:
            await writer.events(self.encoder.error_event(failure))
            await writer.end()
        else:
            writer.headers.update(failure.headers)
            await writer.whole(failure.status, form_of(self.route.path).error(failure))


def _is_ruled(parameters: Parameters) -> bool:
    """Return whether a rule decides about the thinking."""
    return not isinstance(parameters.policy, Whole | NoThinking) and parameters.thinks


def _in_full(parameters: Parameters) -> Parameters:
    """Return the same without its rule."""
    return replace(parameters, policy=Whole(), name="full", live=True)


def _engine(source: Source) -> Engine:
    assert source.engine is not None
    return source.engine
