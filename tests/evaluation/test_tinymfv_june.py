"""`strict_june` against tinymfv b726db9 at batch_size=1: stored numbers, and tinymfv itself where it is installed.

The stored numbers were made by that commit's own `evaluate` on the random models below, with our items and our wording
put in place of its own (tests/june.json). Two kinds of rows are left out: a think that closed early is NaN there, and
a padding token that was thought is masked there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.tiny_models import CHATML, GEMMA, tiny_model, tiny_tokenizer
from ws.errors import UserError
from ws.evaluation.answer_slot import Reading
from ws.evaluation.items import ItemSet, load_items
from ws.evaluation.vignettes import read_vignettes
from ws.evaluation.wording import Wording
from ws.gating.foundations import FOUNDATIONS
from ws.models.lm import LM, wrap_model

STORED = json.loads((Path(__file__).parents[1] / "june.json").read_text(encoding="utf-8"))
WORDS = ("care", "fairness", "loyalty", "authority", "sanctity", "liberty", "social")
CLOSE = 1e-4


def options(order: Sequence[str]) -> str:
    """What is asked about a vignette here, foundations in one order."""
    words = dict(zip(FOUNDATIONS, WORDS, strict=True))
    return "Which of these does it go against?\n" + "\n".join(f"- {words[f]}" for f in order)


OURS = Wording(
    dict(zip(FOUNDATIONS, WORDS, strict=True)), lambda text, order: f"{text}\n\n{options(order)}", nudge="Answer now."
)


def random_lm(arch: str, seed: int) -> LM:
    """A tiny random model whose tokenizer knows each answer word as one token."""
    bos = arch.startswith("gemma")
    model = tiny_model(arch, seed, max_position_embeddings=2048)
    tok = tiny_tokenizer(GEMMA if bos else CHATML, bos=bos)
    tok.add_tokens(list(WORDS))
    model.generation_config.eos_token_id = tok.eos_token_id
    model.generation_config.pad_token_id = tok.pad_token_id
    return wrap_model(model, tok, name=f"tiny-{arch}")


def asked(ids: Sequence[str]) -> ItemSet:
    return ItemSet("asked", tuple(item for item in load_items("standard").items if item.id in set(ids)))


def june(lm: LM, items: ItemSet, wording: Wording, think: int) -> dict[str, dict[str, Any]]:
    """Our rows under strict_june, by id."""
    reading = Reading(think=think, samples=0, readout="first", strict_june=True)
    return {row["id"]: row for row in read_vignettes(lm, items, reading, wording=wording)[0].iter_rows(named=True)}


@pytest.mark.parametrize("case", STORED["models"], ids=lambda case: f"{case['arch']}-{case['think']}")
def test_strict_june_gives_the_stored_scores(case: dict[str, Any]) -> None:
    lm = random_lm(case["arch"], case["seed"])
    found = june(lm, asked([row["id"] for row in case["rows"]]), OURS, case["think"])
    assert len(case["rows"]) >= 10
    for row in case["rows"]:
        score = [found[row["id"]][f"score_{f}"] for f in FOUNDATIONS]
        assert np.abs(np.array(score) - row["score"]).max() < CLOSE, row["id"]
        assert found[row["id"]]["p_ans_any"] == pytest.approx(row["pmass_allowed"], rel=1e-3)
        assert found[row["id"]]["nll_json"] == pytest.approx(row["nll_json"], abs=CLOSE)


def test_our_default_is_another_instrument() -> None:
    case = STORED["models"][0]
    lm = random_lm(case["arch"], case["seed"])
    reading = Reading(think=case["think"], samples=0, readout="first")
    plain = read_vignettes(lm, asked([row["id"] for row in case["rows"]]), reading, wording=OURS)[0]
    want = {row["id"]: row["score"] for row in case["rows"]}
    scores = {row["id"]: [row[f"score_{f}"] for f in FOUNDATIONS] for row in plain.iter_rows(named=True)}
    assert max(abs(a - b) for i, s in scores.items() for a, b in zip(s, want[i], strict=True)) > 0.05


def test_a_second_bos_only_where_the_tokenizer_adds_one() -> None:
    from ws.evaluation.tinymfv_june import june_prompt

    doubled, single = (june_prompt(random_lm(arch, 0), "Is it wrong?") for arch in ("gemma2", "qwen3"))
    bos = random_lm("gemma2", 0).tok.bos_token_id
    assert doubled[:2] == [bos, bos] and bos not in single


def test_strict_june_needs_a_chat_template() -> None:
    lm = random_lm("qwen3", 0)
    lm.tok.chat_template = None
    with pytest.raises(UserError, match="strict_june needs a chat template"):
        june(wrap_model(lm.model, lm.tok), asked([STORED["models"][0]["rows"][0]["id"]]), OURS, 2)


def test_strict_june_is_tinymfv_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words, read out of the installed package: none of them are stored here."""
    monkeypatch.delitem(sys.modules, "tinymfv", raising=False)  # a stub that another test imported
    tinymfv = pytest.importorskip("tinymfv", reason="TINYMFV IS MISSING: pip install -e '.[tinymfv]'")
    from tinymfv import guided

    seen: list[tuple[str, str]] = []
    roll = guided._rollout_natural_or_forced

    def watch(*args: Any, **kw: Any) -> Any:
        seen.extend(kw["scoring_slots"])
        return roll(*args, **kw)

    monkeypatch.setattr(guided, "_rollout_natural_or_forced", watch)
    lm, items = random_lm("qwen3", 0), load_items("standard").subset(1)
    rows = [{"id": i.id, "foundation_coarse": i.foundation, **i.texts} for i in items.items]
    report = tinymfv.evaluate(lm.model, lm.tok, vignettes=rows, max_think_tokens=4, batch_size=1, return_per_row=True)
    words = dict(zip(FOUNDATIONS, WORDS, strict=True))
    theirs = Wording(
        words, lambda text, order: f"{text}\n\n{guided._make_forced_hint([words[f] for f in order])}",
        prefill=seen[0][1], nudge=seen[0][0],
    )  # fmt: skip
    found = june(lm, items, theirs, 4)
    gaps = [
        abs(found[row["id"]][f"score_{f}"] - score)
        for row in report["per_row"]
        for f, score in zip(FOUNDATIONS, row["score"], strict=True)
    ]
    finite = [gap for gap in gaps if not np.isnan(gap)]
    assert len(finite) >= 35 and max(finite) < CLOSE
