"""LangChain's client for OpenAI."""

import json
import sys

from langchain_openai import ChatOpenAI

base, question = sys.argv[1:]
model = ChatOpenAI(base_url=f"{base}/v1", api_key="any", model="pocket", seed=1, max_retries=0, stream_usage=True)
whole = model.invoke(question)
answer = ""
for piece in model.stream(question):
    answer += str(piece.content)
stream = model.stream(question)
next(stream)
stream.close()
usage = whole.usage_metadata
print(json.dumps({
    "thinking": None,  # the client drops fields that it does not know
    "answer": whole.content, "streamed": [None, answer], "reasoning_tokens": usage["output_token_details"]["reasoning"],
}))  # fmt: skip
