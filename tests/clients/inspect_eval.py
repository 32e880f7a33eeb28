"""Inspect over its provider for OpenAI-compatible servers."""

import asyncio
import json
import os
import sys

from inspect_ai.model import ContentReasoning, ContentText, GenerateConfig, get_model

base, question = sys.argv[1:]
os.environ |= {"POCKET_API_KEY": "any", "POCKET_BASE_URL": f"{base}/v1"}


async def main() -> None:
    """Ask once."""
    model = get_model("openai-api/pocket/pocket", config=GenerateConfig(seed=1, max_tokens=4096, max_retries=0))
    made = await model.generate(question)
    content = made.choices[0].message.content
    parts = [ContentText(text=content)] if isinstance(content, str) else content
    print(json.dumps({
        "thinking": "".join(part.reasoning for part in parts if isinstance(part, ContentReasoning)),
        "answer": "".join(part.text for part in parts if isinstance(part, ContentText)),
        "reasoning_tokens": made.usage.reasoning_tokens,
    }))  # fmt: skip


asyncio.run(main())
