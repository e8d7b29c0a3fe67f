"""A whole experiment of stub size: a tiny random model whose replies end, an axis and items of its own."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.builders.tiny_models import tiny_model, tiny_tokenizer
from ws.gating.foundations import FOUNDATIONS
from ws.healing.config import HealConfig
from ws.models.lm import LM, wrap_model
from ws.runs.config import ControlConfig, DataConfig, DoseConfig, EvalConfig, RunConfig, SamplingConfig, flat

AXIS = """
name = "tiny"
target = "Authority"
intended = {{ Authority = -1, Care = 1 }}
positive = ["You care.", "You help."]
negative = ["You obey.", "You bow."]
narration = ["i care"]
contexts = {contexts}
train = {train}
select = {select}
probes = {probes}
"""


@functools.cache
def ending_lm() -> LM:
    """A tiny Qwen3 with random weights whose head favours the end of the turn: replies of about 20 bytes."""
    model = tiny_model("qwen3", max_position_embeddings=1024)
    tok = tiny_tokenizer()
    model.generation_config.eos_token_id = tok.eos_token_id
    model.generation_config.pad_token_id = tok.pad_token_id
    model.lm_head.bias = nn.Parameter(torch.zeros(model.lm_head.out_features))
    with torch.no_grad():
        model.lm_head.bias[tok.eos_token_id] = 2.5
    return wrap_model(model, tok, name="tiny-ending")


def write_axis(folder: Path, **changes: str) -> Path:
    """The axis file; `changes` replace a key's text."""
    lists = {"contexts": ("Say", 4), "train": ("May I", 8), "select": ("Can we", 4), "probes": ("Will he", 4)}
    text = AXIS.format(**{name: json.dumps([f"{word} {i}?" for i in range(n)]) for name, (word, n) in lists.items()})
    lines = [x for x in text.splitlines() if x.split(" = ")[0] not in changes]
    path = folder / "tiny.toml"
    path.write_text("\n".join([*lines, *[f"{name} = {value}" for name, value in changes.items()]]) + "\n")
    return path


def write_items(folder: Path) -> Path:
    rows = [
        {
            "id": f"{f}{i}",
            "foundation": f,
            "other_violate": f"You see {f} hurt {i}.",
            "self_violate": f"You hurt {f} {i}.",
        }
        for f in FOUNDATIONS
        for i in range(2)
    ]
    path = folder / "items.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def small_config(folder: Path, **changes: Any) -> RunConfig:
    """Everything as small as it goes; coherence floors that a random model meets."""
    config = RunConfig(
        axis=str(write_axis(folder)),
        model="tiny-ending",
        dose=DoseConfig(grid=(1.0,), bisect=0, texts=8, random_draws=1, coherence=1e-60),
        data=DataConfig(doses=(0.5, 1.0), keep=8, finished=False, tail_ppl=1e9, rep=1.1, loop=1.1),
        heal=HealConfig(min_rows=4, epochs=1, batch=4),
        evaluation=EvalConfig(items=str(write_items(folder)), think=0, texts=8, capability=False, self_violate=False),
        controls=ControlConfig(prompted=False),
        max_new_tokens=8,
        threads=1,
    )
    return dataclasses.replace(config, **changes)


def bare_config(folder: Path, **changes: Any) -> RunConfig:
    """Smaller still: no control beside the random one, one item a foundation, replies of eight tokens."""
    small = small_config(folder, sampling=SamplingConfig(max_new_tokens=8))
    bare = ControlConfig(sft=False, sft_base=False, engineered=False, prompted=False)
    short = dataclasses.replace(small.evaluation, per_foundation=1, readings=())
    return dataclasses.replace(small, controls=bare, evaluation=short, **changes)


def as_base(config: RunConfig) -> dict[str, Any]:
    """A configuration as the table [base] of a grid has it."""
    told = flat(dataclasses.asdict(config))
    return {name: "None" if v is None else list(v) if isinstance(v, tuple) else v for name, v in told.items()}
