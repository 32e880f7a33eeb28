"""What the model reads for a request: its chat form, and whether thinking is open at its end."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput, SatisficeError
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.upstream import Source

NOT_FOR_TEMPLATES = frozenset({"thinking_budget"})  # a wish that people put among the variables of the template


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What the model is asked: the text that it reads, and what policies take for the question."""

    text: str
    question: str
    thinks: bool  # what follows is thinking
    ids: tuple[int, ...] = ()  # its tokens, where the client sent those


async def prompts_of(request: GenerationRequest, source: Source) -> list[Prompt]:
    """Return what the model reads, once for each prompt of the request.

    Raises:
        BadInput: the model's chat form does not take this conversation, or a prompt is empty.
        EngineError: the server that knows the form does not answer.
    """
    engine = source.engine
    assert engine is not None
    if request.chat:
        return [await _chat_prompt(request, source, engine)]
    if source.server is None and not all(request.prompts):
        raise BadInput("prompt: the prompt is empty, so there is nothing to continue. Give it some text.")
    found = []
    for prompt in request.prompts:
        ids = () if isinstance(prompt, str) else tuple(prompt)
        text = prompt if isinstance(prompt, str) else engine.decode(list(prompt))
        found.append(Prompt(text=text, question=text, thinks=leaves_thinking_open(text, engine), ids=ids))
    return found


def leaves_thinking_open(prompt: str, engine: Engine) -> bool:
    """Return whether what follows a prompt is thinking."""
    profile = engine.profile
    return prompt.rfind(profile.think_open) > prompt.rfind(profile.think_close)


async def _chat_prompt(request: GenerationRequest, source: Source, engine: Engine) -> Prompt:
    messages = [dict(message) for message in request.messages]
    variables = {name: value for name, value in request.template.items() if name not in NOT_FOR_TEMPLATES}
    for name in ("tools", "documents"):
        if request.fields.get(name):
            variables[name] = request.fields[name]
    if not request.thinking.on:
        variables |= {"enable_thinking": False, "thinking": False}
    try:
        text = await _rendered(messages, variables, source, engine)
    except SatisficeError:
        raise
    except Exception as error:  # whatever a template trips over; templates are the model's own code, sandboxed
        raise BadInput(f"messages: the chat form of this model does not take them: {error}") from error
    closed = text.rstrip().endswith(engine.profile.think_close.rstrip())
    if request.thinking.on or not closed:
        text = engine.profile.opened(text)
    return Prompt(text=text, question=_question(messages), thinks=leaves_thinking_open(text, engine))


async def _rendered(messages: list[dict[str, Any]], variables: dict[str, Any], source: Source, engine: Engine) -> str:
    alone = len(messages) == 1 and messages[0].get("role") == "user"
    if alone and not variables and isinstance(messages[0].get("content"), str):
        return engine.render(messages[0]["content"])
    if source.server is not None and not source.server.takes_ids:
        return await engine.render_chat(messages, variables)
    return await engine.render_chat([_for_template(message) for message in messages], variables)


def _for_template(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as templates read it: text in one piece, arguments of calls as objects, reasoning by either name."""
    row = {name: value for name, value in message.items() if value is not None}
    row["role"] = "system" if row.get("role") == "developer" else row.get("role")
    row["content"] = text_of(message.get("content"))
    reasoning = row.get("reasoning_content") or row.get("reasoning")
    if isinstance(reasoning, str):
        row["reasoning_content"] = reasoning
    calls = row.get("tool_calls")
    if isinstance(calls, list):
        row["tool_calls"] = [_call(call) for call in calls]
    return row


def _call(call: Any) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"] or "{}")}}
    except ValueError:
        return call


def text_of(content: Any) -> str:
    """Return the text of a message. Parts are joined by line breaks, as vLLM and llama.cpp join them."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content)
    return content if isinstance(content, str) else ""


def _question(messages: Sequence[Mapping[str, Any]]) -> str:
    if len(messages) == 1:
        return text_of(messages[0].get("content"))
    return "\n\n".join(f"{message.get('role')}: {text_of(message.get('content'))}" for message in messages)
