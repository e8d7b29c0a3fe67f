"""The first screen as plain HTML, shown for the seconds that a browser needs for the page's own scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import vl_convert

from ws.app.views.token_html import escaped
from ws.reporting.charts.compiled import CompiledChart

__all__ = ["first_paint_html"]

# elements that are nothing before marimo's scripts run; a callout is a message, which a reader must not miss
SIDEBAR, CALLOUT = "<marimo-sidebar", "<marimo-callout-output"
CONTROL = re.compile(r"<(marimo-[a-z-]+)\b.*?</\1>", re.DOTALL)
# it goes when the page itself has come as far, or to let a message of marimo's be seen
LEAVE = """<script>(() => {
  const here = document.getElementById("ws-glance"), root = document.getElementById("root");
  if (matchMedia("(prefers-color-scheme: dark)").matches) document.body.classList.add("dark", "dark-theme");
  const watch = new MutationObserver(() => root.querySelector(".ws-tiles") && root.querySelector(".marks") && leave());
  const leave = () => {
    watch.disconnect();
    here.remove();
    if (document.body.dataset.theme !== "dark") document.body.classList.remove("dark", "dark-theme");
  };
  watch.observe(root, {childList: true, subtree: true});
  setTimeout(leave, 20000);
})()</script>"""


def first_paint_html(outputs: Iterable[Any], asked: str) -> str:
    """A notebook's outputs up to its first picture, that as SVG; its controls are left out, the prompt's says `asked`.

    The outputs must be safe HTML already, as the page shows them. Empty without a picture, or with a message before it.
    """
    shown, prompt = [], f'<div class="ws-asked">prompt<br>{escaped(asked)}</div>'
    for output in outputs:
        if isinstance(output, CompiledChart):
            shown.append(f"<figure>{vl_convert.vega_to_svg(output.spec)}</figure>")
            return _page("".join(f"<section>{html}</section>" for html in shown))
        html = str(getattr(output, "text", ""))
        if CALLOUT in html:
            return ""
        if html and not html.startswith(SIDEBAR):
            shown.append(CONTROL.sub(lambda control: prompt if "<marimo-dropdown" in control.group() else "", html))
    return ""


def _page(inside: str) -> str:
    waiting = "<b>Settings</b><div class='ws-note'>The stored run; its sliders are on their way.</div>"
    return f'<div id="ws-glance"><aside>{waiting}</aside><main>{inside}</main></div>{LEAVE}'
