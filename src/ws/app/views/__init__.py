"""What notebooks show, as plain functions of stored frames and of one shared model: no state of a viewer.

page_settings: what a page is about, read from its link. stored_runs, run_picker: runs behind it. live_samples: texts as
the controls move. filter: the threshold as a view. heal, heal_html: base, steered and healed, and their training.
run_job: settings that no stored run has. gate_tiles, sample_cards, token_html, snippets: safe HTML. labels: the
researcher's own. journal: the run's page. debounce: redraw once a control has come to rest. page, shown: all of it as
one object. first_paint: the first screen before the page is alive. widgets, job_buttons: a page's controls; they alone
need marimo, and are not imported here.
"""

from ws.app.jobs import watch
from ws.app.page_link import nearest
from ws.app.views import heal, heal_html, run_job
from ws.app.views.debounce import debounced
from ws.app.views.filter import border_rows, completions, counts, filter_gate, marked, shares, tail_steps
from ws.app.views.first_paint import first_paint_html
from ws.app.views.gate_tiles import tiles
from ws.app.views.journal import write_page
from ws.app.views.labels import ACTS, COHERENT, agreement, label_of, read_labels, roc, save_label, store_label
from ws.app.views.live_samples import near_sample, ready, sample, warm
from ws.app.views.page import Page
from ws.app.views.page_settings import (
    CUSTOM,
    PageSettings,
    TypedPair,
    axis_names,
    bands,
    layers_of,
    method_names,
    pair_of,
    read_link,
    sampling_of,
    tokens_of,
    unit_of,
)
from ws.app.views.sample_cards import cards, completion_html, sample_cards, telling_prompt
from ws.app.views.snippets import border_table, counts_html, labels_html, note_html, row_title
from ws.app.views.stored_runs import (
    about,
    coherent_band,
    dose_steps,
    home_of,
    models,
    opened,
    prompts,
    run_for,
    save_note,
    subject_of,
    unmeasured,
    usual_dose,
    usual_tail,
)
from ws.app.views.token_html import escaped, pieces, strip, text_block
from ws.gating.foundations import FOUNDATIONS

__all__ = [
    "ACTS", "COHERENT", "CUSTOM", "FOUNDATIONS", "Page", "PageSettings", "TypedPair", "about", "agreement",
    "axis_names", "bands", "border_rows", "border_table", "cards", "coherent_band", "completion_html", "completions",
    "counts", "counts_html", "debounced", "dose_steps", "escaped", "filter_gate", "first_paint_html", "heal",
    "heal_html", "home_of", "label_of", "labels_html", "layers_of", "marked", "method_names", "models", "near_sample",
    "nearest", "note_html", "opened", "pair_of", "pieces", "prompts", "read_labels", "read_link", "ready", "roc",
    "row_title", "run_for", "run_job", "sample", "sample_cards", "sampling_of", "save_label", "save_note", "shares",
    "store_label",
    "strip", "subject_of", "tail_steps", "telling_prompt", "text_block", "tiles", "tokens_of", "unit_of", "unmeasured",
    "usual_dose", "usual_tail", "warm", "watch", "write_page",
]  # fmt: skip
