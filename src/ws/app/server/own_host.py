"""Middleware that answers only who asks for this app by its own address: no other site can reach it through a browser.

A page of another site may send a browser to http://127.0.0.1:2718, by a name that it lets point here (DNS rebinding) or
over a websocket, which no same-origin rule stops. An app that asks for no password takes only requests whose Host names
this machine. Any app takes only websockets, and requests that change something, whose Origin is the Host that they ask
for; a program that is no browser sends none.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ws.app.access import is_loopback

__all__ = ["OwnHost", "refusal"]

READING = ("GET", "HEAD")
FORBIDDEN = 403
CLOSED = 1008  # a websocket's "policy violation"


class OwnHost:
    """ASGI middleware: 403, or a refused websocket, for what `refusal` names. local: no password is asked for."""

    def __init__(self, app: ASGIApp, local: bool) -> None:
        self.app, self.local = app, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        told = refusal(headers, local=self.local, reading=scope.get("method") in READING)
        if told is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(told, FORBIDDEN)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": CLOSED, "reason": "another host"})


def refusal(headers: Mapping[str, str], *, local: bool, reading: bool) -> str | None:
    """Why a request is not answered; None where it is. headers: names in lower case; reading: it changes nothing."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if local and not is_loopback(_name(host)):
        return (
            f"This app answers on this machine's own address only, not as {ascii(host)[1:-1]}. Open the address that "
            "its terminal printed, or share it: ws app --share."
        )
    asked = {host, headers.get("x-forwarded-host", host)}  # a proxy in front may ask under a name of its own
    if origin is not None and not reading and _split(origin).netloc not in asked:
        return f"A page of {ascii(origin)[1:-1]} asked for this app. Open the app itself."
    return None


def _name(host: str) -> str:
    """A Host header without its port."""
    return _split(f"//{host}").hostname or ""


def _split(address: str) -> SplitResult:
    """An address in its parts; empty ones where it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
