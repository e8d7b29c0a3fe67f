"""Training the embedded model from scratch: a fixed number of steps on the seeded corpus (`make mini`).

    python -m ws.models.mini.training --out DIR

Decision tokens are up-weighted, personas are drawn sharper at first (corpus.strength), and a quarter of the rows get a
constant random direction on their assistant positions, so that random directions stop mattering while meant ones do.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from ws.models.mini import corpus, tokens
from ws.models.mini.turns import LATE


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the shipped weights."""

    seed: int = 0
    school: int = 50_000
    """conversations of the first stage, in which the curriculum runs (corpus.progress 0 to 1)"""
    world: int = 90_000
    """conversations of the second stage, the full mix: without it personas are read but the text is not fluent"""
    late: int = 85_000
    """conversations of the third stage, more text and exams in place of labels"""
    last: int = 26_000
    """conversations of the fourth stage, the full mix again: the third one forgets personas that need their syntax"""
    batch_tokens: int = 1024
    """padded tokens per optimiser step"""
    lr: float = 1.5e-3
    warmup: int = 100
    weight_decay: float = 0.05
    noise_share: float = 0.25
    """share of rows that get a random direction"""
    noise_size: float = 0.5
    """largest norm of that direction, as a share of the residual's norm"""
    decisions: bool = True
    """up-weight decision tokens"""
    threads: int = 2
    bf16: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    """autocast, where the CPU has instructions for it: elsewhere it is a hundred times slower than float32"""
    compiled: bool = shutil.which("g++") is not None
    """compile the blocks, where there is a compiler: 1.5 times as many tokens per second, after a minute"""


@dataclass
class Row:
    ids: list[int]
    weights: list[float]
    start: int  # first assistant position


def config(vocabulary: int) -> Qwen3Config:
    """About 2.8M parameters, tied embeddings."""
    made = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=3,
        head_dim=32,
        intermediate_size=512,
        tie_word_embeddings=True,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        attention_bias=False,
        use_cache=True,
    )
    made._attn_implementation = "eager"  # on a CPU the backward pass of sdpa takes half of a step
    return made


DECISION = 2.0  # of the school: on top of each decision's own weight


def encode(tok: PreTrainedTokenizerFast, c: corpus.Conversation, decision: float = 1.0) -> Row:
    """Token ids and the loss weight of each token as a target; pieces are tokenised apart and joined as ids."""
    pieces = list(corpus.segments(c))
    ids, weights, start = [], [], 0
    for encoding, (_, weight) in zip(
        tok.backend_tokenizer.encode_batch([p for p, _ in pieces], add_special_tokens=False), pieces, strict=True
    ):
        n = len(encoding.ids)
        ids += encoding.ids
        if weight and not start:
            start = len(ids) - n
        first = (decision * weight if weight > 1.5 else weight) if decision else min(weight, 1.0)
        weights += [first] + [min(weight, 1.0)] * (n - 1) if n else []
    return Row(ids, weights, start)


def batches(rows: list[Row], budget: int, seed: int, chunk: int = 4096) -> Iterator[list[Row]]:
    """Length-bucketed batches; the order of the stream (the curriculum) is kept chunk by chunk."""
    rng = random.Random(seed)
    for i in range(0, len(rows), chunk):
        part = sorted(rows[i : i + chunk], key=lambda r: len(r.ids))
        made: list[list[Row]] = [[]]
        for row in part:
            if len(row.ids) * (len(made[-1]) + 1) > budget and made[-1]:
                made.append([])
            made[-1].append(row)
        rng.shuffle(made)
        yield from made


def collate(rows: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded ids (b, t), target weights (b, t), assistant mask (b, t)."""
    width = max(len(r.ids) for r in rows)
    ids, weights = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width)
    spoken = torch.zeros(len(rows), width)
    for i, r in enumerate(rows):
        ids[i, : len(r.ids)] = torch.tensor(r.ids)
        weights[i, : len(r.ids)] = torch.tensor(r.weights)
        spoken[i, r.start : len(r.ids)] = 1
    return ids, weights, spoken


class Noise:
    """A constant random direction after one of blocks 1-3, on the assistant positions of some rows."""

    def __init__(self, model: Qwen3ForCausalLM, share: float, size: float) -> None:
        self.share, self.size, self.layer = share, size, 0
        self.push = torch.zeros(0)
        self.hooks = [
            model.model.layers[i].register_forward_hook(lambda _m, _a, out, i=i: self.add(out, i)) for i in (1, 2, 3)
        ]

    def close(self) -> None:
        """Take the hooks off: a second stage brings its own."""
        for hook in self.hooks:
            hook.remove()

    def draw(self, rng: torch.Generator, spoken: Tensor, width: int) -> None:
        b = spoken.shape[0]
        unit = nn.functional.normalize(torch.randn(b, 1, width, generator=rng), dim=-1)
        scale = torch.rand(b, 1, 1, generator=rng) * self.size * (torch.rand(b, 1, 1, generator=rng) < self.share)
        self.layer = int(torch.randint(1, 4, (1,), generator=rng))
        self.push = unit * scale * spoken[:, :, None]

    def add(self, out: Tensor, i: int) -> Tensor:
        if i != self.layer or not self.share:
            return out
        size = out.detach().float().norm(dim=-1, keepdim=True)
        return out + (self.push * size).to(out.dtype)


def loss_of(model: Qwen3ForCausalLM, ids: Tensor, weights: Tensor, bf16: bool) -> Tensor:
    """Weighted mean cross-entropy of the next token; only weighted positions reach the head."""
    target = weights[:, 1:] > 0
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden = model.model(ids, use_cache=False).last_hidden_state[:, :-1][target]
        logits = model.lm_head(hidden)
    nll = nn.functional.cross_entropy(logits.float(), ids[:, 1:][target], reduction="none")
    w = weights[:, 1:][target]
    return (nll * w).sum() / w.sum()


def rate(step: int, total: int, recipe: Recipe) -> float:
    """Linear warm-up, cosine to a twentieth."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    x = (step - recipe.warmup) / max(1, total - recipe.warmup)
    return recipe.lr * (0.05 + 0.95 * 0.5 * (1 + float(torch.cos(torch.tensor(x * torch.pi)))))


def train(recipe: Recipe, out: Path, start: Path | None = None, every: int = 200) -> Path:
    """Write the trained model, its tokenizer and the recipe to `out`; `start`: a trained school, to skip that stage."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    torch.set_flush_denormal(True)
    # a changed corpus makes another vocabulary: weights keep the tokenizer that they were trained with
    tok = (
        PreTrainedTokenizerFast.from_pretrained(start)
        if start
        else tokens.build(corpus.text(c) for c in corpus.conversations(corpus.SEED, 20_000))
    )
    model = Qwen3ForCausalLM(config(len(tok)))
    if start:
        model.load_state_dict(Qwen3ForCausalLM.from_pretrained(start, dtype=torch.float32).state_dict())
    if recipe.compiled:
        for block in model.model.layers:
            block.forward = torch.compile(block.forward, dynamic=True)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = tok.eos_token_id, tok.pad_token_id
    seed = corpus.SEED + recipe.seed
    school = corpus.conversations(seed, 0 if start else recipe.school)
    world = corpus.conversations(seed + 1, recipe.world, progress=1.0)
    late = corpus.conversations(seed + 2, recipe.late, progress=1.0, mix=LATE)
    last = corpus.conversations(seed + 3, recipe.last, progress=1.0)
    for talks, decision, lr in ((school, DECISION, 1.0), (world, 1.0, 1.0), (late, 1.0, 1.0), (last, 1.0, 2 / 3)):
        rows = [encode(tok, c, decision if recipe.decisions else 0.0) for c in talks]
        if rows:
            plan = list(batches(rows, recipe.batch_tokens, recipe.seed))
            size = sum(len(r.ids) for r in rows)
            print(f"{len(rows)} rows, {size} tokens, {len(plan)} steps", file=sys.stderr, flush=True)
            steps(model, plan, replace(recipe, lr=lr * recipe.lr), every, lambda: save(model, tok, recipe, out))
    save(model, tok, recipe, out)
    return out


def steps(model: Qwen3ForCausalLM, plan: list[list[Row]], recipe: Recipe, every: int, snapshot) -> None:  # type: ignore[no-untyped-def]
    """The loop over the plan."""
    optimiser = torch.optim.AdamW(
        model.parameters(), fused=True, lr=recipe.lr, betas=(0.9, 0.95), weight_decay=recipe.weight_decay
    )
    noise = Noise(model, recipe.noise_share, recipe.noise_size)
    rng = torch.Generator().manual_seed(recipe.seed)
    began, seen, running = time.time(), 0, 0.0
    for step, rows in enumerate(plan):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, len(plan), recipe)
        ids, weights, spoken = collate(rows)
        noise.draw(rng, spoken, model.config.hidden_size)
        loss = loss_of(model, ids, weights, recipe.bf16)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seen, running = (
            seen + ids.numel(),
            0.98 * running + 0.02 * float(loss.detach()) if step else float(loss.detach()),
        )
        if step % every == 0 or step == len(plan) - 1:
            took = time.time() - began
            print(
                f"step {step}/{len(plan)} loss {running:.3f} {seen / took:.0f} tokens/s {took:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        if step % 500 == 499:
            snapshot()
    noise.close()


def save(model: Qwen3ForCausalLM, tok: PreTrainedTokenizerFast, recipe: Recipe, out: Path) -> None:
    """fp16 weights, tokenizer, recipe."""
    out.mkdir(parents=True, exist_ok=True)
    state = {
        k: v.detach().to(torch.float16).contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"
    }
    model.save_pretrained(out, state_dict=state)
    tok.save_pretrained(out)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe) | {"corpus": corpus.corpus_hash()}, indent=1) + "\n")


def main() -> None:
    """Command line: every field of the recipe is a flag."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path)
    for name, value in asdict(Recipe()).items():
        kind = (lambda s: s.lower() in ("1", "true", "yes")) if isinstance(value, bool) else type(value)
        parser.add_argument("--" + name.replace("_", "-"), type=kind, default=value)
    args = vars(parser.parse_args())
    train(Recipe(**{k: v for k, v in args.items() if k not in ("out", "start")}), args["out"], args["start"])


if __name__ == "__main__":
    main()
