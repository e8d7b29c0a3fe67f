"""The first screen in the very answer to a new viewer, before the page's scripts have come to life.

marimo's own page needs two to three seconds until its socket opens, and its first cells nearly two more
(bench/README.md).
"""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Glance"]

ROOT = b'<div id="root"></div>'  # where marimo's page will be


class Glance:
    """ASGI middleware: `html` behind the empty root of the page at /, where the address has no settings of its own."""

    def __init__(self, app: ASGIApp, html: str) -> None:
        self.app = app
        self.html = html.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and (scope["method"], scope["path"], scope["query_string"]) == ("GET", "/", b"")
        await self.app(scope, receive, self._adding(send) if asked and self.html else send)

    def _adding(self, send: Send) -> Send:
        started: dict[str, Any] = {}
        body = bytearray()

        async def with_glance(message: Message) -> None:
            """The start waits for the whole body, whose length it says."""
            if message["type"] == "http.response.start":
                started.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                whole = bytes(body).replace(ROOT, ROOT + self.html, 1)
                kept = [pair for pair in started["headers"] if pair[0].lower() != b"content-length"]
                await send({**started, "headers": [*kept, (b"content-length", str(len(whole)).encode())]})
                await send({"type": "http.response.body", "body": whole})

        return with_glance
