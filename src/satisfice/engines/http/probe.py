"""What a server can do, found out by asking it: never guessed from a name or a version."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from satisfice.core.errors import BadInput, EngineError, Refused
from satisfice.core.profile import Profile
from satisfice.engines.http.chunk import Chunk, Usage, read_chunk
from satisfice.engines.http.family import QUESTION, Ask, check_text, find_family, leaked_end
from satisfice.engines.http.wire import Address, Broken, ask, check_status, open_stream
from satisfice.models.recognise import ON
from satisfice.models.words import TokenizerWords

SENTINEL = "QUESTION-GOES-HERE-7f3a91"
TRIED_TOP = (20, 5, 1, None)  # likeliest tokens asked for, in this order; 20 is what rules read, 5 what OpenAI gives

Render = Callable[[str], str]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Server:
    """What was found out."""

    model: str
    software: str
    max_length: int | None  # tokens, prompt included; None: it does not say
    extended: bool  # takes vLLM's fields: special tokens shown, stop tokens, exact sampling settings
    ids: bool  # takes prompts as token ids, and gives token ids back
    logprobs: bool  # gives log-probabilities, and they are the model's own: the same at any temperature
    top: int  # how many of the likeliest tokens it gives; 0 unless `logprobs`
    stops: bool  # ends at a stop text by itself and shows it, so that closing the stream is not needed
    budget: str | None  # the field, one of `BUDGETS`, by which it ends thinking after a number of tokens; it was tried
    cached: bool  # says how much of a prompt it had in its cache
    leaks: str | None  # the end of the turn as it stands in answers, where the server shows it as text


@dataclass(frozen=True, kw_only=True)
class Found:
    """A server, and how its model is spoken to."""

    server: Server
    words: TokenizerWords | None
    profile: Profile
    render: Render
    thinking: str  # what shows that the model thinks as the profile says


EXTENDED: dict[str, Any] = {
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
    "add_special_tokens": False,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
"""vLLM's fields that every request carries: everything shown, and no sampling setting but those that were asked for."""

BUDGETS: dict[str, Callable[[int], dict[str, Any]]] = {
    "thinking_token_budget": lambda tokens: {"thinking_token_budget": tokens},  # vLLM
    "reasoning": lambda tokens: {"reasoning": {"max_tokens": tokens}},  # OpenRouter
    "custom_params": lambda tokens: {"custom_params": {"thinking_budget": tokens}},  # SGLang
}
"""How servers are told after how many tokens the thinking is to end. Those that do not know a field may ignore it."""

SOON = 12  # tokens within which thinking must have ended when a server is given a budget of none


async def find_out(
    address: Address, *, model: str | None, tokenizer: Path | None, template: str | None, profile: Profile | None
) -> Found:
    """Ask a server everything that the engine must know before the first problem.

    Raises:
        BadInput: nobody answers, the key is not accepted, the model or the chat form is not known.
    """
    async with address.connect() as client:
        with problems_of(address, "completions"):
            listed, software = await list_models(address, needed=model is None)
            name, row = choose_model(model, listed, address)
            words = _tokenizer(tokenizer, name, row)
            form = await _form(client, address, name, words, template)
            speak = completions(client, address, name)
            said, thinking = await find_family(address, name, form, speak, profile, words)

            def render(question: str) -> str:
                return said.opened(form(question))

            server = await _capabilities(client, address, name, row, software, words, render, said)
    if words and not server.extended and words.is_special(said.think_close):
        raise BadInput(
            f"{address.base}: {said.think_close!r} is a special token of {name}, and this server leaves special tokens "
            "out of what it sends, so nothing shows where thinking ends. Use a server that shows them, such as vLLM."
        )
    return Found(server=server, words=words, profile=said, render=render, thinking=thinking)


@contextlib.contextmanager
def problems_of(address: Address, interface: str) -> Iterator[None]:
    """Say what is wrong with a server in the words of whoever gave its address.

    Raises:
        BadInput: anything of it.
    """
    alone = " If it has a chat route alone, as most providers do, say so: ?route=chat." * (interface == "completions")
    try:
        yield
    except Broken as error:
        raise BadInput(
            f"no use of the server at {address.base}: {error}. Is it running, and is this its address?"
        ) from error
    except Refused as error:
        if error.status in (401, 403):
            raise BadInput(
                f"{address.base}: {error}. Put the key into the environment variable {address.key_env}."
            ) from error
        raise BadInput(f"{address.base}: {error}.{alone if error.status in (404, 405, 501) else ''}") from error
    except EngineError as error:
        raise BadInput(f"{address.base} does not speak OpenAI's {interface} interface: {error}.{alone}") from error


def in_a_loop_of_its_own(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in another thread, for callers that may themselves run inside an event loop."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


async def list_models(address: Address, *, needed: bool) -> tuple[list[dict[str, Any]], str]:
    """Return the models that a server lists; none where it has no list, or a broken one that nobody needs."""
    # On a connection of its own: a server that breaks over its list hangs up, and the next question must not meet that.
    try:
        async with address.connect() as client, ask(client, address, f"{address.base}/models") as response:
            software = response.headers.get("server", "")
            if response.status == 404 or (response.status >= 500 and not needed):
                return [], software
            await check_status(response, address)
            listed = await response.json(content_type=None)
        return [row for row in listed["data"] if isinstance(row["id"], str)], software
    except (ValueError, KeyError, TypeError) as error:
        if not needed:
            return [], software
        raise EngineError("its list of models is not one") from error


def choose_model(model: str | None, listed: list[dict[str, Any]], address: Address) -> tuple[str, dict[str, Any]]:
    """Return the name of the server's model that is meant, and its row of the list.

    Raises:
        BadInput: none is named, and there is not exactly one.
    """
    if model is not None:  # servers may load models that they do not list
        return model, next((row for row in listed if row["id"] == model), {})
    if len(listed) != 1:
        names = ", ".join(sorted(row["id"] for row in listed)[:8]) or "none"
        raise BadInput(f"{address.base} serves {len(listed)} models ({names}). Say which: {address.base}?model=NAME")
    return listed[0]["id"], listed[0]


def _tokenizer(given: Path | None, name: str, row: dict[str, Any]) -> TokenizerWords | None:
    """The tokenizer that was given, or that of the folder which the server says it serves, if it is on this machine."""
    if given is not None:
        return TokenizerWords(given)
    for told in (row.get("root"), name):
        if isinstance(told, str) and Path(told).is_absolute() and (Path(told) / "tokenizer.json").is_file():
            return TokenizerWords(Path(told))
    return None


async def _form(
    client: aiohttp.ClientSession, address: Address, model: str, words: TokenizerWords | None, template: str | None
) -> Render:
    """Who puts a question into the chat form: a given template, the tokenizer, or the server, asked once."""
    if template is not None:
        if template.count("{question}") != 1:
            raise BadInput(f"template must hold {{question}} once, got {template!r}.")
        before, after = template.split("{question}")
    elif words is not None:
        return words.form
    else:
        asked = [{"role": "user", "content": SENTINEL}]
        prompt = await chat_form(client, address, model, asked, {"chat_template_kwargs": dict(ON)})
        if prompt is None or prompt.count(SENTINEL) != 1:
            raise BadInput(
                f"{address.base} does not show the chat form of {model}. Give its tokenizer's folder "
                f"({address.base}?tokenizer=FOLDER) or the form itself (template=TEXT, with {{question}} in it)."
            )
        before, after = prompt.split(SENTINEL)
    return lambda question: before + question + after


async def chat_form(
    client: aiohttp.ClientSession, address: Address, model: str, messages: list[dict[str, Any]],
    variables: Mapping[str, Any] | None = None,
) -> str | None:  # fmt: skip
    """Messages in the model's chat form, as the server writes them; None when it does not show how.

    `variables` are further fields of the request that the form may read: tools, arguments of the chat template.

    Raises:
        Broken: nobody answers there.
    """

    async def said(path: str, body: dict[str, Any]) -> Any:
        async with ask(client, address, f"{address.root}/{path}", body) as response:
            return await response.json(content_type=None) if response.ok else {}

    with contextlib.suppress(ValueError, KeyError, TypeError):  # llama.cpp
        return str((await said("apply-template", {**(variables or {}), "messages": messages}))["prompt"])
    with contextlib.suppress(ValueError, KeyError, TypeError):  # vLLM, SGLang
        asked = {"add_generation_prompt": True, **(variables or {}), "model": model, "messages": messages}
        tokens = (await said("tokenize", asked))["tokens"]
        return str((await said("detokenize", {"model": model, "tokens": tokens}))["prompt"])
    return None


def completions(client: aiohttp.ClientSession, address: Address, model: str) -> Ask:
    """Return what asks a server's model for one completion and gives the whole of it."""

    async def ask(body: dict[str, Any]) -> list[Chunk]:
        async with open_stream(client, address, {"model": model, "seed": 1, **body}) as events:
            return [read_chunk(event) async for event in events]

    return ask


async def _capabilities(
    client: aiohttp.ClientSession, address: Address, model: str, row: dict[str, Any], software: str,
    words: TokenizerWords | None, render: Render, profile: Profile,
) -> Server:  # fmt: skip
    prompt = render("What is 12 + 34 - 5678?")

    ask = completions(client, address, model)
    numbers = words.encode(prompt) if words else None
    extended, top, base, got = await _first_answer(ask, prompt, numbers)
    usage = next((c.usage for c in reversed(got) if c.usage), None)
    ids = isinstance(base["prompt"], list) and any(c.ids for c in got) and all(c.ids is not None for c in got if c.text)
    if ids and words is not None and not await _same_tokens(ask, base, got, usage, words, prompt):
        raise BadInput(f"{address.base}: the tokenizer in {words.folder} is not that of {model}. Give the right one.")
    if not ids:
        base = {k: v for k, v in base.items() if not k.startswith("return_token")} | {"prompt": prompt}
        got = await ask(base)
        await check_text(address, model, ask, base, profile)
    seen = _gap(got)
    raw = False
    if seen is not None:
        hot = _gap(await ask({**base, "temperature": 2.0, "top_p": 0.9}))
        raw = hot is not None and abs(hot - seen) <= 0.05 + 0.02 * abs(seen)
    asked_again = await ask(base)
    usage = next((c.usage for c in reversed(asked_again) if c.usage), None)
    given = [len(line) for c in got for line in c.top]
    return Server(
        model=model, software=software, extended=extended, ids=ids, logprobs=raw,
        max_length=await _context(client, address, row),
        top=min(top or 0, min(given)) if raw and given and ids else 0,
        stops=ids and await _stops_itself(ask, base), cached=usage is not None and usage.cached is not None,
        budget=await _budget_field(ask, base, profile) if extended else None,
        leaks=None if ids else await leaked_end(ask, base, profile, render(QUESTION)),
    )  # fmt: skip


async def _context(client: aiohttp.ClientSession, address: Address, row: dict[str, Any]) -> int | None:
    """How many tokens a sequence may have: vLLM and SGLang list it, llama.cpp tells what it gives to one request."""
    told: list[Any] = [row.get("max_model_len")]
    if told[0] is None:
        with contextlib.suppress(Broken, EngineError, aiohttp.ClientError, ValueError, KeyError, TypeError):
            async with ask(client, address, f"{address.root}/props") as response:
                if response.ok:
                    told.append((await response.json(content_type=None))["default_generation_settings"]["n_ctx"])
    return next((n for n in told if type(n) is int and n > 0), None)


async def _same_tokens(
    ask: Ask, base: dict[str, Any], chunks: list[Chunk], usage: Usage | None, words: TokenizerWords, prompt: str
) -> bool:
    """Whether the server's tokens mean to it what they mean to the tokenizer: both split a text alike, and join it."""
    split = next((c.prompt_ids for c in await ask({**base, "prompt": prompt, "max_tokens": 1}) if c.prompt_ids), None)
    if split is not None and list(split) != base["prompt"]:
        return False
    if usage is not None and usage.prompt not in (None, len(base["prompt"])):
        return False
    read = words.decode([i for c in chunks for i in c.ids or () if i not in words.end_ids])
    sent = "".join(c.text for c in chunks)
    for end in words.end_ids:
        sent = sent.removesuffix(words.decode([end]))
    return read.replace("\ufffd", "").strip() == sent.replace("\ufffd", "").strip()


async def _first_answer(
    ask: Ask, prompt: str, ids: list[int] | None
) -> tuple[bool, int | None, dict[str, Any], list[Chunk]]:
    """Return the richest request that the server accepts, and its answer."""
    refusal: Refused | None = None
    plain = {"max_tokens": 4, "temperature": 1.0, "top_p": 1.0}
    rich = {**plain, **EXTENDED, "stream_options": {"include_usage": True}}
    forms: list[tuple[bool, dict[str, Any]]] = [
        (True, {**rich, "prompt": prompt}),
        (False, {**plain, "prompt": prompt}),
    ]
    if ids is not None:
        forms.insert(0, (True, {**rich, "prompt": ids}))
    for extended, form in forms:
        for top in TRIED_TOP:
            body = form if top is None else {**form, "logprobs": top}
            try:
                return extended, top, body, await ask(body)
            except Refused as error:
                if error.status not in (400, 422):
                    raise
                refusal = error
    assert refusal is not None
    raise refusal


def _gap(chunks: list[Chunk]) -> float | None:
    """How much likelier the likeliest token at the first position is than the fifth; with fewer told, its own value.

    Dividing scores by a temperature changes this number even where the model is sure; sampling does not.
    """
    for chunk in chunks:
        if chunk.top:
            values = sorted(chunk.top[0].values(), reverse=True)
            return values[0] - values[4] if len(values) >= 5 else values[0]
    return None


async def _stops_itself(ask: Ask, base: dict[str, Any]) -> bool:
    """Return whether the server ends at a stop text and sends the tokens that hold it."""
    calm = {**base, "temperature": 0.0, "max_tokens": 6}
    try:
        texts = [c.text for c in await ask(calm) if c.text.strip()]
        if not texts:
            return False
        got = await ask({**calm, "stop": [texts[0]], "include_stop_str_in_output": True})
    except EngineError:
        return False
    return any(c.finish == "stop" for c in got) and "".join(c.text for c in got).endswith(texts[0])


async def _budget_field(ask: Ask, base: dict[str, Any], profile: Profile) -> str | None:
    """The field by which this server ends thinking: given a budget of no tokens it must end at once, not by chance."""
    calm = {**base, "temperature": 0.0, "max_tokens": SOON}

    async def ends(more: dict[str, Any]) -> bool:
        return profile.think_close in "".join(c.text for c in await ask({**calm, **more}))

    if await ends({}):
        return None
    for name, field in BUDGETS.items():
        with contextlib.suppress(EngineError):  # a status that refuses, or 200 and an error in the stream, as vLLM does
            if await ends(field(0)):
                return name
    return None
