"""The page with live figures: one file, nothing from elsewhere."""

from functools import cache
from importlib.resources import files

from starlette.responses import HTMLResponse

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


@cache
def _text() -> str:
    return files("satisfice.gateway").joinpath("page.html").read_text("utf-8")


def page() -> HTMLResponse:
    """Return the page."""
    return HTMLResponse(_text(), headers={"content-security-policy": POLICY, "x-frame-options": "SAMEORIGIN"})
