"""An agent of PydanticAI."""

import asyncio
import json
import sys

from pydantic_ai import Agent, ThinkingPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

base, question = sys.argv[1:]
model = OpenAIChatModel("pocket", provider=OpenAIProvider(base_url=f"{base}/v1", api_key="any"))
agent = Agent(model, model_settings={"seed": 1})


async def main() -> None:
    """Ask once whole, once in pieces, and once leave."""
    whole = await agent.run(question)
    async with agent.run_stream(question) as streamed:
        answer = await streamed.get_output()
        parts = [part for message in streamed.all_messages() for part in message.parts]
        seen = "".join(part.content for part in parts if isinstance(part, ThinkingPart))
    async with agent.run_stream(question) as left:
        async for _ in left.stream_text():
            break
    thinking = [part.content for message in whole.all_messages() for part in message.parts
                if isinstance(part, ThinkingPart)]  # fmt: skip
    usage = whole.usage() if callable(whole.usage) else whole.usage
    print(json.dumps({
        "thinking": "".join(thinking), "answer": whole.output, "streamed": [seen, answer],
        "reasoning_tokens": usage.details.get("reasoning_tokens"),
    }))  # fmt: skip


asyncio.run(main())
