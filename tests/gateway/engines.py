"""A scripted engine that the gateway can serve."""

from typing import Any

from satisfice.engines.scripted import SCRIPTED, ScriptedEngine


class Served(ScriptedEngine):
    """Names the speaker of a question too."""

    def render(self, question: str) -> str:
        return f"[user]{super().render(question)}"


def scripted(script: Any, **options: Any) -> Served:
    return Served(script, **options)


__all__ = ["SCRIPTED", "Served", "scripted"]
