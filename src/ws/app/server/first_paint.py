"""Middleware that puts the first screen into the server's answer, to be read before the page's scripts have started.

marimo's own page needs two to three seconds until its socket opens, and its first cells nearly two more
(bench/README.md).
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["FirstPaint"]

ROOT = b'<div id="root"></div>'  # where marimo's page will be


class FirstPaint:
    """ASGI middleware: `html` behind the empty root of the page at /, where the address has no settings of its own."""

    def __init__(self, app: ASGIApp, html: str) -> None:
        self.app = app
        self.html = html.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and (scope["method"], scope["path"], scope["query_string"]) == ("GET", "/", b"")
        await self.app(scope, receive, self._adding(send) if asked and self.html else send)

    def _adding(self, send: Send) -> Send:
        held: list[Message] = []

        async def with_first_paint(message: Message) -> None:
            """Whole pages wait for their end, since the start says their length; other answers pass."""
            held.append(message)
            if held[0].get("status") != 200 or message["type"] not in ("http.response.start", "http.response.body"):
                await send(held.pop())
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                for part in self._with_first_paint(held):
                    await send(part)

        return with_first_paint

    def _with_first_paint(self, held: list[Message]) -> list[Message]:
        """The messages of one answer; marimo's own tag for a browser's cache says nothing about a first screen."""
        start, body = held[0], b"".join(message.get("body", b"") for message in held[1:])
        if ROOT not in body:
            return held
        whole = body.replace(ROOT, ROOT + self.html, 1)
        kept = [pair for pair in start.get("headers", []) if pair[0].lower() not in (b"content-length", b"etag")]
        headers = [*kept, (b"content-length", str(len(whole)).encode())]
        return [{**start, "headers": headers}, {"type": "http.response.body", "body": whole}]
