"""What becomes of each field of a request when a policy serves it: carried exactly, emulated, or refused; pure.

A policy asks a server several times for one answer: each call sends the tokens so far as the prompt. Fields that a
server counts within a call would then mean something else, so each has its line here. `docs/gateway.md` shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Treatment = Literal["carried", "emulated", "answer", "upstream", "unused", "refused"]
"""
- carried: goes with every call, and means there what it means to the server.
- emulated: the gateway does it itself; the note says how.
- answer: the thinking runs under the policy, then the server's own chat route writes the answer with this field.
- upstream: only the server's own route can do it: the whole request goes there, unless it names a policy.
- unused: has no effect on the answer, and is not sent.
- refused: could run code or reach what only the operator may reach; status 400.
"""


@dataclass(frozen=True)
class Field:
    """One field: what happens over a server, what happens on a model in this process, and values that say nothing."""

    treatment: Treatment
    note: str = ""
    local: str = "refused"  # refused, ignored, or how it is done
    neutral: tuple[Any, ...] = ()


FIELDS: Mapping[str, Field] = {
    "temperature": Field("carried", local="carried"),
    "top_p": Field("carried", local="carried"),
    "top_k": Field("carried", local="emulated by the filter `top-k`", neutral=(0, -1)),
    "min_p": Field("carried", local="emulated by the filter `min-p`", neutral=(0,)),
    "typical_p": Field("carried", neutral=(1,)),
    "repetition_penalty": Field("carried", "servers count the prompt too, so it does not matter where a call begins",
                                neutral=(1,)),
    "repeat_penalty": Field("carried", "as `repetition_penalty`", neutral=(1,)),
    "logit_bias": Field("carried", local="carried", neutral=({},)),
    "stop_token_ids": Field("carried", local="carried", neutral=([],)),
    "frequency_penalty": Field("emulated", "tokens of earlier calls count by `logit_bias`; needs a server that takes "
                               "token ids, or the policy `full`", neutral=(0,)),
    "presence_penalty": Field("emulated", "as `frequency_penalty`; a token of an earlier call that comes again is "
                              "charged once more", neutral=(0,)),
    "min_tokens": Field("emulated", "each call is asked for what is still missing", neutral=(0,)),
    "seed": Field("emulated", "each call has a seed made of this one and its place; the same request gives the same "
                  "answer where the server keeps its seeds; without one the server draws as it likes", local="carried"),
    "stop": Field("emulated", "ends the answer; the thinking may hold it", local="emulated the same way"),
    "max_tokens": Field("emulated", "bounds one chain, thinking and answer; above the model's limit it is lowered",
                        local="emulated the same way"),
    "max_completion_tokens": Field("emulated", "as `max_tokens`", local="emulated the same way"),
    "n": Field("emulated", "so many runs of the policy, each with its own seed", local="emulated the same way",
               neutral=(1,)),
    "ignore_eos": Field("upstream", local="ignored", neutral=(False,)),
    "tools": Field("answer", neutral=([],)),
    "tool_choice": Field("answer", neutral=("none", "auto")),
    "functions": Field("answer", neutral=([],)),
    "function_call": Field("answer", neutral=("none", "auto")),
    "parallel_tool_calls": Field("answer", local="ignored", neutral=(True, False)),
    "response_format": Field("answer", neutral=({"type": "text"},)),
    "structured_outputs": Field("answer"),
    "guided_json": Field("answer"),
    "guided_regex": Field("answer"),
    "guided_choice": Field("answer"),
    "guided_grammar": Field("answer"),
    "logprobs": Field("answer", "of the answer's tokens", neutral=(False,)),
    "top_logprobs": Field("answer", "of the answer's tokens", neutral=(0,)),
    "prompt_logprobs": Field("upstream"),
    "return_token_ids": Field("upstream", neutral=(False,)),
    "use_beam_search": Field("upstream", neutral=(False,)),
    "add_generation_prompt": Field("upstream", neutral=(True,)),
    "continue_final_message": Field("upstream", neutral=(False,)),
    "modalities": Field("upstream", neutral=(["text"],)),
    "audio": Field("upstream"),
    "prediction": Field("upstream", local="ignored"),
    "web_search_options": Field("upstream"),
    "suffix": Field("upstream", neutral=("",)),
    "echo": Field("upstream", neutral=(False,)),
    "best_of": Field("upstream", neutral=(1,)),
    "reasoning_effort": Field("emulated", "a share of the longest chain; templates with a variable of this name "
                              "get it too", local="emulated the same way"),
    "chat_template_kwargs": Field("carried", "to the chat template", local="carried to the chat template"),
    "documents": Field("carried", "to the chat template", local="carried to the chat template"),
    "skip_special_tokens": Field("unused", "special tokens are never part of an answer", local="ignored"),
    "spaces_between_special_tokens": Field("unused", "as `skip_special_tokens`", local="ignored"),
    "separate_reasoning": Field("unused", "thinking and answer always come apart", local="ignored"),
    "stream_reasoning": Field("unused", "thinking is always streamed", local="ignored"),
    "reasoning_format": Field("unused", "`--reasoning` says how the thinking is named", local="ignored"),
    "request_id": Field("unused", "calls would share it; the response has an id of its own", local="ignored"),
    "user": Field("unused", local="ignored"),
    "metadata": Field("unused", local="ignored"),
    "store": Field("unused", "nothing is stored", local="ignored"),
    "service_tier": Field("unused", local="ignored"),
    "safety_identifier": Field("unused", local="ignored"),
    "prompt_cache_key": Field("unused", local="ignored"),
    "prompt_cache_retention": Field("unused", local="ignored"),
    "verbosity": Field("unused", local="ignored"),
    "usage": Field("unused", "the response always has it", local="ignored"),
    "custom_logit_processor": Field("refused", "runs code"),
    "logits_processors": Field("refused", "runs code"),
    "chat_template": Field("refused", "is a program that the server would run"),
    "api_key": Field("refused", "the operator's"),
    "api_base": Field("refused", "would send the request elsewhere"),
    "base_url": Field("refused", "would send the request elsewhere"),
    "extra_headers": Field("refused", "the operator's"),
    "lora": Field("refused", "changes the model that others use too"),
    "lora_path": Field("refused", "names a file of the server"),
    "id_slot": Field("refused", "takes another client's slot"),
    "kv_transfer_params": Field("refused", "addresses other servers"),
    "bootstrap_host": Field("refused", "addresses other servers"),
    "bootstrap_port": Field("refused", "addresses other servers"),
    "bootstrap_room": Field("refused", "addresses other servers"),
    "session_params": Field("refused", "reaches what other requests left on the server"),
}  # fmt: skip
"""Every field with a rule of its own. Any other goes to the server as it is; a model in this process ignores it."""

OURS = frozenset({"model", "messages", "prompt", "stream", "stream_options", "satisfice"})
"""Fields that the gateway reads itself, whatever serves the request."""


def speaks(name: str, value: Any) -> bool:
    """Return whether a value says more than leaving the field out does."""
    if value is None:
        return False
    neutral = FIELDS[name].neutral if name in FIELDS else ()
    return not any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in neutral)


def treated(values: Mapping[str, Any], *treatments: Treatment) -> dict[str, Any]:
    """The fields of a request that are treated in one of these ways and say something, in the order of the table."""
    rows = ((name, field) for name, field in FIELDS.items() if field.treatment in treatments)
    return {name: values[name] for name, _ in rows if name in values and speaks(name, values[name])}


def no_tools(fields: Mapping[str, Any]) -> list[str]:
    """Return fields about tools that say nothing, because the request wants no call of one."""
    off = "none" in (fields.get("tool_choice"), fields.get("function_call"))
    return [name for name in ("tools", "functions", "parallel_tool_calls") if off and name in fields]


def table() -> str:
    """Return the table of the documentation, in Markdown."""
    lines = ["| field | over a server | on `--model` |", "| --- | --- | --- |"]
    for name, field in FIELDS.items():
        note = f": {field.note}" if field.note else ""
        lines.append(f"| `{name}` | {field.treatment}{note} | {field.local} |")
    return "\n".join(lines)
