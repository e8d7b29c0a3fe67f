"""A viewer without a browser: marimo's page, its socket, and what a page sends, or what anybody could.

with Viewer(url, c="1") as viewer:
    viewer.settle()
    viewer.send(viewer.control("seed"), 3)
    viewer.settle()
    assert "seed" in viewer.text()
"""

from __future__ import annotations

import contextlib
import html
import json
import random
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

TOKEN = re.compile(r'<marimo-server-token data-token="([^"]*)"')
CONTROL = re.compile(r"object-id='([^']+)' random-id='[^']+'>(.*?)</marimo-ui-element>", re.S)
LABEL = re.compile(r"data-label='([^']*)'")


class Viewer:
    """One session. outputs: of every cell, as last sent; errors: outputs that are marimo's own error; link: the
    settings that the page wrote into its address."""

    def __init__(self, url: str, **settings: str) -> None:
        self.url, self.outputs, self.errors = url, dict[str, str](), list[str]()
        self.link: dict[str, Any] = dict(settings)
        self.session = f"s_{random.getrandbits(40):x}"
        query = urllib.parse.urlencode(settings)
        with urllib.request.urlopen(f"{url}/?{query}" if query else url, timeout=120) as answer:
            page = answer.read().decode()
        found = TOKEN.search(page)
        assert answer.status == 200 and found, f"{answer.status}: {page[:300]}"
        self.token = html.unescape(found[1])
        place = f"{url.replace('http', 'ws', 1)}/ws?session_id={self.session}" + (f"&{query}" if query else "")
        self._open = contextlib.ExitStack()
        self.socket = self._open.enter_context(connect(place, max_size=None, max_queue=None, ping_interval=None))

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def settle(self, seconds: float = 120) -> None:
        """Read until cells have run and nothing has come for a while: the last charts follow two seconds later."""
        end, ran = time.monotonic() + seconds, False
        while time.monotonic() < end:
            try:
                message = self.socket.recv(timeout=3 if ran else 1)
            except TimeoutError:
                if ran:
                    return
                continue
            except ConnectionClosed as error:
                raise AssertionError(f"the server closed the page: {error}") from error
            ran = self._read(json.loads(message)) or ran
        raise AssertionError(f"not settled within {seconds} s")

    def shows(self, part: str, seconds: float = 120) -> None:
        """Read until something that is sent from now on has a text in it."""
        self.outputs = {cell: shown for cell, shown in self.outputs.items() if part not in html.unescape(shown)}
        end = time.monotonic() + seconds
        while part not in self.text():
            assert time.monotonic() < end, f"not shown within {seconds} s: {part}"
            with contextlib.suppress(TimeoutError):
                self._read(json.loads(self.socket.recv(timeout=1)))

    def _read(self, message: dict[str, Any]) -> bool:
        """Note a message; whether it says that a run of cells is complete."""
        data = message.get("data") or {}
        if str(message.get("op")).startswith("query-params"):
            self.link[data.get("key", "")] = data.get("value")
        output = data.get("output") if message.get("op") == "cell-op" else None
        if output:
            shown = output["data"] if isinstance(output["data"], str) else json.dumps(output["data"])
            self.outputs[data["cell_id"]] = shown
            if output["mimetype"].endswith("error") and "ancestor-stopped" not in shown:
                self.errors.append(shown)
        return bool(message.get("op") == "completed-run")

    def text(self) -> str:
        """All that is shown, as one HTML; attributes are read."""
        return html.unescape("\n".join(self.outputs.values()))

    def controls(self) -> dict[str, str]:
        """Label -> id of the controls that are shown."""
        found = {}
        for shown in self.outputs.values():
            for name, inside in CONTROL.findall(shown):
                label = LABEL.search(inside)
                words = json.loads(html.unescape(label[1])) if label else None
                if words:
                    found[re.sub(r"<[^>]*>", "", words).strip()] = name
        return found

    def send(self, control: str, value: Any) -> None:
        """A value for a control, by its id; any JSON."""
        self.send_all({control: value})

    def send_all(self, values: Mapping[str, Any]) -> None:
        """Values for controls, in one request."""
        body = json.dumps({"objectIds": list(values), "values": list(values.values())}).encode()
        headers = {"Marimo-Session-Id": self.session, "Marimo-Server-Token": self.token,
                   "content-type": "application/json"}  # fmt: skip
        place = f"{self.url}/api/kernel/set_ui_element_value"
        with urllib.request.urlopen(urllib.request.Request(place, body, headers), timeout=60) as answer:
            assert answer.status == 200
