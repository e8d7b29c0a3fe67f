"""What notebooks show, as plain functions of stored frames and of one shared model: no state of a viewer.

settings: what a page is about, read from its link. stored: runs behind it. live: samples. texts, samples, tiles, prose:
safe HTML. sieve: the filter as a view. resting: what follows a control that stands still. labels: the researcher's own.
learned: base, steered, healed. measuring: settings without a run. journal: the run's page. page, shown: all of it as
one object. glance: the first screen before the page is alive. widgets, job_buttons: a page's controls; they alone need
marimo, and are not imported here.
"""

from ws.jobs import watch
from ws.views import learned, measuring
from ws.views.glance import glance
from ws.views.journal import write_page
from ws.views.labels import ACTS, COHERENT, agreement, label_of, read_labels, roc, save_label, store_label
from ws.views.live import near_sample, ready, sample, warm
from ws.views.page import Page
from ws.views.prose import border_table, counts_html, labels_html, note_html, row_title
from ws.views.resting import when_rested
from ws.views.samples import cards, completion_html, sample_cards, telling_prompt
from ws.views.settings import (
    CUSTOM,
    FOUNDATIONS,
    METHODS,
    Persona,
    Subject,
    axis_names,
    bands,
    layers_of,
    nearest,
    pair_of,
    read_link,
    tokens_of,
    unit_of,
)
from ws.views.sieve import border_rows, completions, counts, filter_gate, marked, shares, tail_steps
from ws.views.stored import (
    about,
    coherent_band,
    dose_steps,
    home_of,
    opened,
    prompts,
    run_for,
    save_note,
    subject_of,
    unmeasured,
    usual_dose,
    usual_tail,
)
from ws.views.texts import escaped, pieces, strip, text_block
from ws.views.tiles import tiles

__all__ = [
    "ACTS", "COHERENT", "CUSTOM", "FOUNDATIONS", "METHODS", "Page", "Persona", "Subject", "about", "agreement",
    "axis_names", "bands", "border_rows", "border_table", "cards", "coherent_band", "completion_html", "completions",
    "counts", "counts_html", "dose_steps", "escaped", "filter_gate", "glance", "home_of", "label_of", "labels_html",
    "layers_of", "learned", "marked", "measuring", "near_sample", "nearest", "note_html", "opened", "pair_of", "pieces",
    "prompts", "read_labels", "read_link", "ready", "roc", "row_title", "run_for", "sample", "sample_cards",
    "save_label", "save_note", "shares", "store_label", "strip", "subject_of", "tail_steps", "telling_prompt",
    "text_block", "tiles", "tokens_of", "unit_of", "unmeasured", "usual_dose", "usual_tail", "warm", "watch",
    "when_rested", "write_page",
]  # fmt: skip
