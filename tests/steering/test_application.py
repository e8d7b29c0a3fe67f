"""How a direction is applied: its own where, schedule and gate, and further ones at doses of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ws
from tests.builders.directions import direction
from tests.builders.small_runs import ending_lm, write_axis
from ws.errors import UserError
from ws.generation.completions import generate
from ws.models.lm import LM
from ws.steering.application import check_application, parse_also, said
from ws.steering.coefficients import Fixed, at
from ws.steering.direction import Direction
from ws.steering.hooks import steered
from ws.steering.schedules import CosineGate, Window, parse_gate

ROOT = Path(__file__).parents[2]
IDS = torch.tensor([list(range(60, 84))] * 2)
STARTS = [10, 12]


def logits(lm: LM, v: Any, c: Any = 1.0, **how: Any) -> Tensor:
    with torch.no_grad(), steered(lm, v, c, starts=STARTS, **how):
        return lm.model(input_ids=IDS).logits


OWN = [{"where": "generated"}, {"where": "all"}, {"where": "prompt"}, {"schedule": "window:1:4"}, {"gate": "above:0.0"}]


@pytest.mark.parametrize("own", OWN, ids=str)
def test_what_a_direction_says_is_what_the_call_would_say(tiny: LM, own: dict[str, str], tmp_path: Path) -> None:
    v = direction(tiny)
    kept = Direction.load(v.applied(**own).save(tmp_path / "v.safetensors"))
    assert torch.equal(logits(tiny, kept), logits(tiny, v, **own))
    assert not torch.equal(logits(tiny, kept), logits(tiny, v)), "it changes something"
    assert torch.equal(logits(tiny, v.random_like(3).applied(**own)), logits(tiny, kept.random_like(3)))
    assert v.meta == {} and kept.title == f"mean_diff ({' '.join(*own.items())})"


def test_two_directions_each_with_a_way_of_its_own(tiny: LM) -> None:
    """Side by side in one context they are what they are in two, one inside the other."""
    v, w = direction(tiny, (1,), seed=1), direction(tiny, (2,), seed=2)
    both = logits(
        tiny, [(v.applied(schedule="window:0:3"), 1.0), (w.applied(where="generated", gate="below:0.2"), 0.5)]
    )
    with torch.no_grad(), steered(tiny, v, 1.0, starts=STARTS, schedule=Window(0, 3)):
        apart = logits(tiny, w, 0.5, where="generated", gate=CosineGate(0.2))
    assert torch.allclose(both, apart, atol=1e-6)


def test_a_fixed_dose_stands_wherever_the_other_is_not_zero(tiny: LM) -> None:
    v, w = direction(tiny, seed=1), direction(tiny, seed=2, method="rotation")
    pair = [(v, 1.0), (w, Fixed(30.0))]
    got = logits(tiny, pair, [0.0, 2.0])
    with torch.no_grad():
        plain = tiny.model(input_ids=IDS).logits
    assert torch.equal(got[0], plain[0]), "the base stays the base"
    assert torch.allclose(got[1], logits(tiny, [(v, 2.0), (w, 30.0)])[1], atol=1e-6)
    assert at(pair, 2.0) == [(v, 2.0), (w, 30.0)] and at(pair, 0.0) == [(v, 0.0), (w, 0.0)] and at(v, 3.0) == [(v, 3.0)]
    doses = generate(tiny, ["Hi", "Is it"], pair, [0.0, 1.0, 3.0], max_new_tokens=5, seed=1)
    for c in (1.0, 3.0):
        alone = generate(tiny, ["Hi", "Is it"], [(v, c), (w, 30.0)], max_new_tokens=5, seed=1)
        assert doses.filter(c=c)["token_ids"].to_list() == alone["token_ids"].to_list()
    base = generate(tiny, ["Hi", "Is it"], max_new_tokens=5, seed=1)
    assert doses.filter(c=0.0)["token_ids"].to_list() == base["token_ids"].to_list()


def test_a_prompt_that_is_steered_is_not_shared(tiny: LM) -> None:
    """Decoded in one batch with shared heads or row by row: where the prompt itself is steered too."""
    v = direction(tiny).applied(where="all")
    together = generate(tiny, ["Hi there", "Hi where"], v, [0.0, 2.0], max_new_tokens=4, temperature=0)
    apart = [generate(tiny, [text], direction(tiny), [0.0, 2.0], max_new_tokens=4, temperature=0, where="all")
             for text in ("Hi there", "Hi where")]  # fmt: skip
    assert together["token_ids"].to_list() == [ids for frame in apart for ids in frame["token_ids"].to_list()]
    one = generate(tiny, "Hi there", v, 2.0, max_new_tokens=4, temperature=0, trace=True)
    assert float(one["kl_drift"].explode().max()) > 0  # type: ignore[arg-type]


def test_evaluate_reads_it_as_it_is_applied(tmp_path: Path) -> None:
    lm, axis = ending_lm(), ws.load_axis(write_axis(tmp_path))
    v, how = direction(lm, scale=2.0), {"capability": False, "texts": 8, "think": 0, "per_foundation": 1, "c": 1.0}

    def read(v: Direction, **more: Any) -> ws.Report:
        return ws.evaluate(lm, axis, direction=v, **more, **how)  # type: ignore[arg-type, no-any-return, call-overload]

    whole, cut, same = read(v), read(v, schedule="window:0:1"), read(v.applied(schedule="window:0:1"))
    assert cut.per_row.equals(same.per_row) and cut.text.equals(same.text)
    assert not cut.text.equals(whole.text) and not cut.per_row.equals(whole.per_row)
    assert cut.subject["direction"] == "mean_diff (schedule window:0:1)"
    none = read(v, gate="above:1")
    assert none.text["text"].to_list() == ws.evaluate(lm, axis, **how | {"c": 0.0}).text["text"].to_list()  # type: ignore
    with pytest.raises(UserError, match="shared among doses"):
        read(v.applied(where="prompt"))


def test_words_of_an_application() -> None:
    assert parse_also("rotation:20") == ("rotation", 20.0)
    assert parse_also("fairness_over_loyalty:-0.5") == ("fairness_over_loyalty", -0.5)
    assert parse_also("my/own.toml:1e-1") == ("my/own.toml", 0.1)
    assert said("assistant", None, None, False, ()) == ""
    told = said("generated", "window:0:9", "below:0.1", True, ("rotation:20",))
    assert told == "at generated positions; schedule window:0:9; gate below:0.1; backtracking; beside it rotation:20"
    assert parse_gate("below:-0.5") == CosineGate(-0.5) and parse_gate("above:.3") == CosineGate(0.3, "above")


BAD = {
    "where": (("nowhere", None, None, ()), "assistant, generated"),
    "schedule": (("all", "window:5:1", None, ()), "first < end"),
    "gate": (("all", None, "beside:0.1", ()), "below:COSINE"),
    "cosine": (("all", None, "below:2", ()), r"\[-1, 1\]"),
    "no dose": (("all", None, None, ("rotation",)), "METHOD:DOSE"),
    "zero": (("all", None, None, ("rotation:0",)), "not 0"),
    "nan": (("all", None, None, ("rotation:nan",)), "not 0"),
    "unknown": (("all", None, None, ("rotaton:2",)), "rotation"),
    "twice": (("all", None, None, ("rotation:2", "rotation:3")), "named twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_there_is_named(name: str) -> None:
    asked, match = BAD[name]
    with pytest.raises(UserError, match=match):
        check_application(*asked)


def test_its_words_bring_no_torch() -> None:
    code = "import sys, ws.steering.application; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", check=False).returncode == 0
