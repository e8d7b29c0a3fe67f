"""A heal on a user's own conversations: what is trained, what is refused before anything is written, the report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from tests.builders.adapters import logits
from tests.builders.small_runs import ending_lm, write_axis
from tests.builders.tiny_models import tiny_model, tiny_tokenizer
from ws.app import healing as command
from ws.app.cli import main
from ws.axes.axis import load_axis
from ws.errors import UserError
from ws.experiment.own_data import _outcome, heal_own, write_own
from ws.generation.settings import Sampling
from ws.healing.config import HealConfig
from ws.healing.conversations import read_conversations
from ws.models.adapters.adapter import Adapter
from ws.models.adapters.attaching import attached

CONFIG = HealConfig(rank=4, alpha=8, lr=2e-2, epochs=2, batch=4, depth=(0.0, 1.0), min_rows=4, beta=0.1, tau=0.1)
SHORT = Sampling(max_new_tokens=8)


def data(folder: Path, n: int = 12, **changed: str) -> Path:
    """n conversations of one reply; `changed`: replies by line, as l3="...". """
    rows = [{"prompt": f"May we {i}?", "completion": changed.get(f"l{i + 1}", "You all may.")} for i in range(n)]
    path = folder / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


def healed(folder: Path, path: Path, **options: Any) -> tuple[Adapter, dict[str, Any]]:
    axis = load_axis(str(write_axis(folder)))
    given = {"source": "mine.jsonl", "texts": 8, "sampling": SHORT, **options}
    return heal_own(ending_lm(), axis, read_conversations(path), given.pop("config", CONFIG), **given)


def test_it_learns_what_it_is_given_and_the_folder_holds_it(tmp_path: Path) -> None:
    lm, seen = ending_lm(), []
    before = logits(lm)
    adapter, report = healed(tmp_path, data(tmp_path), replay=0.25, listen=seen.append)
    assert (report["rows"], report["replay"], report["wrong_role"]) == (12, 4, 0) and adapter.meta["rows"] == 16
    assert report["outcome"] == _outcome(report) and report["val_nll_after"] < report["val_nll_before"]
    assert report["kl_base"] > 0 and report["kl_text"] > 0 and report["readable_before"] > 0
    assert len(report["samples"]) == 4 and seen[-1].stage == "heal" and seen[-1].done == seen[-1].total
    write_own(tmp_path / "made", adapter, report)
    assert json.loads((tmp_path / "made/report.json").read_text())["heal"]["beta"] == 0.1
    told = (tmp_path / "made/report.md").read_text(encoding="utf-8")
    assert f"# {report['outcome']}" in told and "before: " in told
    assert torch.equal(logits(lm), before)
    with attached(lm, [Adapter.load(tmp_path / "made/adapter", lm)]):
        assert (logits(lm) - before).abs().max() > 0.05


def test_no_replay_trains_on_the_users_rows_alone(tmp_path: Path) -> None:
    adapter, report = healed(tmp_path, data(tmp_path), replay=0.0)
    assert report["replay"] == 0 and adapter.meta["rows"] == 12
    with pytest.raises(UserError, match=r"replay must lie in \[0, 1\) \(got 1\.0\)"):
        healed(tmp_path, data(tmp_path), replay=1.0)


def test_contaminated_data_are_refused_unless_allowed(tmp_path: Path) -> None:
    path = data(tmp_path, l3="Sure.\nUser: thanks", l7="May we 6?")
    with pytest.raises(UserError, match=r"wrong role speaks in 2 of 12 replies of mine\.jsonl(.|\n)*line 7: the"):
        healed(tmp_path, path)
    assert healed(tmp_path, path, allow=True)[1]["wrong_role"] == 2


def test_rows_that_do_not_fit_and_too_few_are_told_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 of its lines(.|\n)*line 2: a row of .* exceeds the context"):
        healed(tmp_path, data(tmp_path, l2="long " * 400))
    with pytest.raises(UserError, match=r"mine\.jsonl holds 3 replies, and a heal needs 4\..*--heal\.min-rows"):
        healed(tmp_path, data(tmp_path, n=3))


@pytest.mark.parametrize(
    ("after", "coherence", "val", "outcome"),
    [(0.2, 1.0, 1.0, "identity confusion"), (0.2, 0.1, 3.0, "identity confusion"), (0.0, 0.5, 1.0, "coherence lost"),
     (0.0, math.nan, 1.0, "coherence lost"), (0.0, 1.0, 2.5, "nothing learned"), (0.04, 1.0, 1.0, "learned"),
     (0.0, 1.0, math.nan, "learned")],
)  # fmt: skip
def test_outcomes(after: float, coherence: float, val: float, outcome: str) -> None:
    report = {"wrong_role_before": 0.0, "wrong_role_after": after, "coherence": coherence}
    assert _outcome(report | {"val_nll_before": 2.0, "val_nll_after": val}) == outcome


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Of the command, with a tiny model in a folder."""
    weights = tmp_path / "weights"
    tiny_model("qwen3", max_position_embeddings=1024).save_pretrained(weights)
    tiny_tokenizer().save_pretrained(weights)
    return ["heal", str(data(tmp_path)), "--model", str(weights), "--axis", str(write_axis(tmp_path)), "--texts", "8",
            "--sampling.max-new-tokens", "6", "--heal.min-rows", "4", "--heal.epochs", "1", "--heal.adapter", "ia3",
            "--out", str(tmp_path / "made")]  # fmt: skip


def test_the_command_writes_a_folder_and_says_the_report(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["path"] == str(tmp_path / "made") and said["heal"]["adapter"] == "ia3" and said["heal"]["lr"] == 1e-3
    assert sorted(p.name for p in (tmp_path / "made").iterdir()) == ["adapter", "report.json", "report.md"]
    assert main(words) == 2 and "exists. Name a place" in capsys.readouterr().err


@pytest.mark.parametrize(("line", "said"), [('{"prompt": "a"}', "line 13"), ("{", "no JSON")])
def test_a_bad_row_ends_the_command_before_a_model_is_loaded(
    words: list[str], tmp_path: Path, line: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(command, "load_model", None)
    with (tmp_path / "mine.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    assert main(words) == 2 and said in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_replay_rows_are_the_models_own(tmp_path: Path) -> None:
    from ws.experiment.own_data import _replayed

    rows = _replayed(ending_lm(), load_axis(str(write_axis(tmp_path))), 11, SHORT)
    assert rows.height == 11 and rows["token_ids"].list.len().min() > 0
    assert set(rows["prompt"].list.first().struct.field("content")) <= {f"May I {i}?" for i in range(8)}
    assert rows.schema["token_ids"] == pl.List(pl.Int32)
