"""Writes the journal page of the run that a page shows, and says what the viewer should know of it."""

from __future__ import annotations

from pathlib import Path

from ws.app.access import AppSettings
from ws.app.views.stored_runs import home_of
from ws.errors import UserError
from ws.runs.reader import Run

__all__ = ["JOURNAL", "write_page"]

JOURNAL = Path("RESEARCH_JOURNAL.md")


def write_page(run: Run, access: AppSettings) -> tuple[str, str]:
    """Write the page and the entry of the run's home, with its notes; (what to say, kind of callout).

    Pages go to <out>/journal, the entry to RESEARCH_JOURNAL.md of the folder that the app was started in.
    """
    from ws.reporting.journal import write_journal

    try:
        access.check_write("Writing the journal page")
        written = write_journal(home_of(run, access.out, create=True), access.out / "journal", JOURNAL)
    except UserError as error:
        return str(error), "warn"
    entry = "a new entry in" if written.entered else "the entry that it already has in"
    return f"{written.page.resolve()}: open it in a browser. {entry.capitalize()} {written.journal}.", "success"
