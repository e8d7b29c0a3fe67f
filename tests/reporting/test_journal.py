"""The journal: one inert page per run, one entry per run, the same bytes every time, every text shown as text."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.builders.browser import CHROMIUM, DEEP, Browser, serving, until
from tests.builders.hostile import ATTACK, PLACES, attack, poison
from tests.builders.records import record_changes
from tests.builders.small_runs import ending_lm, small_config
from ws.app.cli import main
from ws.errors import UserError
from ws.experiment.examples import EXAMPLE_ROUNDS, shipped
from ws.experiment.loop import run as whole_run
from ws.reporting.journal import export, page_of, write_journal
from ws.reporting.journal.entry import code
from ws.reporting.journal.figures import Pictures
from ws.reporting.journal.html import Html, tag, text
from ws.reporting.journal.run_header import day_of, name_of
from ws.runs.reader import Run, open_run

RUNS_OR_LOADS = {"script", "iframe", "object", "embed", "img", "image", "link", "base", "form", "foreignobject", "a"}


class Reader(HTMLParser):
    """The tags, attributes and text of a page, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(name)
        self.attributes += [(key, value or "") for key, value in attributes]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run of stub size: every file that a run has."""
    folder = tmp_path_factory.mktemp("journal")
    return whole_run(small_config(folder), out=folder / "out", lm=ending_lm())


@pytest.fixture(scope="module")
def page(done: Run) -> str:
    return page_of(done)


@pytest.fixture(scope="module")
def poisoned(done: Run, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(page_of(poison(done.path, tmp_path_factory.mktemp("hostile") / "run")))


@pytest.fixture(scope="module")
def example_page() -> str:
    return page_of(open_run(EXAMPLE_ROUNDS))


def test_the_page_holds_identity_verdicts_tables_and_charts(done: Run, page: str) -> None:
    found = Reader(page)
    for part in (
        done.env["fingerprint"], done.env["commit"] or "", done.path.name, "heal.beta", "torch", "random direction",
        "seeds", "dose.grid", "Every stored completion", "just kept", "evidence",
    ):  # fmt: skip
        assert part in found.text, part
    for gate in done.gates():
        for outcome, _, _, evidence in gate.checks:
            assert outcome in found.text
            assert evidence in found.text
    assert page.count("<svg") >= 2
    arms = done.arms()
    assert found.text.count("random direction, same KL") == arms.filter(arms["arm"] == "random").height


def test_the_page_shows_every_stored_text(done: Run, page: str) -> None:
    shown = Reader(page).text
    for _, texts in done.samples():
        for said in texts["text"]:
            assert html_text(said) in shown


def html_text(said: str) -> str:
    """A text as the page writes it, read back."""
    return Reader(str(text(said))).text


def test_a_run_of_rounds_shows_the_loop(example_page: str) -> None:
    shown = Reader(example_page).text
    run = open_run(EXAMPLE_ROUNDS)
    assert "steered 2" in shown  # the zigzag's axis
    assert "healed, round 2" in shown  # the diary
    assert run.gates(run.best)[-1].outcome in shown
    assert "Gate 4, loop" in shown
    for number in range(run.rounds):  # the rounds that were not delivered are judged on the page too
        for gate in run.gates(number):
            assert gate.evidence in shown


@pytest.mark.parametrize("which", ["page", "example_page"])
def test_the_page_is_inert(which: str, request: pytest.FixtureRequest) -> None:
    written = request.getfixturevalue(which)
    check_inert(Reader(written))
    assert "default-src 'none'" in Reader(written).text or "default-src &#x27;none&#x27;" in written


def check_inert(found: Reader) -> None:
    assert not found.tags & RUNS_OR_LOADS
    assert not [t for t in found.tags if t.startswith("marimo")]
    for name, value in found.attributes:
        assert not name.startswith("on"), name
        assert name not in ("srcdoc", "action", "formaction"), name
        if name in ("href", "src", "xlink:href"):
            assert value.startswith("#")


@pytest.mark.parametrize("place", PLACES)
def test_hostile_text_is_shown_as_text(poisoned: Reader, place: str) -> None:
    assert attack(place) in poisoned.text


def test_a_hostile_page_is_inert(poisoned: Reader) -> None:
    check_inert(poisoned)


def test_the_same_run_gives_the_same_bytes_and_one_entry(done: Run, tmp_path: Path) -> None:
    journal = tmp_path / "RESEARCH_JOURNAL.md"
    first = write_journal(done, tmp_path / "journal", journal)
    before = first.page.read_bytes(), journal.read_bytes()
    stamp = first.page.stat().st_mtime_ns
    again = write_journal(open_run(done.path), tmp_path / "journal", journal)
    assert (again.page.read_bytes(), journal.read_bytes()) == before
    assert again.page.stat().st_mtime_ns == stamp
    assert (first.entered, again.entered) == (True, False)


def test_the_entry_is_appended_and_nothing_above_it_changes(done: Run, tmp_path: Path) -> None:
    journal = tmp_path / "notes" / "RESEARCH_JOURNAL.md"
    journal.parent.mkdir()
    mine = "# Mine\r\n\r\n## an entry\r\nno newline at its end"
    journal.write_bytes(mine.encode())
    written = write_journal(done, tmp_path / "journal", journal)
    after = journal.read_bytes().decode()
    assert after.startswith(mine)
    entry = after[len(mine) :]
    for part in ("Question.", "What was run.", "Headline", "Verdicts.", "My reading."):
        assert f"**{part}**" in entry
    assert "gate 1 steer" in entry
    assert entry.endswith("**My reading.**\n\n")
    link = re.search(r"\]\((.*\.html)\)", entry)
    assert link is not None
    assert (journal.parent / link.group(1)).resolve() == written.page.resolve()


def test_a_hostile_run_makes_a_harmless_entry(done: Run, tmp_path: Path) -> None:
    run = poison(done.path, tmp_path / "run")
    journal = tmp_path / "J.md"
    write_journal(run, tmp_path / "journal", journal)
    entry = journal.read_text()
    assert "[axis name]" in entry
    outside = re.sub(r"(`+).+?(?<!`)\1(?!`)", "", entry)  # what is left when code spans are taken out
    assert "<script" not in outside
    assert "<iframe" not in outside
    assert "javascript:" not in outside
    assert "$" not in outside


@pytest.mark.parametrize("said", ["plain", "`", "a ``b` c```", ATTACK, "two\nlines | and\ta tab", ""])
def test_code_holds_any_text_on_one_line(said: str) -> None:
    found = code(said)
    assert "\n" not in found
    if said:
        fence = re.match("`+", found)
        assert fence is not None
        inner = found[len(fence.group()) : -len(fence.group())]
        assert fence.group() not in re.findall("`+", inner)
        assert inner.strip() == " ".join(said.split())


def test_a_note_written_later_changes_the_page_and_not_the_journal(done: Run, tmp_path: Path) -> None:
    shutil.copytree(done.path, tmp_path / "run")
    run, journal = open_run(tmp_path / "run"), tmp_path / "J.md"
    first = write_journal(run, tmp_path / "journal", journal)
    entry = journal.read_bytes()
    run.note(1, "I read the samples: they are noise")
    again = write_journal(open_run(run.path), tmp_path / "journal", journal)
    assert again.page == first.page
    assert "I read the samples: they are noise" in again.page.read_text()
    assert journal.read_bytes() == entry


@pytest.mark.parametrize("name", ["../../evil", "..", "a/b", "<script>", "x" * 400, ".hidden", "tab\there"])
def test_no_run_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    found = name_of(Run(Fake(name)))  # type: ignore[arg-type]
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}", found)
    assert (tmp_path / f"{found}.html").resolve().parent == tmp_path.resolve()


class Fake:
    """A path whose last part is any text at all."""

    def __init__(self, name: str) -> None:
        self.name = name

    def resolve(self) -> Fake:
        return self


def test_a_run_without_its_date_or_its_rounds_is_refused(done: Run, tmp_path: Path) -> None:
    shutil.copytree(done.path, tmp_path / "run")
    record_changes(tmp_path / "run", started="../../2026")
    with pytest.raises(UserError, match="does not say when"):
        day_of(open_run(tmp_path / "run"))
    shutil.rmtree(tmp_path / "run/rounds")
    record_changes(tmp_path / "run", stages={})
    with pytest.raises(UserError, match="no judged round"):
        write_journal(open_run(tmp_path / "run"), tmp_path, tmp_path / "J.md")


def test_a_run_that_found_no_dose_has_a_page(done: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        config = dataclasses.replace(
            small_config(tmp_path), dose=dataclasses.replace(small_config(tmp_path).dose, coherence=1.0)
        )
        whole_run(config, out=tmp_path / "out", lm=ending_lm())
    run = open_run(next((tmp_path / "out/runs").glob("2*")))
    written = write_journal(run, tmp_path / "journal", tmp_path / "J.md")
    assert "The run failed" in Reader(written.page.read_text()).text


# The parts


def test_tag_escapes_everything_but_its_own_markup() -> None:
    assert tag("p", "<b>", Html("<i></i>"), class_='"x"') == '<p class="&quot;x&quot;">&lt;b&gt;<i></i></p>'
    assert tag("p", "a\u202eb\x00") == "<p>a\\u202eb\\x00</p>"
    for name in ("script", "p onclick", "x>"):
        with pytest.raises(ValueError, match="no tag"):
            tag(name)
    with pytest.raises(ValueError, match="no tag"):
        tag("p", onclick="x")


def test_a_chart_that_could_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import altair as alt
    import vl_convert

    for svg in ("<svg><script>1</script></svg>", '<svg onload="x"></svg>', '<svg><a href="http://x"></a></svg>'):
        monkeypatch.setattr(vl_convert, "vegalite_to_svg", lambda spec, svg=svg: svg)
        with pytest.raises(ValueError, match="inert"):
            Pictures().figure(alt.Chart().mark_point(), "x")


def test_ids_of_two_charts_stay_apart(example_page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', example_page)
    assert len(ids) == len(set(ids))
    for used in re.findall(r"url\(#([^)]+)\)", example_page):
        assert used in ids


def test_interactive_without_a_notebook_says_so(done: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "NOTEBOOKS", ("nowhere.py",))
    with pytest.raises(UserError, match=r"--interactive exports a notebook \(nowhere.py\)"):
        write_journal(done, tmp_path / "journal", tmp_path / "J.md", interactive=True)
    assert list((tmp_path / "journal").glob("*.html"))  # the page itself is there


@pytest.mark.slow
def test_interactive_writes_marimos_export_once(tmp_path: Path) -> None:
    written = export.write_interactive(open_run(EXAMPLE_ROUNDS), tmp_path / "run.interactive.html")
    assert "marimo" in written.read_text()
    stamp = written.stat().st_mtime_ns
    assert export.write_interactive(open_run(EXAMPLE_ROUNDS), written).stat().st_mtime_ns == stamp


def test_the_command(done: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["journal", str(done.path), "--out", str(tmp_path), "--journal", str(tmp_path / "J.md"), "--json"]
    assert main(args) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert Path(first["page"]).parent == tmp_path / "journal"
    assert first["new_entry"] is True
    assert main(args) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["new_entry"] is False
    assert main(["journal", str(tmp_path / "nowhere")]) == 2


# In a browser


SHOWN = pytest.mark.skipif(
    CHROMIUM is None, reason="NO CHROMIUM: THE JOURNAL PAGE IS NOT OPENED (apt-get install chromium)"
)


def outside(page: Browser) -> list[str]:
    """Every address beyond this machine's files that the page asked for."""
    return [url for url in page.requests if not url.startswith(("file:", "data:", "about:"))]


@pytest.mark.browser
@SHOWN
def test_the_page_opens_from_disk_without_network(tmp_path: Path) -> None:
    run = open_run(EXAMPLE_ROUNDS)
    written = write_journal(run, tmp_path / "journal", tmp_path / "J.md")
    healed = run.arms(run.best).filter(run.arms(run.best)["arm"] == "healed")["d_target"][0]
    with Browser() as page:
        page.open(written.page.resolve().as_uri())
        shown = page.text()
        assert f"{healed:.2f}" in shown
        assert run.env["fingerprint"] in shown
        assert page.js("document.documentElement.scrollWidth") <= 1280
        assert page.js("[...document.querySelectorAll('svg')].every(e => e.getBoundingClientRect().width > 100)")
        assert outside(page) == []
        assert page.errors == []


@pytest.mark.browser
@SHOWN
def test_a_hostile_page_does_nothing_in_a_browser(done: Run, tmp_path: Path) -> None:
    run = poison(done.path, tmp_path / "run")
    written = write_journal(run, tmp_path / "journal", tmp_path / "J.md")
    with Browser() as page:
        page.open(written.page.resolve().as_uri())
        assert page.js("document.title").startswith("[axis name]")
        assert page.js("document.querySelectorAll('iframe, script, img, marimo-table').length") == 0
        assert outside(page) == []


BUTTON = f"({DEEP})('button').find(b => b.innerText.includes('Write the journal page') && !b.disabled)"
OFFLINE = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


@pytest.mark.browser
@SHOWN
def test_the_apps_button_writes_a_page_that_opens_offline(tmp_path: Path) -> None:
    run, folder = open_run(next(iter(shipped().values()))), tmp_path / "out/journal"
    arms, mine = run.arms(run.best), (Path(__file__).parents[2] / "RESEARCH_JOURNAL.md").read_bytes()
    with Browser(height=3000) as page:
        with serving(["--out", str(tmp_path / "out")], cwd=tmp_path) as url:
            page.open(url)
            page.wait(BUTTON, 300)
            assert not folder.exists()
            page.click(BUTTON)
            until(lambda: list(folder.glob("*.html")), 120, "no page was written")
            page.wait_text(str(folder), 60)
            page.open("about:blank")  # the app's page would look for its server when that ends
        page.call("Network.emulateNetworkConditions", **OFFLINE)
        page.requests.clear()
        page.errors.clear()
        written = next(folder.glob("*.html"))
        page.open(written.as_uri())
        sections = "[...document.querySelectorAll('section')].map(s => s.innerText)"
        headline = next(text for text in page.js(sections) if text.startswith("Headline"))
        for arm in ("steer", "healed"):
            judged = arms.filter(arms["arm"] == arm, arms["chosen"] if arm == "steer" else True)
            assert f"{judged['d_target'][0]:.2f}" in headline, arm
        assert page.js("document.scripts.length") == 0
        assert [r for r in page.requests if not r.startswith("file:")] == []
        assert page.errors == []
    assert (tmp_path / "RESEARCH_JOURNAL.md").read_text().count(written.name) == 1
    assert (Path(__file__).parents[2] / "RESEARCH_JOURNAL.md").read_bytes() == mine


@pytest.mark.browser
@SHOWN
def test_what_is_folded_on_screen_is_whole_on_paper(done: Run, tmp_path: Path) -> None:
    written = write_journal(done, tmp_path / "journal", tmp_path / "J.md")
    folded = "[...document.querySelectorAll('details:not([open]) > :not(summary)')]"
    seen = f"{folded}.filter(e => e.checkVisibility() && e.getBoundingClientRect().height > 0).length"
    with Browser() as page:
        page.open(written.page.resolve().as_uri())
        several = page.js(f"{folded}.length")
        assert several > 3
        assert page.js(seen) == 0
        page.call("Emulation.setEmulatedMedia", media="print")
        assert page.js(seen) == several
