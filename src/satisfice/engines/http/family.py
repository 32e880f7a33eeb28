"""How a server's model thinks, and whether its text shows it: found by looking at what comes back, never assumed."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from satisfice.core.errors import BadInput, Refused
from satisfice.core.profile import Profile
from satisfice.engines.http.chunk import Chunk
from satisfice.engines.http.wire import Address
from satisfice.models.recognise import family_of
from satisfice.models.words import TokenizerWords

Ask = Callable[[dict[str, Any]], Awaitable[list[Chunk]]]

QUESTION = "What is 12 + 34?"
FIRST_WORDS = 8  # tokens within which a model that opens its thinking itself has done so
ALONE = 3  # most tokens of a prompt of one digit: with a token that begins a text, and one that splits off before it
COPIES = 12  # of a tag, after which any model goes on with it
AN_ANSWER = 48  # tokens within which an answer that stands already has ended
ANY_CONTROL = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z]{2,20}\]")  # tokens that are no text
CONTROL = re.compile(r"<[^<>\s]{1,40}>\Z")  # how tokens that end a turn are written

PROFILES_OF = "profile=r1, qwen3, gpt-oss or a FILE.json"


async def find_family(
    address: Address, model: str, form: Callable[[str], str], ask: Ask, given: Profile | None,
    words: TokenizerWords | None,
) -> tuple[Profile, str]:  # fmt: skip
    """Return how the model thinks, and what shows it.

    Raises:
        BadInput: nothing shows it and nobody says it, or what is said and what is seen do not agree.
    """
    prompt = form(QUESTION)
    seen = family_of(prompt)
    said, source = given, "given"
    if said is None and words is not None and {"thinking", "profile"} & words.recognised.found.keys():
        said, source = words.profile, words.recognised.source
    if said is None:
        seen = seen or family_of(prompt, await _first_words(ask, prompt))
        if seen is None:
            raise BadInput(
                f"{address.base}: nothing shows how {model} thinks. Its chat form ends in {prompt[-40:]!r}, and it "
                "begins with no tag that is known. If it does think, say how: "
                f"{address.base}?{PROFILES_OF}, or give its tokenizer's folder (tokenizer=FOLDER)."
            )
        return seen
    if seen is not None and seen[0].think_open.strip() != said.think_open.strip():
        raise BadInput(
            f"{address.base}: the profile {said.name} has thinking begin with {said.think_open.strip()}, but of "
            f"{model} {seen[1]}. Leave the profile out, or give the right one ({PROFILES_OF})."
        )
    return said, source


async def _first_words(ask: Ask, prompt: str) -> str:
    """Return what the model writes first where the chat form leaves it to the model to open thinking."""
    body = {"prompt": prompt, "max_tokens": FIRST_WORDS, "temperature": 0.0}
    try:
        chunks = await ask({**body, "skip_special_tokens": False, "add_special_tokens": False})
    except Refused as error:
        if error.status not in (400, 422):
            raise
        chunks = await ask(body)
    return _text(chunks)


async def check_text(address: Address, model: str, ask: Ask, base: dict[str, Any], profile: Profile) -> None:
    """Refuse a server whose text is not what the model read and wrote; `base` is a request that it accepts.

    Raises:
        BadInput: it puts prompts into the chat form once more, or leaves out the tag that ends thinking.
    """
    calm = {**base, "temperature": 0.0}
    usage = next((c.usage for c in reversed(await ask({**calm, "prompt": "1", "max_tokens": 1})) if c.usage), None)
    if usage is not None and usage.prompt is not None and usage.prompt > ALONE:
        raise BadInput(
            f"{address.base}: the prompt '1' became {usage.prompt} tokens, so this server puts prompts into the chat "
            "form once more, and no text can be continued there. Use its raw completions, or another server, such as "
            "vLLM or llama-server."
        )
    try:
        chunks = await ask({**calm, "prompt": profile.think_close * COPIES, "max_tokens": FIRST_WORDS})
    except Refused:  # a context too small for this
        return
    said, bare = _text(chunks), ANY_CONTROL.sub("", profile.think_close).strip()
    lacking = said.lstrip().startswith(bare) if bare else not said
    if lacking and profile.think_close.strip() not in said and any(chunk.finish == "length" for chunk in chunks):
        raise BadInput(
            f"{address.base}: what comes after {COPIES} times {profile.think_close!r} lacks that tag, so this server "
            f"leaves special tokens such as {model}'s out of what it sends, and nothing shows where thinking ends. Use "
            "a server that shows them: vLLM, or llama-server with --special."
        )


async def leaked_end(ask: Ask, base: dict[str, Any], profile: Profile, prompt: str) -> str | None:
    """Return the text of the token that ends a turn, where the server lets it stand in answers; else None.

    `prompt` asks `QUESTION`. llama-server does so when it is started with `--special`.
    """
    thought = f"12 + 34 = 46. So the answer is 46.{profile.close_thinking}"
    answered = f"{prompt}{thought}The answer is {profile.written('46')}."
    try:
        chunks = await ask({**base, "prompt": answered, "temperature": 0.0, "max_tokens": AN_ANSWER})
    except Refused:  # a context too small for this
        return None
    if not any(chunk.finish == "stop" for chunk in chunks):
        return None
    end = CONTROL.search(_text(chunks).rstrip())
    return end.group() if end else None


def _text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)
