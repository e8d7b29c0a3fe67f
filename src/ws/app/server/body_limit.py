"""Middleware that takes no request larger than any that a page sends: a body is held in memory before it is read."""

from __future__ import annotations

import anyio
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LARGEST", "BodyLimit"]

LARGEST = 4_000_000  # bytes; what is typed is bounded, and all controls of a page together are under 0.1 MB
TOO_LARGE = 413
MOST_DROPPED = 16 * LARGEST  # bytes, and PATIENCE seconds: whoever sends more than that is cut off
PATIENCE = 10.0


class BodyLimit:
    """ASGI middleware: 413 for a body of more than `largest` bytes, said or sent."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST) -> None:
        self.app, self.largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"")
        if said and not (said.isdigit() and int(said) <= self.largest):
            await self._refuse(scope, receive, send)
        elif said or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)  # the server itself sees to it that no more comes than was said
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A body of unsaid length is read here first."""
        held: list[Message] = []
        size, more = 0, True
        while more and size <= self.largest:
            held.append(await receive())
            size += len(held[-1].get("body", b""))
            more = bool(held[-1].get("more_body"))
        if size > self.largest:
            await self._refuse(scope, receive, send, more)
            return

        async def again() -> Message:
            return held.pop(0) if held else await receive()

        await self.app(scope, again, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, more: bool = True) -> None:
        if more:
            await self._dropped(receive)
        words = f"A request may have {self.largest} bytes. Send less."
        await PlainTextResponse(words, TOO_LARGE, {"connection": "close"})(scope, receive, send)

    async def _dropped(self, receive: Receive) -> None:
        """What is on its way is read and forgotten: a connection closed with bytes unread loses the answer, too."""
        more, dropped = True, 0
        with anyio.move_on_after(PATIENCE):
            while more and dropped <= MOST_DROPPED:
                message = await receive()
                dropped += len(message.get("body", b""))
                more = bool(message.get("more_body"))
