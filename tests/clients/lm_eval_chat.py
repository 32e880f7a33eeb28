"""The evaluation harness over its models for chat and for completions, batches included."""

import json
import sys

from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

base, question = sys.argv[1:]
common = {"model": "pocket", "tokenizer_backend": None, "max_retries": 1, "num_concurrent": 1}
chat = LocalChatCompletion(base_url=f"{base}/v1/chat/completions", **common)
wanted = {"until": ["\n\n"], "max_gen_toks": 4096, "temperature": 0}


def asked(text: str, number: int) -> Instance:
    """One request to generate."""
    return Instance(request_type="generate_until", doc={}, arguments=(text, dict(wanted)), idx=number)


[answer] = chat.generate_until([asked(chat.apply_chat_template([{"role": "user", "content": question}]), 0)])
text = LocalCompletionsAPI(base_url=f"{base}/v1/completions", batch_size=4, **common)
prompt = f"<|user|>{question}<|assistant|><think>"
batch = text.generate_until([asked(prompt, number) for number in range(4)])
print(json.dumps({"thinking": None, "answer": answer, "batch": batch}))
