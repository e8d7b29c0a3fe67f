"""lm-eval's tasks by name, on a stand-in for lm-eval."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders.vignettes import direction
from ws.errors import UserError
from ws.evaluation.tasks import TASKS, run_tasks
from ws.models.lm import LM
from ws.models.recipe import MINI

STUB = """
CALLS = []

def simple_evaluate(model, tasks, limit):
    import torch
    if "unknown" in tasks:
        raise KeyError("unknown")
    CALLS.append((tasks, limit, model.batch_size))
    logits = model.pretrained(input_ids=torch.tensor([[40, 41, 42]])).logits
    values = {"alias": "x", "acc,none": float(logits[0, -1, 40]), "acc_stderr,none": 0.01, "f1,none": 0.5,
              "f1_stderr,none": "N/A"}
    return {"results": {t: values for t in tasks}, "n-samples": {t: {"effective": 7} for t in tasks}}
"""
HF = """
class HFLM:
    def __init__(self, pretrained, tokenizer, batch_size):
        self.pretrained, self.batch_size = pretrained, batch_size
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "lm_eval" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text(STUB)
    (folder / "__init__.py").write_text("")
    (folder / "huggingface.py").write_text(HF)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_missing_lm_eval_names_the_command(tiny: LM) -> None:
    if importlib.util.find_spec("lm_eval"):
        pytest.skip("LM-EVAL IS INSTALLED")
    with pytest.raises(UserError, match=r"not installed.*pip install -e '\.\[lm-eval\]'"):
        run_tasks(tiny, ["arc_easy"])


@pytest.mark.usefixtures("installed")
def test_results_become_rows_under_the_treatment(tiny: LM) -> None:
    base = run_tasks(tiny, ["one", "two"], limit=5)
    moved = run_tasks(tiny, ["one"], direction=direction(tiny), c=0.7, batch_size=4)
    assert list(base.schema) == list(TASKS)
    assert base.select("task", "metric", "stderr", "n").rows() == [
        (task, metric, error, 7) for task in ("one", "two") for metric, error in (("acc", 0.01), ("f1", None))
    ]
    assert abs(moved["value"][0] - base["value"][0]) > 1e-3, "the direction was not on"
    assert run_tasks(tiny, ["one"])["value"][0] == base["value"][0], "it is off again"
    import lm_eval

    assert lm_eval.CALLS[:2] == [(["one", "two"], 5, 8), (["one"], None, 4)]


@pytest.mark.usefixtures("installed")
def test_what_does_not_fit_is_the_users_error(tiny: LM) -> None:
    with pytest.raises(UserError, match=r"refuses \['unknown'\].*lm-eval ls tasks"):
        run_tasks(tiny, ["unknown"])
    for lm, tasks in ((replace(tiny, recipe=MINI), ["one"]), (tiny, [])):
        with pytest.raises(UserError, match="real models, by name"):
            run_tasks(lm, tasks)
