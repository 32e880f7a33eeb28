"""A scripted engine that the gateway can serve."""

from typing import Any

from satisfice.engines.scripted import SCRIPTED, ScriptedEngine, ScriptedSequence


class Served(ScriptedEngine):
    """Speaks conversations and prompts as the real engines do."""

    model_name = "scripted"

    def render(self, question: str) -> str:
        return self.render_chat([{"role": "user", "content": question}])

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        return "".join(f"[{m['role']}]{m['content']}" for m in messages) + self.profile.think_open

    def open_prompt(self, prompt: str, label: str) -> ScriptedSequence:
        return ScriptedSequence(self, self.encode(prompt))


def scripted(script: Any, **options: Any) -> Served:
    return Served(script, **options)


__all__ = ["SCRIPTED", "Served", "scripted"]
