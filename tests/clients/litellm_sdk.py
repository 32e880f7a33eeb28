"""LiteLLM's library, as most agents use it."""

import json
import sys

import litellm

base, question = sys.argv[1:]
litellm.suppress_debug_info = True
asked = {
    "model": "openai/pocket", "api_base": f"{base}/v1", "api_key": "any", "num_retries": 0,
    "messages": [{"role": "user", "content": question}],
}  # fmt: skip
whole = litellm.completion(**asked, seed=1)
thinking, answer = "", ""
for chunk in litellm.completion(**asked, seed=1, stream=True):
    delta = chunk.choices[0].delta
    thinking += getattr(delta, "reasoning_content", None) or ""
    answer += delta.content or ""
stream = litellm.completion(**asked, stream=True)
next(iter(stream))
stream.completion_stream.close()
overflow = ""
try:
    litellm.completion(**{**asked, "messages": [{"role": "user", "content": "1 " * 5000}]})
except litellm.ContextWindowExceededError:
    overflow = "known"
message = whole.choices[0].message
print(json.dumps({
    "thinking": message.reasoning_content, "answer": message.content, "streamed": [thinking, answer],
    "reasoning_tokens": whole.usage.completion_tokens_details.reasoning_tokens, "overflow": overflow,
}))  # fmt: skip
