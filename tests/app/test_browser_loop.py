"""The pages of stored runs (nbs/compare.py, nbs/loop.py) in a headless Chromium: choosing, links, hostile runs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import polars as pl
import pytest

from tests.builders.browser import CHROMIUM, DEEP, Browser, serving, until
from tests.builders.hostile import ATTACK, poison
from tests.builders.records import record_changes
from ws.experiment.examples import EXAMPLE_ROUNDS
from ws.files import read_frame, read_json, write_frame, write_json
from ws.reporting.leaderboard import arms_table, points_frame
from ws.runs.reader import finished_runs, open_run
from ws.runs.round_tables import diary_frame
from ws.runs.whole import read_status

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: THE PAGES ARE NOT TESTED (apt-get install chromium)"),
]

FIRST, SECOND = "20260101T000000Z-first", "20260102T000000Z-second"
EVIL = "20260103T000000Z-<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: the example, and one of two rounds with another beta, whose healed models moved further."""
    runs = tmp_path_factory.mktemp("pages") / "out" / "runs"
    for name in (FIRST, SECOND):
        shutil.copytree(EXAMPLE_ROUNDS, runs / name)
    shutil.rmtree(runs / SECOND / "rounds/2")
    for folder in (runs / SECOND / "rounds").iterdir():
        heal = read_json(folder / "heal.json")
        heal["meta"]["config"]["beta"] = 9.0
        write_json(folder / "heal.json", heal)
        arms, healed = read_frame(folder / "arms.parquet"), pl.col("arm") == "healed"
        shifts = [f"d_target{end}" for end in ("", "_low", "_high")]
        moved = [pl.when(healed).then(pl.col(name) + 0.6).otherwise(name).alias(name) for name in shifts]
        write_frame(folder / "arms.parquet", arms.with_columns(moved))
    stages = {name: stage for name, stage in read_status(runs / SECOND)["stages"].items() if not name.startswith("2/")}
    record_changes(runs / SECOND, best_round=0, started="2026-01-02T00:00:00Z", stages=stages)
    return runs.parent


@pytest.fixture(scope="module")
def hostile_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of which one is an attack: its texts, its name, and the settings that name its arms."""
    out = tmp_path_factory.mktemp("hostile") / "out"
    run = poison(EXAMPLE_ROUNDS, out / "runs" / EVIL)
    for file in run.path.glob("rounds/*/heal.json"):
        heal = read_json(file)
        heal["meta"]["config"]["adapter"] = ATTACK
        write_json(file, heal)
    record_changes(run.path)
    return out


@pytest.fixture(scope="module")
def arms(out: Path) -> pl.DataFrame:
    return arms_table(points_frame(finished_runs(out)[0]))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(height=2400) as page:
        yield page


@pytest.fixture(scope="module")
def compare_url(out: Path) -> Iterator[str]:
    with serving(["--out", str(out)], notebook="compare") as address:
        yield address


@pytest.fixture(scope="module")
def loop_url(out: Path) -> Iterator[str]:
    with serving(["--out", str(out)], notebook="loop") as address:
        yield address


def opened(page: Browser, url: str, **settings: str) -> Browser:
    page.open("about:blank")
    page.errors.clear()
    page.requests.clear()
    page.open(f"{url}/?{urlencode(settings)}" if settings else url)
    return page


def compare_page(page: Browser, url: str, **settings: str) -> Browser:
    """The whole page of arms: it has written its settings into its address, which is the last thing that it does."""
    opened(page, url, **settings)
    page.wait(f"({DEEP})('svg.marks .mark-symbol.role-mark path').length > 0", 120)
    page.wait(f"({DEEP})('table').length >= 4 && {RUNS}", 120)
    page.wait("location.search.includes('at=')", 60)
    return page


def loop_page(page: Browser, url: str, **settings: str) -> Browser:
    opened(page, url, **settings)
    page.wait(f"({DEEP})('svg.marks').length >= 3", 120)
    page.wait(f"({DEEP})('table').length >= 2", 120)
    page.wait("location.search.includes('prompt=')", 60)
    return page


def clean(page: Browser) -> None:
    """No console error, and nothing was asked of another machine (the page before may still ask for its icon)."""
    assert page.errors == []
    own = ("data:", "blob:", "http://127.0.0.1:", "ws://127.0.0.1:")
    assert page.requests and [r for r in page.requests if not r.startswith(own)] == []


def setting(page: Browser, name: str) -> str:
    return parse_qs(urlsplit(page.js("location.href")).query).get(name, [""])[0]


def selects(part: str) -> str:
    """The drop-down one of whose choices holds a text."""
    return f"({DEEP})('select').find(s => [...s.options].some(o => o.textContent.includes({json.dumps(part)})))"


RUNS = selects("T000000Z-")


def choose(page: Browser, part: str) -> None:
    """Choose what holds a text in the drop-down that offers it."""
    page.js(f"""(() => {{
      const s = {selects(part)}, o = [...s.options].find(o => o.textContent.includes({json.dumps(part)}));
      Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value').set.call(s, o.value);
      s.dispatchEvent(new Event('change', {{bubbles: true}})); }})()""")


def shown_run(page: Browser) -> str:
    return str(page.js(f"(s => s.options[s.selectedIndex].textContent)({RUNS})"))


DOTS = f"({DEEP})('svg.marks .mark-symbol.role-mark path')"


def dot(arm: str) -> str:
    return f"{DOTS}.find(e => e.__data__.datum.arm === {json.dumps(arm)})"


def large(page: Browser) -> list[str]:
    """The arms whose points are drawn large and whole."""
    code = f"{DOTS}.filter(e => e.__data__.size > 100 && e.__data__.opacity === 1).map(e => e.__data__.datum.arm)"
    return sorted(set(page.js(code)))


def row(label: str) -> str:
    """The row of an arm in the table of arms."""
    arms_table = f"({DEEP})('table').find(t => t.innerText.includes('shift'))"
    return f"[...{arms_table}.querySelectorAll('tbody tr')].find(r => r.innerText.includes({json.dumps(label)}))"


def ticked(page: Browser, label: str) -> bool:
    return bool(page.js(f"{row(label)}.querySelector('[role=checkbox]').getAttribute('aria-checked') === 'true'"))


def settled(page: Browser, arm: dict[str, Any]) -> None:
    """One arm is chosen, in the chart, in the table, in the address; and the page has come to rest."""
    until(lambda: large(page) == [arm["arm"]], 60, f"the chart does not show {arm['label']}")
    until(lambda: ticked(page, arm["label"]), 60, f"the table does not show {arm['label']}")
    until(lambda: setting(page, "arm") == arm["arm"], 60, "the address does not name the arm")
    until(lambda: shown_run(page) in arm["runs"], 60, "the run is none of the arm's")
    page.js(f"({DEEP})('svg.marks').forEach(e => e.wsSeen = true)")
    time.sleep(1)
    assert page.js(f"({DEEP})('svg.marks').every(e => e.wsSeen)"), "the chart is drawn again and again"
    assert large(page) == [arm["arm"]]


def healed(arms: pl.DataFrame, run: str, round: int = 1) -> dict[str, Any]:
    """The healed arm of that round that stands on one run alone."""
    named = f"round {round}"
    return next(
        a for a in arms.rows(named=True) if a["runs"] == [run] and a["kind"] == "healed" and named in a["label"]
    )


# Arms compared


def test_the_page_of_arms_is_complete(browser: Browser, compare_url: str, arms: pl.DataFrame) -> None:
    page = compare_page(browser, compare_url)
    text = page.text()
    for part in ("The arms", "At equal shift", "The runs behind the selected arm", "not ranked", *arms["label"]):
        assert part in text, part
    settled(page, arms.row(0, named=True))
    clean(page)


def test_a_click_in_the_chart_opens_the_runs_behind_it(browser: Browser, compare_url: str, arms: pl.DataFrame) -> None:
    page = compare_page(browser, compare_url)
    for run in (SECOND, FIRST):
        wanted = healed(arms, run)
        page.click(dot(wanted["arm"]))
        settled(page, wanted)
        assert shown_run(page) == run == setting(page, "run")
    # the same point again, and then a click beside the points, which empties the chart's selection: the arm stays
    page.click(dot(wanted["arm"]))
    time.sleep(0.5)
    page.js(f"({DEEP})('svg.marks')[0].scrollIntoView({{block: 'center'}})")
    box = page.js(f"({DEEP})('svg.marks .background')[0].getBoundingClientRect().toJSON()")
    page.click_at(box["x"] + 4, box["y"] + 4)
    time.sleep(0.5)
    settled(page, wanted)
    clean(page)


def test_the_last_one_used_wins(browser: Browser, compare_url: str, arms: pl.DataFrame) -> None:
    page = compare_page(browser, compare_url)
    first, second, third = healed(arms, FIRST), healed(arms, SECOND), healed(arms, SECOND, 0)
    page.click(dot(first["arm"]))
    settled(page, first)
    page.click(f"{row(second['label'])}.querySelector('[role=checkbox]')")
    settled(page, second)
    page.click(dot(third["arm"]))
    settled(page, third)
    # the selected row cannot be taken back: an arm is always shown
    page.click(f"{row(third['label'])}.querySelector('[role=checkbox]')")
    time.sleep(0.5)
    settled(page, third)
    clean(page)


def test_a_link_restores_the_page_of_arms(browser: Browser, compare_url: str, arms: pl.DataFrame) -> None:
    page = compare_page(browser, compare_url)
    wanted = next(a for a in arms.rows(named=True) if a["kind"] == "steered")
    page.click(dot(wanted["arm"]))
    settled(page, wanted)
    shift = setting(page, "at")
    page.js(f"({DEEP})('[role=slider]')[0].focus()")
    for _ in range(7):
        page.key("ArrowRight", 39)
    moved = lambda: (at := setting(page, "at")) not in (shift, "") and at in page.text()  # noqa: E731
    until(moved, 60, "the shift is not in the address and on the page")
    address = page.js("location.href")
    page.open("about:blank")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert set(asked) == {"instrument", "arm", "at", "run"}
    compare_page(page, compare_url, **asked)
    settled(page, wanted)
    assert {name: setting(page, name) for name in asked} == asked
    assert page.js(f"({DEEP})('[role=slider]')[0].getAttribute('aria-valuetext') || true")


@pytest.mark.parametrize("value", ["../../../etc", "<img src=x onerror=alert(1)>", "nan"])
def test_a_hostile_link_opens_the_page_of_arms(
    browser: Browser, compare_url: str, arms: pl.DataFrame, value: str
) -> None:
    page = compare_page(browser, compare_url, instrument=value, arm=value, at=value, run=value)
    settled(page, arms.row(0, named=True))
    page.wait_text("which is not here")
    assert page.js(f"({DEEP})('img[src=x]').length") == 0
    clean(page)


# A run of several rounds


def test_the_page_of_rounds_is_complete_and_another_run_changes_it(browser: Browser, loop_url: str) -> None:
    page = loop_page(browser, loop_url)
    assert shown_run(page).startswith(SECOND)  # the newest
    before = page.text()
    for part in ("Gate 4 loop", "The zigzag", "The map", "What to watch", "Diary", "healed, round 1"):
        assert part in before, part
    assert "healed, round 2" not in before
    choose(page, FIRST)
    page.wait_text("healed, round 2")
    until(lambda: setting(page, "run") == FIRST, 60, "the address does not name the run")
    clean(page)


def answers(page: Browser, prompt: str) -> bool:
    """Whether the diary holds what the shipped run's models say to a prompt, all of it."""
    shown = "".join(str(page.js(f"({DEEP})('table').at(-1).textContent")).split())
    told = diary_frame(open_run(EXAMPLE_ROUNDS)).filter(pl.col("prompt") == prompt)
    return told.height > 3 and all("".join(text.split()) in shown for text in told["text"])


def test_a_link_restores_the_page_of_rounds(browser: Browser, loop_url: str) -> None:
    page = loop_page(browser, loop_url)
    prompts = [str(p) for p in page.js(f"[...{selects('?')}.options].map(o => o.textContent)")]
    choose(page, FIRST)
    page.wait_text("healed, round 2")
    choose(page, prompts[2])
    until(lambda: setting(page, "prompt") == prompts[2], 60, "the address does not name the prompt")
    until(lambda: answers(page, prompts[2]), 60, "the diary does not follow the prompt")
    page.open("about:blank")
    loop_page(page, loop_url, run=FIRST, prompt=prompts[2])
    assert shown_run(page).startswith(FIRST)
    until(lambda: answers(page, prompts[2]), 60, "the diary is another one")
    clean(page)


@pytest.mark.parametrize("value", ["../../../etc", "<img src=x onerror=alert(1)>", "/"])
def test_a_hostile_link_opens_the_page_of_rounds(browser: Browser, loop_url: str, value: str) -> None:
    page = loop_page(browser, loop_url, run=value, prompt=value)
    page.wait_text("which is not here")
    assert shown_run(page).startswith(SECOND)
    assert page.js(f"({DEEP})('img[src=x]').length") == 0
    clean(page)


# What a run says is text


@pytest.mark.parametrize("name", ["compare", "loop"])
def test_a_hostile_run_stays_text(browser: Browser, hostile_out: Path, name: str) -> None:
    with serving(["--out", str(hostile_out)], notebook=name) as url:
        page = {"compare": compare_page, "loop": loop_page}[name](browser, url)
        page.wait_text("[sample] <script>")
        page.wait_text(EVIL)
        if name == "compare":
            page.wait_text(ATTACK[:40])
            page.move_to(f"{DOTS}[0]")
            page.wait("document.querySelector('#vg-tooltip-element.visible')")
            assert ATTACK[:20] in page.js("document.querySelector('#vg-tooltip-element').innerText")
        assert page.js("document.title") not in ("owned", "1") and page.js("window.x") is None
        for tag in ("img[src=x]", "iframe", "marimo-table[data-data='[]']"):
            assert page.js(f"({DEEP})({json.dumps(tag)}).length") == 0, tag
        assert setting(page, "run") == EVIL
        clean(page)
        page.open("about:blank")  # before its server ends
