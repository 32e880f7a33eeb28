"""An OpenAI-compatible server that stops reasoning models when they have thought enough.

`create_app` makes the ASGI application; `satisfice serve` runs it.
"""

from satisfice.gateway.settings import Limits, Settings

__all__ = ["Limits", "Settings"]
