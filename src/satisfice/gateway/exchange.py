"""One request on its way: run or passed through, streamed or whole, and what its client is told when it fails."""

import asyncio
import logging
import random
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput, EngineError, SatisficeError, Unfit
from satisfice.core.ledger import Ledger
from satisfice.core.race import settle_tasks
from satisfice.gateway.body import Body, ChatBody, passed
from satisfice.gateway.door import Door, Guest, Refusal
from satisfice.gateway.metrics import Metrics
from satisfice.gateway.plan import Plan, make_plan
from satisfice.gateway.reply import Writer, keep_alive
from satisfice.gateway.run import Outcome, OutOfTime, Prompt, Run
from satisfice.gateway.settings import Settings
from satisfice.gateway.shown import Piece
from satisfice.gateway.upstream import Sources, Unavailable, leaves_thinking_open, prompt_of
from satisfice.gateway.wire import DONE, Form, about, dumps, error_of, event
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.no_thinking import NoThinking

log = logging.getLogger("satisfice.gateway")

ANOTHER = frozenset({502, 503, 504})  # an upstream that says this was not reached by the request


@dataclass(frozen=True, kw_only=True)
class House:
    """What all requests share."""

    sources: Sources
    settings: Settings
    metrics: Metrics
    door: Door
    shadow: Callable[[Plan, Engine, Prompt, int, str], None]  # a rule, to be run beside an answer that had none


class Exchange:
    """One request on its way."""

    def __init__(self, house: House, body: Body, raw: dict[str, Any], guest: Guest, model: str) -> None:
        self.house, self.body, self.raw, self.guest = house, body, raw, guest
        self.settings, self.metrics = house.settings, house.metrics
        self.id = ("chatcmpl-" if isinstance(body, ChatBody) else "cmpl-") + secrets.token_hex(12)
        self.begin = time.monotonic()
        hide = body.include_reasoning is False or (body.reasoning is not None and body.reasoning.exclude is True)
        self.form = Form(
            id=self.id, created=int(time.time()), model=model, chat=isinstance(body, ChatBody),
            reasoning=self.settings.reasoning, hide_reasoning=hide,
        )  # fmt: skip
        self.pieces: list[Piece] = []

    async def serve(self, writer: Writer) -> None:
        """Answer, or say why not."""
        became = "failed"
        self.metrics.began()
        try:
            with self.house.door.inside(self.guest):
                became = "passed" if await self._serve(writer) else "ok"
        except asyncio.CancelledError:
            became = "cancelled"
            raise
        except Exception as error:  # whatever went wrong, the client hears of it and the server goes on
            became = "refused" if isinstance(error, BadInput | Refusal | Unfit) else "failed"
            if not isinstance(error, SatisficeError):
                log.error("%s failed: %s", self.id, type(error).__name__, exc_info=log.isEnabledFor(logging.DEBUG))
            await self._tell(writer, error)
        finally:
            seconds = time.monotonic() - self.begin
            self.metrics.ended(became, seconds)
            log.info("%s %s in %.3f s", self.id, became, seconds)

    async def _serve(self, writer: Writer) -> bool:
        """True when the request was passed through."""
        if why := passed(self.body):
            await self._pass(writer, why)
            return True
        if not self.body.stream:
            return await self._decide(writer)
        beat = asyncio.create_task(keep_alive(writer, self.settings.keep_alive_s))
        try:
            return await self._decide(writer)
        finally:
            await settle_tasks([beat])

    async def _decide(self, writer: Writer) -> bool:
        """Run the policy on the first source that works."""
        last: Exception = Unavailable("there is no engine")
        for source in self.house.sources.in_turn():
            engine = source.engine
            assert engine is not None
            try:
                prompt = await prompt_of(self.body, engine)
            except EngineError as error:
                source.failed(error)
                last = error
                continue
            thinks = isinstance(self.body, ChatBody) or leaves_thinking_open(prompt.text, engine)
            if not thinks and engine.upstream is not None:
                await self._pass(writer, "prompt")
                return True
            asked = make_plan(self.body, self.settings, engine, thinks=thinks)
            plan = self._as_run(asked)
            run = Run(plan, engine, prompt, self.settings.limits)
            source.running += 1
            try:
                outcome = await run.go(partial(self._show, writer, plan))
            except EngineError as error:
                self.metrics.fault()
                source.failed(error)
                if run.seen:
                    raise
                last = error
                continue
            finally:
                source.running -= 1
                self.metrics.took(run.ledger)
                self.guest.spend(run.ledger.spent)
            source.worked()
            await self._finish(writer, asked, plan, outcome)
            if self.settings.shadow and plan is not asked:
                self.house.shadow(asked, engine, prompt, run.ledger.spent, content_of(self.pieces))
            return False
        raise last

    def _as_run(self, plan: Plan) -> Plan:
        """The plan itself, or without its rule: in shadow mode, and for the share that shows what rules save."""
        ruled = not isinstance(plan.policy, Full | NoThinking) and plan.thinks
        if ruled and (self.settings.shadow or random.random() < self.settings.control):
            return replace(plan, policy=Full(), name="full", live=True)
        return plan

    async def _show(self, writer: Writer, plan: Plan, pieces: list[Piece]) -> None:
        first = not self.pieces
        self.pieces += pieces
        if first:
            self.metrics.first_text(time.monotonic() - self.begin)
        if self.body.stream:
            if not writer.started:
                writer.headers["x-satisfice"] = dumps({"policy": plan.name}).decode()
            if chunk := self.form.chunk(pieces, first=first):
                await writer.events(chunk)

    async def _finish(self, writer: Writer, asked: Plan, plan: Plan, outcome: Outcome) -> None:
        more = {} if plan is asked else {"shadow" if self.settings.shadow else "control": asked.name}
        said = about(plan.name, outcome, answered=bool(content_of(self.pieces).strip()), **more)
        self.metrics.stopped(plan.name, outcome.stopped)
        if not self.settings.shadow and plan.thinks:
            (self.metrics.control if plan is not asked else self.metrics.ruled).add(outcome.ledger.spent)
        if not self.body.stream:
            writer.headers["x-satisfice"] = dumps(said).decode()
            await writer.whole(200, self.form.whole(self.pieces, outcome, said))
            return
        data = b"" if self.pieces else self.form.chunk([], first=True)
        data += event(self.form.last_chunk(outcome.finish, said))
        if self.body.stream_options is not None and self.body.stream_options.include_usage:
            data += event(self.form.usage_chunk(outcome))
        await writer.events(data + DONE)
        await writer.end()

    async def _pass(self, writer: Writer, why: str) -> None:
        """Hand the request to an upstream and its response to the client, untouched."""
        self._check_passed(why)
        last: Exception = Unavailable("there is no upstream")
        path = "chat/completions" if isinstance(self.body, ChatBody) else "completions"
        for source in self.house.sources.in_turn():
            upstream = None if source.engine is None else source.engine.upstream
            if upstream is None:
                raise BadInput(f"{why}: the model of this server cannot do that. Leave it out.")
            source.running += 1
            try:
                sent = {name: value for name, value in self.raw.items() if name != "satisfice"}
                async with upstream.ask(path, sent) as response:
                    if response.status in ANOTHER and not writer.started:
                        raise EngineError(f"the upstream answered {response.status}")
                    await self._copy(writer, why, response)
                source.worked()
                return
            except EngineError as error:
                self.metrics.fault()
                source.failed(error)
                last = error
                if writer.started:
                    break
            finally:
                source.running -= 1
        raise last

    def _check_passed(self, why: str) -> None:
        limits = self.settings.limits
        if (self.body.n or 1) > limits.chains:
            raise BadInput(f"n may be at most {limits.chains} on this server, got {self.body.n}.")
        for name in ("max_tokens", "max_completion_tokens"):
            value = getattr(self.body, name, None)
            if limits.tokens is not None and value is not None and value > limits.tokens:
                raise BadInput(f"{name} may be at most {limits.tokens} on this server, got {value}.")

    async def _copy(self, writer: Writer, why: str, response: Any) -> None:
        writer.headers["x-satisfice"] = dumps({"passed": why}).decode()
        await writer.start(response.status, response.headers.get("content-type", "application/json"))
        tail = b""
        async for part in response.content.iter_any():
            await writer.write(part)
            tail = (tail + part)[-4096:]
        await writer.end()
        counts = re.findall(rb'"completion_tokens"\s*:\s*(\d{1,12})', tail)
        tokens = int(counts[-1]) if counts else 0
        self.metrics.took(Ledger(kept=tokens))
        self.guest.spend(tokens)

    async def _tell(self, writer: Writer, error: Exception) -> None:
        status, row, headers = answer_to(error)
        if writer.started:
            await writer.events(event(row))
            await writer.end()
        else:
            writer.headers.update(headers)
            await writer.whole(status, row)


def answer_to(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers for something that went wrong."""
    if isinstance(error, Refusal):
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(error.status, "invalid_request_error")
        headers = {} if error.retry_s is None else {"retry-after": str(round(error.retry_s))}
        if error.status == 401:
            headers["www-authenticate"] = "Bearer"
        return error.status, error_of(str(error), kind, code=error.code, param=error.param), headers
    if isinstance(error, BadInput | Unfit):
        return 400, error_of(str(error), "invalid_request_error", code="invalid_value"), {}
    if isinstance(error, Unavailable):
        return 503, error_of(f"Not ready: {error}", "server_error", code="not_ready"), {"retry-after": "5"}
    if isinstance(error, EngineError):
        return 502, error_of(str(error), "upstream_error", code="upstream_failed"), {}
    if isinstance(error, OutOfTime):
        return 504, error_of(str(error), "server_error", code="out_of_time"), {}
    what = str(error) if isinstance(error, SatisficeError) else f"an error of ours ({type(error).__name__})"
    return 500, error_of(what, "server_error", code="internal_error"), {}


def content_of(pieces: list[Piece]) -> str:
    """The visible answer."""
    return "".join(text for kind, text in pieces if kind == "content")
