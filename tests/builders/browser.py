"""A headless Chromium over its own DevTools protocol, without a driver; and the app's server.

with serving(["--", "--out", str(tmp)]) as url, Browser() as page:
    page.open(url); page.wait("document.querySelector('.ws-tiles')")
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from websockets.sync.client import connect

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-port=0",
    # viewers sit each before a page of their own: a tab behind others must not have its timers slowed or stopped
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
)  # fmt: skip
# marimo's own console error, when its sidebar is drawn again while it is being mounted
OWN = "handleFillUpdated"


class Browser:
    """One page of a new profile. Console errors and requests are collected from the start."""

    def __init__(self, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self.size, self.dark = (width, height), dark
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._number = 0
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Browser:
        assert CHROMIUM is not None
        self.profile = tempfile.mkdtemp()
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={self.profile}", f"--window-size={self.size[0]},{self.size[1]}"]
        self.process = subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = Path(self.profile) / "DevToolsActivePort"
        until(lambda: port_file.exists() and "\n" in port_file.read_text(), 60, "the browser did not start")
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            target = next(t for t in json.load(answer) if t["type"] == "page")
        # without pings: a page whose events nobody reads for a while is not gone
        socket = connect(target["webSocketDebuggerUrl"], max_size=None, ping_interval=None)
        self.socket = self._open.enter_context(socket)
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}])  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; events that arrive meanwhile are noted."""
        self._number += 1
        self.socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=120))
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        name, params = event.get("method"), event.get("params", {})
        if OWN in json.dumps(params):
            return
        if name == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:800])
        elif name == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"])[:800])
        elif name == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}"[:800])
        elif name in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            self.requests.append(params.get("url") or params["request"]["url"])

    def open(self, url: str) -> None:
        """Go there; what is asked afterwards is asked of the new page and not of the old one, nor of its glance."""
        self.js("window.wsOld = true")
        self.call("Page.navigate", url=url)
        there = "!window.wsOld && document.readyState === 'complete' && !document.getElementById('ws-glance')"
        until(lambda: self.js(there), 60, f"{url} did not load")

    def js(self, code: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"])[:500])
        return found["result"].get("value")

    def wait(self, code: str, seconds: float = 60) -> Any:
        """Until an expression is true. AssertionError names it, and what the page shows, when it stays false."""
        try:
            return until(lambda: self.js(f"!!({code})"), seconds, f"never true in the page: {code}")
        except AssertionError as error:
            raise AssertionError(f"{error}; errors {self.errors}; it shows {self.text()[:1500]!r}") from None

    def text(self) -> str:
        """All visible text, shadow roots of marimo's widgets included."""
        return str(self.js(f"({WALK})(document.body)"))

    def wait_text(self, part: str, seconds: float = 60) -> str:
        until(lambda: part in self.text(), seconds, f"never on the page: {part}")
        return self.text()

    def key(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def click(self, element: str) -> None:
        """A real click on the middle of an element, given as an expression; it is scrolled into view first.

        A page moves while it is drawn: a press that something else got is made again, for half a minute.
        """
        until(lambda: self._pressed(element), 30, f"never under the pointer: {element}")

    def _pressed(self, element: str) -> bool:
        note = f"event => window.wsPressed = event.composedPath().includes({element}), {{capture: true, once: true}}"
        self.js(f"window.wsPressed = false; document.addEventListener('pointerdown', {note})")
        self.click_at(*self.middle(element))
        return bool(self.js("window.wsPressed"))

    def middle(self, element: str) -> tuple[float, float]:
        """Where the middle of an element is, in pixels of the window, once it is scrolled into view."""
        self.js(f"({element}).scrollIntoView({{block: 'center'}})")
        box = self.js(f"({element}).getBoundingClientRect().toJSON()")
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def move_to(self, element: str) -> None:
        x, y = self.middle(element)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click_at(self, x: float, y: float) -> None:
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, height: int | None = None) -> Path:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=bool(height))
        path.write_bytes(base64.b64decode(shot["data"]))
        return path


WALK = """function walk(node) {
  if (node.nodeType === 3) return node.textContent;
  if (["SCRIPT", "STYLE"].includes(node.nodeName)) return "";
  let out = node.shadowRoot ? walk(node.shadowRoot) : "";
  for (const child of node.childNodes) out += walk(child);
  return out + (/^(DIV|P|TR|LI|H[1-6]|SUMMARY)$/.test(node.nodeName) ? "\\n" : "");
}"""

# every element that a selector finds, shadow roots included
DEEP = """function deep(selector, root = document) {
  let found = [...root.querySelectorAll(selector)];
  for (const e of root.querySelectorAll("*")) if (e.shadowRoot) found = found.concat(deep(selector, e.shadowRoot));
  return found;
}"""


# whether the first element of a selector is drawn and not hidden
IN_SIGHT = "document.querySelector('%s')?.checkVisibility({visibilityProperty: true, opacityProperty: true})"


def until(ready: Any, seconds: float, message: str) -> Any:
    end = time.monotonic() + seconds
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(message)
        time.sleep(0.05)


def slide(page: Browser, label: str, steps: int) -> None:
    """Move a slider with the arrow keys."""
    found = page.js(f"""(() => {{
      const host = ({DEEP})('marimo-slider').find(e => (e.dataset.label || '').includes({json.dumps(label)}));
      const thumb = ({DEEP})('[role=slider]', host.shadowRoot || host)[0]; thumb.focus(); return true; }})()""")
    assert found
    name, code = ("ArrowRight", 39) if steps > 0 else ("ArrowLeft", 37)
    for _ in range(abs(steps)):
        page.key(name, code)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def serving(
    args: list[str], notebook: str = "gates", log: Path | None = None, options: Sequence[str] = (), cwd: Path = ROOT
) -> Iterator[str]:
    """`marimo run` of a notebook on loopback; its address. options: marimo's own. It is ended on the way out."""
    port = free_port()
    place = str(ROOT / "nbs" / f"{notebook}.py")
    command = [sys.executable, "-m", "ws.app.server.main", "run", place, "--headless", "--port", str(port)]
    command += ["--show-tracebacks", *options, "--", *args]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with open(log or os.devnull, "w") as out:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: _answers(url), 200, "the server did not start")
            yield url
        finally:
            process.terminate()
            process.wait(30)


def server_of(url: str) -> psutil.Process:
    """The app's server process, by its port."""
    port = url.rsplit(":", 1)[1]
    return next(
        p for p in psutil.process_iter(["cmdline"]) if {port, "ws.app.server.main"} <= set(p.info["cmdline"] or [])
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
