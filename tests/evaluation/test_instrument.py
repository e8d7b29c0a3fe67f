"""What a report is read by and its coherence made of: found from the base, carried by every report, as before else."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

import ws
from tests.builders.directions import direction
from tests.builders.small_runs import ending_lm, write_axis, write_items
from ws.axes.axis import Axis, load_axis
from ws.errors import UserError
from ws.evaluation.instrument import Instrument, find_instrument, instrument_from
from ws.evaluation.items import load_items
from ws.evaluation.report import Report
from ws.models.lm import LM
from ws.models.recipe import MINI

QUICK: dict[str, Any] = {"texts": 8, "think": 0, "max_new_tokens": 8, "capability": False}


def asked(n: int, plain: bool = True, label: int = 1) -> str:
    """n questions as an axis file writes them."""
    rows: list[dict[str, Any]] = []
    for i in range(n):
        row = {"text": f"Day {i}?", "yes": f"It is so fine {i}.", "no": f"Bad {i}.", "label": label}
        rows.append(row | ({"plain": f"It is {i}."} if plain else {}))
    told = [", ".join(f"{k} = {json.dumps(v)}" for k, v in row.items()) for row in rows]
    return "[" + ", ".join(f"{{ {row} }}" for row in told) + "]"


@pytest.fixture
def axis(tmp_path: Path) -> Axis:
    """A foundation axis that has 20 questions with plain answers."""
    return load_axis(write_axis(tmp_path, questions=asked(20)))


def outside(axis: Axis) -> Axis:
    return dataclasses.replace(
        axis, target="Cheer", intended={}, questions=tuple(dataclasses.replace(q, plain=None) for q in axis.questions)
    )


def look(p: float) -> Any:
    return lambda lm, items, think: p


# Which instrument


@pytest.mark.parametrize(
    ("p", "wanted", "read_by", "parts", "relative"),
    [
        (0.99, "auto", "vignettes", ("p_ans_any", "coh_text"), False),
        (0.7, "auto", "vignettes", ("p_ans_any", "coh_text"), True),
        (0.49, "auto", "questions", ("coh_text",), False),
        (0.02, "vignettes", "vignettes", ("coh_text",), False),
        (math.nan, "auto", "questions", ("coh_text",), False),
    ],
)
def test_what_base_answers_decides(
    tiny: LM, axis: Axis, tmp_path: Path, p: float, wanted: str, read_by: str, parts: tuple[str, ...], relative: bool
) -> None:
    items = load_items(str(write_items(tmp_path)), tiny.recipe)
    found = find_instrument(tiny, axis, items, wanted, look=look(p))
    assert (found.read_by, found.parts, found.relative) == (read_by, parts, relative)
    assert [name for name, _ in found.failed] == ([] if "p_ans_any" in parts else ["p_ans_any"])
    again = instrument_from(json.loads(json.dumps(found.to_dict())))
    assert again.identity == found.identity and [n for n, _ in again.failed] == [n for n, _ in found.failed]


def test_without_a_look(tiny: LM, axis: Axis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside the foundations, where questions are wanted, and on a model made for the format nothing is measured."""
    items = load_items(str(write_items(tmp_path)), tiny.recipe)

    def never(*_: Any) -> float:
        raise AssertionError("base was looked at")

    monkeypatch.setattr("ws.evaluation.instrument.glance", never)
    assert find_instrument(tiny, outside(axis), items).by_questions
    assert find_instrument(tiny, axis, items, "questions").by_questions
    for one in (axis, outside(axis)):
        assert find_instrument(cast(LM, SimpleNamespace(recipe=MINI)), one, items) == Instrument()


def test_the_default_leaves_no_trace() -> None:
    assert Instrument().identity == {} == Instrument().to_dict()
    assert instrument_from(None) == instrument_from({}) == Instrument()


def test_mistakes(tiny: LM, axis: Axis) -> None:
    bare = dataclasses.replace(axis, questions=())
    items = load_items("default", tiny.recipe)
    with pytest.raises(UserError, match=r"'tiny' has no questions .*--evaluation\.instrument vignettes"):
        find_instrument(tiny, bare, items, "questions")
    with pytest.raises(UserError, match=r"no instrument 'question'\. Did you mean 'questions'\?"):
        find_instrument(tiny, axis, items, "question")
    with pytest.raises(UserError, match=r"vignettes are not asked here: .* Add dilemmas"):
        ws.evaluate(tiny, axis, instrument="questions", readings=["exam"], **QUICK)


# Reports


def test_questions_leave_the_vignettes_out(tiny: LM, axis: Axis, tmp_path: Path) -> None:
    quick = QUICK | {"items": str(write_items(tmp_path)), "instrument": "questions"}
    v = direction(tiny)
    base, steered = ws.evaluate(tiny, axis, direction=v, c=[0, 2.0], **quick)
    assert not base.rows.height and base.n_items == 20 and base.n_bad == 0
    assert base.identity["instrument"] == {"read_by": "questions", "parts": ["coh_text"], "relative": False}
    shift = ws.compare(base, steered)
    row = shift.row(0, named=True)
    moved = steered.dilemmas["logratio"].to_numpy() - base.dilemmas["logratio"].to_numpy()
    assert row["d_target"] == pytest.approx(moved.mean()) and row["d_target_low"] < row["d_target"]
    answer = steered.dilemmas["logratio_answer"].to_numpy() - base.dilemmas["logratio_answer"].to_numpy()
    assert row["d_answer"] == pytest.approx(answer.mean())
    assert row["surgical"] is None
    moves = dict(shift.select("foundation", "d_nats").rows())
    care = steered.dilemmas["positive"].to_numpy() - base.dilemmas["positive"].to_numpy()
    authority = steered.dilemmas["negative"].to_numpy() - base.dilemmas["negative"].to_numpy()
    assert moves["Care"] == pytest.approx(care.mean()) and moves["Authority"] == pytest.approx(authority.mean())
    assert moves["Care"] - moves["Authority"] == pytest.approx(row["d_target"])
    assert all(math.isnan(d) for f, d in moves.items() if f not in ("Care", "Authority"))
    again = Report.from_frame(steered.to_frame())
    assert again.by_questions and again.instrument == steered.instrument
    assert math.isnan(steered.p_ans_any) and np.isfinite(steered.coherence) == (base.coh_text > 0)


def test_labels_turn_the_poles(tiny: LM, tmp_path: Path) -> None:
    quick = QUICK | {"items": str(write_items(tmp_path)), "instrument": "questions", "free_text": False}
    plus, minus = (
        ws.evaluate(tiny, load_axis(write_axis(tmp_path, questions=asked(16, label=label))), **quick).dilemmas
        for label in (1, -1)
    )
    assert np.allclose(plus["positive"], minus["negative"]) and np.allclose(plus["logratio"], -minus["logratio"])


def test_halves(tiny: LM, axis: Axis, tmp_path: Path) -> None:
    quick = QUICK | {"items": str(write_items(tmp_path)), "free_text": False}
    found = {s: ws.evaluate(tiny, axis, split=s, instrument="questions", **quick) for s in ("select", "report", "all")}
    names = {s: set(r.dilemmas["question"]) for s, r in found.items()}
    assert not names["select"] & names["report"] and names["select"] | names["report"] == names["all"]
    both = ws.evaluate(tiny, axis, split="select", instrument="vignettes", **quick)
    assert both.dilemmas.height == 20, "where vignettes read the axis the questions stay whole"


def test_other_instruments_are_not_compared(tiny: LM, axis: Axis, tmp_path: Path) -> None:
    quick = QUICK | {"items": str(write_items(tmp_path)), "free_text": False}
    one, other = (ws.evaluate(tiny, axis, instrument=name, **quick) for name in ("questions", "vignettes"))
    with pytest.raises(UserError, match="the reports differ in"):
        ws.compare(one, other)


def made(axis: Axis, instrument: Instrument, tmp_path: Path) -> list[Report]:
    """Base and a dose, on a model whose text ends and so can be readable."""
    quick = QUICK | {"items": str(write_items(tmp_path)), "instrument": instrument, "texts": 32, "max_new_tokens": 60}
    lm = ending_lm()
    found: list[Report] = ws.evaluate(lm, axis, direction=direction(lm), c=[0, 1.0], **quick)
    assert found[0].coh_text_base > 0
    return found


def test_a_failed_part_is_no_part_of_coherence(axis: Axis, tmp_path: Path) -> None:
    usual = made(axis, Instrument(), tmp_path)
    failed = made(axis, Instrument(parts=("coh_text",), failed=(("p_ans_any", 0.02),)), tmp_path)
    for before, after in zip(usual, failed, strict=True):
        assert after.subject["failed"] == [["p_ans_any", 0.02]] and after.instrument.failed == (("p_ans_any", 0.02),)
        assert after.p_ans_any == before.p_ans_any, "it is shown"
        share = before.coh_text / before.coh_text_base
        assert after.coherence == share and before.coherence == min(before.p_ans_any, share)
        assert after.coherence_interval[0] <= share <= after.coherence_interval[1]


def test_relative_to_a_base_that_answers_not_always(axis: Axis, tmp_path: Path) -> None:
    base, steered = made(axis, Instrument(relative=True), tmp_path)
    usual = made(axis, Instrument(), tmp_path)[1]
    assert base.subject["p_ans_any_base"] == base.p_ans_any == steered.subject["p_ans_any_base"]
    assert base.mass_of_base == base.p_ans_any and usual.mass_of_base == 1.0
    assert base.coherence == 1.0
    assert steered.coherence == min(steered.p_ans_any / base.p_ans_any, steered.coh_text / steered.coh_text_base)


def test_a_report_that_was_stored_before_reads_as_it_did(axis: Axis, tmp_path: Path) -> None:
    frame = made(axis, Instrument(), tmp_path)[1].to_frame()
    identity, subject = (json.loads(frame[name][0]) for name in ("identity", "subject"))
    assert not {"instrument", "failed", "p_ans_any_base"} & (set(identity) | set(subject))
    new = ("logratio_answer", "positive", "negative")
    rows = [{k: v for k, v in row.items() if k not in new} for row in frame["dilemmas"][0].to_list()]
    cell = pl.DataFrame(rows).select(pl.struct(pl.all()).implode().alias("dilemmas"))
    old = Report.from_frame(frame.with_columns(cell))
    assert old.instrument == Instrument() and old.coherence == Report.from_frame(frame).coherence
    assert old.dilemmas["positive"].null_count() == 20
    assert old.logratio == pytest.approx(float(np.mean([row["logratio"] for row in rows])))
