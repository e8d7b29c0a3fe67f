"""A heal on a user's own conversations, and what it did to the model's free text; no axis, so nothing is retained.

    rows = read_conversations(Path("data.jsonl"))
    adapter, report = heal_own(lm, axis, rows, HealConfig(beta=0.2), source="data.jsonl", replay=0.2)

The axis lends its prompts alone: the unsteered model answers those it trains on for the replay mix, its own neutral
texts among the user's, and those it reports on before and after. `report` holds plain values (`write_own` stores them).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ws.axes.axis import Axis
from ws.errors import UserError
from ws.evaluation.freetext import free_text, limits_of, mark_readable, spread
from ws.experiment.progress import Listener, Reporter
from ws.files import write_atomic, write_json, write_text
from ws.generation.completions import generate
from ws.generation.settings import Sampling
from ws.healing.config import HealConfig
from ws.healing.conversations import TURNS, as_turns, bad_rows, wrong_voice, wrong_voices
from ws.healing.dataset import encoded, training_rows
from ws.healing.training import heal
from ws.models.adapters.adapter import Adapter
from ws.models.lm import LM
from ws.models.stored_settings import to_dict

__all__ = ["CONTAMINATED", "check_own", "heal_own", "write_own"]

CONTAMINATED = 0.05
"""Above this share of replies in which the wrong role speaks, data are refused, and free text is identity confusion."""
COHERENT = 0.9
"""Readable texts after, as a share of those before, under which coherence is lost."""


def check_own(lm: LM, rows: pl.DataFrame, config: HealConfig, source: str, allow: bool) -> pl.DataFrame:
    """The rows in which the wrong role speaks (line, why).

    UserError: rows that the model cannot read, by line; too few of them; the wrong role in more than CONTAMINATED of
    them, unless allowed.
    """
    bad: dict[int, str] = {}
    for row in rows.iter_slices(1):
        try:
            training_rows(lm, row)
        except UserError as error:
            bad[row["line"][0]] = str(error)
    if bad:
        raise bad_rows(Path(source), bad)
    if rows.height < config.min_rows:
        raise UserError(f"{source} holds {rows.height} replies, and a heal needs {config.min_rows}. Add some, or lower"
                        " --heal.min-rows.")  # fmt: skip
    wrong = wrong_voices(rows, [str(token) for token in lm.tok.all_special_tokens])
    if wrong.height > CONTAMINATED * rows.height and not allow:
        told = "".join(f"\n  line {line}: {why}" for line, why in wrong.head(5).iter_rows())
        raise UserError(f"the wrong role speaks in {wrong.height} of {rows.height} replies of {source}, and"
                        f" {CONTAMINATED:.0%} are let pass: a model learns to play both roles. Mend them, or say"
                        f" --allow.{told}")  # fmt: skip
    return wrong


def heal_own(
    lm: LM,
    axis: Axis,
    rows: pl.DataFrame,
    config: HealConfig | None = None,
    *,
    source: str = "the data",
    replay: float = 0.2,
    texts: int = 64,
    sampling: Sampling | None = None,
    allow: bool = False,
    listen: Listener | None = None,
) -> tuple[Adapter, dict[str, Any]]:
    """The adapter, and the report on it.

    rows: as `read_conversations` gives them; replay: share of the training rows that the model wrote itself; texts:
    free completions behind each figure. UserError as `check_own` and `ws.heal`, and for a share outside [0, 1).
    """
    if not 0 <= replay < 1:
        raise UserError(f"replay must lie in [0, 1) (got {replay}): the share of rows that the model wrote itself.")
    settings = (config or HealConfig()).resolved(lm)
    wrong = check_own(lm, rows, settings, source, allow)
    draws, (prompts, n) = sampling or Sampling(), spread(axis.probes, texts)
    before = free_text(lm, axis, prompts, n, sampling=draws)[0]
    ids = pl.Series("token_ids", [encoded(lm, text) for text in rows["completion"]], pl.List(pl.Int32))
    own = rows.select("prompt", ids)
    mixed = pl.concat([own, _replayed(lm, axis, round(replay / (1 - replay) * own.height), draws)])
    step = Reporter(listen, 0, "heal")
    adapter = heal(lm, mixed, settings, on_progress=lambda row: step(row["step"] + 1, row["steps"]))
    after = free_text(lm, axis, prompts, n, adapters=[adapter], sampling=draws)[0]
    report = {
        "data": source,
        "model": lm.name,
        "rows": own.height,
        "replay": mixed.height - own.height,
        "wrong_role": wrong.height,
        "heal": to_dict(settings),
        **_learned(adapter),
        **_compared(lm, before, after),
    }
    report["outcome"] = _outcome(report)
    return adapter, report


def _replayed(lm: LM, axis: Axis, count: int, draws: Sampling) -> pl.DataFrame:
    """So many rows of the unsteered model's own answers to neutral prompts; those that end by themselves first."""
    schema = {"prompt": TURNS, "token_ids": pl.List(pl.Int32)}
    if not count:
        return pl.DataFrame(schema=schema)
    prompts, n = spread(axis.train, count)
    texts = generate(lm, prompts, n=n, sampling=draws, trace=False).filter(pl.col("token_ids").list.len() > 0)
    kept = texts.sort(~pl.col("finished"), maintain_order=True).head(count)
    turns = [as_turns(text) for text in kept["prompt"]]
    return pl.DataFrame({"prompt": turns, "token_ids": kept["token_ids"]}, schema=schema)


def _learned(adapter: Adapter) -> dict[str, Any]:
    """What the curve says: loss on rows held out before and after, KL to base in the last epoch, size of the update."""
    curve = adapter.curve
    held, last = curve["val_nll"].drop_nulls(), curve.filter(pl.col("epoch") == pl.col("epoch").max())
    return {
        "val_nll_before": held[0] if held.len() else math.nan,
        "val_nll_after": held[-1] if held.len() else math.nan,
        "kl_base": last["kl_base"].mean(),
        "update_norm": adapter.meta["update_norm"],
    }


def _compared(lm: LM, before: pl.DataFrame, after: pl.DataFrame) -> dict[str, Any]:
    """Free text before and after: readable, in the wrong role, KL to base per position, and samples of both."""
    limits = limits_of(before)
    specials = [str(token) for token in lm.tok.all_special_tokens]
    found: dict[str, Any] = {"texts": after.height}
    for name, texts in (("before", before), ("after", after)):
        roles = [wrong_voice(text, [asked], specials) for asked, text in texts.select("prompt", "text").iter_rows()]
        found[f"readable_{name}"] = mark_readable(texts, limits)["readable"].mean()
        found[f"wrong_role_{name}"] = sum(role is not None for role in roles) / texts.height
    share = found["readable_before"]
    found["coherence"] = found["readable_after"] / share if share else math.nan
    found["kl_text"] = after["kl_drift"].explode().mean()
    told = after.select("prompt", "sample", after="text")
    pairs = before.select("prompt", "sample", before="text").join(told, on=["prompt", "sample"], maintain_order="left")
    return found | {"samples": pairs.unique("prompt", maintain_order=True).head(5).drop("sample").to_dicts()}


def _outcome(report: dict[str, Any]) -> str:
    """The first that holds."""
    if report["wrong_role_after"] > max(CONTAMINATED, report["wrong_role_before"]):
        return "identity confusion"
    if not report["coherence"] >= COHERENT:
        return "coherence lost"
    return "learned" if not report["val_nll_after"] >= report["val_nll_before"] else "nothing learned"


def write_own(folder: Path, adapter: Adapter, report: dict[str, Any]) -> None:
    """adapter/ (plain PEFT), report.json and report.md in a new folder, in one step."""

    def write(place: Path) -> None:
        place.mkdir(parents=True)
        adapter.save(place / "adapter")
        write_json(place / "report.json", report)
        write_text(place / "report.md", "\n".join(_lines(report)) + "\n")

    write_atomic(folder, write)


def _lines(report: dict[str, Any]) -> Sequence[str]:
    r = report
    return [
        f"# {r['outcome']}",
        "",
        f"{r['model']} on {r['rows']} replies of {r['data']} and {r['replay']} of its own; the wrong role speaks in"
        f" {r['wrong_role']} of the data's.",
        "",
        f"- loss on rows held out: {r['val_nll_before']:.3f} before, {r['val_nll_after']:.3f} after (nats per token)",
        f"- KL to base: {r['kl_base']:.3f} on training rows, last epoch ({r['heal']['aggregate']}); {r['kl_text']:.3f}"
        " on its own free text (mean per token)",
        f"- coherence {r['coherence']:.2f}: readable {r['readable_after']:.2f} of {r['texts']} free texts, before"
        f" {r['readable_before']:.2f}",
        f"- wrong role in free text: {r['wrong_role_before']:.2f} before, {r['wrong_role_after']:.2f} after",
        *(f"\n## {s['prompt']}\n\nbefore: {s['before']}\n\nafter: {s['after']}" for s in r["samples"]),
    ]
