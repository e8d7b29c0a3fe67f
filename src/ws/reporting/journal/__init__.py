"""The journal: one self-contained page per run, and one entry in RESEARCH_JOURNAL.md.

    written = write_journal(open_run(path), Path("out/journal"), Path("RESEARCH_JOURNAL.md"))

html: markup in which every text is escaped; pictures: charts as SVG; tables, sections, page: the page; entry: the
journal's entry; export: marimo's own HTML beside it. A page is made of the run's stored files alone, so that writing it
twice gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ws.errors import UserError
from ws.files import folder_lock, write_text
from ws.reporting.journal.entry import append_entry
from ws.reporting.journal.export import write_interactive
from ws.reporting.journal.page import page_of
from ws.reporting.journal.run_header import day_of, name_of
from ws.runs.reader import Run

__all__ = ["Written", "page_of", "write_journal"]


@dataclass(frozen=True)
class Written:
    """What `write_journal` left: the page, the journal, whether the entry is new, marimo's export where asked for."""

    page: Path
    journal: Path
    entered: bool
    interactive: Path | None = None


def write_journal(run: Run, folder: Path, journal: Path, *, interactive: bool = False) -> Written:
    """Write <folder>/<date>-<run>.html and append the run's entry to `journal`, once.

    UserError when no round is judged yet, or with interactive=True where no notebook can be exported.
    """
    if not run.rounds:
        raise UserError(f"{run.path} has no judged round yet: there is nothing to write. The same `ws run` goes on.")
    page = folder / f"{day_of(run)}-{name_of(run)}.html"
    text = page_of(run)
    if not page.is_file() or page.read_bytes() != text.encode():
        write_text(page, text)
    with folder_lock(folder, "journal", wait=True):
        entered = append_entry(run, journal, page)
    exported = write_interactive(run, page.with_suffix(".interactive.html")) if interactive else None
    return Written(page, journal, entered, exported)
