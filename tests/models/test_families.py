"""Families: what the probe says of each, held against hand-written hooks without cache; caches with states; what heals.

The whole table (`tests.builders.families`) is slow-marked; some of each kind run always.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import polars as pl
import pytest
import torch
from torch import Tensor

from tests.builders.directions import hooks_left
from tests.builders.families import DENSE, EXPERTS, REFUSED, STATES, family_lm, family_model
from tests.builders.tiny_models import ARCHS, CHATML, tiny_lm
from ws.axes.axis import load_axis
from ws.errors import UserError
from ws.evaluation.prompt_cache import Cached
from ws.evaluation.readings.choices import _batch, _batches
from ws.generation.completions import generate
from ws.healing.baking import export
from ws.healing.config import HealConfig
from ws.healing.target_modules import targeted
from ws.healing.training import heal
from ws.models import probing
from ws.models.kv_cache import fork, new_cache, skips_gaps
from ws.models.lm import LM, positions, wrap_model
from ws.models.probing import PROVEN, TOKENS, is_proven, probe
from ws.models.weight_sites import sites
from ws.steering.direction import Direction
from ws.steering.extraction import extract

ONE_BY_ONE = ("jamba", "zamba")
REASONS = {
    "deepseek_v4": r"block 0 gives out \(1, 9, 2, 32\) where .* is \(1, 9, 32\)",
    "falcon_mamba": r"cannot be read piece by piece through its cache",
    "gemma3n_text": r"block 0 gives out \(4, 1, 9, 32\) where .* is \(1, 9, 32\)",
    "mamba": r"cannot be read piece by piece through its cache",
    "minimax": r"cannot be read piece by piece through its cache .*not compatible with `past_key_values`",
    "recurrent_gemma": r"what was read is forgotten",
    "rwkv": r"body takes no cache",
    "xlstm": r"cannot be read piece by piece through its cache",
}
ALWAYS = ("gpt_neo", "gemma4_text", "qwen3_5_text", "falcon_h1", "granitemoehybrid_experts", "jamba", "mamba2")
QUICK = HealConfig(rank=2, alpha=4, lr=2e-2, epochs=1, batch=8, depth=(0.0, 1.0), min_rows=2, validation=0.0)
# PEFT rewrites their names to those of fused experts
RENAMED = ("deepseek_v2", "deepseek_v3", "ernie4_5_moe", "glm4_moe", "hunyuan_v1_moe", "qwen3_next", "solar_open")
NO_GAPS = ("gpt_neo", "doge")  # gpt_neo's window counts columns, which its cache does not say
PROMPTS = ["Hi.", "May a nurse lie to her boss about the bill?"]


def some(names: Any, always: tuple[str, ...] = ALWAYS) -> list[Any]:
    return [name if name in always else pytest.param(name, marks=pytest.mark.slow) for name in names]


def drawn(lm: LM) -> Direction:
    """A direction of half a state's length at two blocks."""
    dice = torch.Generator().manual_seed(1)
    sizes = states_of(lm)
    vectors = {k: torch.randn(lm.d_model, generator=dice) for k in (1, 2)}
    return Direction({k: v / v.norm() * sizes[k] for k, v in vectors.items()}, "mean_diff", lm.fingerprint)


def states_of(lm: LM) -> list[float]:
    """Mean length of a state behind each block."""
    found: list[float] = []
    handles = [
        block.register_forward_hook(
            lambda _, __, out: found.append(float((out if isinstance(out, Tensor) else out[0]).norm(dim=-1).mean()))
        )
        for block in lm.blocks
    ]
    with torch.inference_mode():
        lm.body(input_ids=torch.tensor([lm.prompt_ids(PROMPTS[0])]), use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def by_hand(lm: LM, ids: list[int], start: int, v: Direction, c: float) -> Tensor:
    """Log-probabilities (T, V) of one row in one forward without cache, c * v / L added from `start` on."""

    def adding(vector: Tensor) -> Any:
        def hook(_: Any, __: Any, output: Any) -> Any:
            x = (output if isinstance(output, Tensor) else output[0]).clone()
            x[:, start:] += c * vector / len(v.layers)
            return x if isinstance(output, Tensor) else (x, *output[1:])

        return hook

    handles = [lm.blocks[k].register_forward_hook(adding(vector)) for k, vector in v.layers.items()]
    try:
        with torch.inference_mode():
            return lm.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().log_softmax(-1)
    finally:
        for handle in handles:
            handle.remove()


def check_steering(lm: LM) -> pl.DataFrame:
    """Doses and prompts in one batch, greedy: each token is the hand hook's own, with its log-probability."""
    v = drawn(lm)
    frame = generate(lm, PROMPTS, v, c=[0.0, 1.0], temperature=0.0, max_new_tokens=5)
    plain = {}
    for row in frame.iter_rows(named=True):
        prompt = lm.prompt_ids(row["prompt"])
        logps = by_hand(lm, [*prompt, *row["token_ids"]], len(prompt) - 1, v, row["c"])
        chosen = logps[len(prompt) - 1 : -1]
        said = chosen.gather(1, torch.tensor(row["token_ids"])[:, None])[:, 0]
        assert float((chosen.max(-1).values - said).max()) < 2e-3  # a near-tie may fall to either side
        plain[row["prompt"], row["c"]] = chosen
    for prompt in PROMPTS:
        assert float((plain[prompt, 0.0][0] - plain[prompt, 1.0][0]).abs().max()) > 0.05
    assert hooks_left(lm) == 0
    return frame


def check_heal(lm: LM, frame: pl.DataFrame, **settings: Any) -> Any:
    """One step on what was written: every weight asked for is adapted, and the model is as it was."""
    before = lm.model.state_dict()
    config = dataclasses.replace(QUICK, **settings)
    adapter = heal(lm, frame, config)
    asked = {*targeted(lm, config.targets or "all")} - {*adapter.meta.get("left_out", ())}
    assert set(adapter.modules) == asked
    assert adapter.meta["update_norm"] > 0 and all(torch.equal(w, before[k]) for k, w in lm.model.state_dict().items())
    return adapter


# --- the table


@pytest.mark.parametrize("name", some([*DENSE, *STATES, *EXPERTS]))
def test_a_family_that_works(name: str) -> None:
    lm = family_lm(name)
    assert lm.one_by_one == (name in ONE_BY_ONE)
    assert lm.gaps == (name not in NO_GAPS) or not skips_gaps(new_cache(lm))
    frame = check_steering(lm)
    if not is_moe(lm):
        check_heal(lm, frame) if name != "qwen3_next_dense" else renamed(lm, frame, "all")
        return
    with pytest.raises(UserError, match=r"fused weights .* targets='attention'"):
        heal(lm, frame, QUICK)
    if name == "deepseek_v32":  # its indexer chooses what is attended to, which has no gradient
        with pytest.raises(UserError, match=r"12 of the 32 adapted weights get no gradient .*indexer"):
            heal(lm, frame, dataclasses.replace(QUICK, targets="attention"))
        return
    adapter = check_heal(lm, frame, targets="attention")
    assert not any("expert" in module for module in adapter.modules)
    if name in RENAMED:
        renamed(lm, frame, "shared")
    else:
        check_heal(lm, frame, targets="shared")


def is_moe(lm: LM) -> bool:
    try:
        targeted(lm, "mlp")
    except UserError as error:
        return "fused" in str(error)
    return False


def renamed(lm: LM, frame: pl.DataFrame, targets: Any) -> None:
    """PEFT takes other weights than it is asked for: said, and the way out works."""
    with pytest.raises(UserError, match=r"were asked for, and PEFT|PEFT cannot adapt"):
        heal(lm, frame, dataclasses.replace(QUICK, targets=targets))
    check_heal(lm, frame, targets="attention")


@pytest.mark.parametrize("name", some(REFUSED, ("gemma3n_text", "rwkv")))
def test_a_family_that_is_refused_says_why(name: str) -> None:
    with pytest.raises(UserError, match=rf"tiny-{name} \(\w+\) cannot be used here: .*{REASONS[name]}"):
        family_lm(name)


# --- the probe


def test_what_is_not_probed_has_been_proven(arch_lm: LM) -> None:
    dice = torch.get_rng_state()
    verdict = probe(arch_lm.model, arch_lm.blocks, list(range(30, 30 + TOKENS)))
    assert verdict.works and not verdict.one_by_one and verdict.error < 1e-5
    assert torch.equal(torch.get_rng_state(), dice) and hooks_left(arch_lm) == 0
    assert is_proven(arch_lm.model) and len(PROVEN) == len(ARCHS)


def test_an_architecture_is_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_KNOWN", {})
    runs: list[Any] = []
    plain = probing._verdict
    monkeypatch.setattr(probing, "_verdict", lambda one: runs.append(one) or plain(one))
    for seed in (0, 1):
        family_lm("smollm3", seed)
    assert len(runs) == 1
    family_lm("arcee")
    assert len(runs) == 2


def broken(how: str) -> Any:
    """A Llama with a fault that transformers' own families show."""
    model = tiny_lm("llama", fresh=True).model
    forward = model.model.forward

    def swallowing(input_ids: Any = None, attention_mask: Any = None, past_key_values: Any = None, **kw: Any) -> Any:
        given = forward(input_ids=input_ids, attention_mask=attention_mask, past_key_values=past_key_values, **kw)
        if past_key_values is not None and attention_mask.shape[1] > input_ids.shape[1]:
            alone = {"attention_mask": attention_mask[:, -input_ids.shape[1] :], "use_cache": False}
            return type(given)(forward(input_ids=input_ids, **alone).last_hidden_state, past_key_values)
        return given

    if how == "deaf":
        model.model.layers[2].forward = lambda hidden_states, **kw: torch.ones_like(hidden_states)
    elif how == "twice":
        model.model.layers[3].forward = model.model.layers[2].__call__
    else:
        model.model.forward = swallowing
    return model


@pytest.mark.parametrize(
    ("how", "said"),
    [("swallows", "what was read is forgotten"), ("deaf", "does not reach the end"), ("twice", "once each, in order")],
)
def test_a_fault_is_told_by_name(how: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_KNOWN", {})
    model = broken(how)
    verdict = probe(model, model.model.layers, list(range(30, 30 + TOKENS)))
    assert not verdict.works and said in verdict.reason


# --- caches with states


def forward(lm: LM, cache: Any, ids: Tensor, mask: Tensor) -> Tensor:
    kw = {"position_ids": positions(mask)[:, -ids.shape[1] :], "past_key_values": cache, "use_cache": True}
    with torch.inference_mode():
        states = lm.body(input_ids=ids, attention_mask=mask, **kw).last_hidden_state
    assert isinstance(states, Tensor)
    return states


@pytest.mark.parametrize("name", some(STATES, ("lfm2", "falcon_h1")))
def test_forks_of_states_do_not_see_each_other(name: str) -> None:
    lm = family_lm(name)
    dice = torch.Generator().manual_seed(0)
    head, one, two = (torch.randint(30, 200, (2, n), generator=dice) for n in (5, 3, 3))
    roots = [new_cache(lm) for _ in range(2)]
    for root in roots:
        forward(lm, root, head, torch.ones(2, 5, dtype=torch.long))
    other = fork(roots[0])
    forward(lm, other, two, torch.ones(2, 8, dtype=torch.long))
    seen = [forward(lm, root, one, torch.ones(2, 8, dtype=torch.long)) for root in roots]
    assert torch.equal(*seen)


@pytest.mark.parametrize("name", some(STATES, ("qwen3_5_text", "jamba")))
def test_rows_are_repeated_chosen_and_read_in_blocks(name: str) -> None:
    """As the evaluator reads: prompts of different length, rows repeated, a block, another behind it, rows chosen."""
    lm = family_lm(name)
    prompts = [lm.prompt_ids(text) for text in PROMPTS]
    blocks = torch.tensor([[40, 41, 42], [50, 51, 52], [60, 61, 62], [70, 71, 72]])
    with torch.inference_mode():
        rows = Cached(lm, prompts)
        rows.repeat(2)
        found = torch.cat([rows.block(blocks), rows.block(blocks.flip(1))], 1)
        for i, row in enumerate(found):
            ids = torch.tensor([[*prompts[i // 2], *blocks[i].tolist(), *blocks[i].flip(0).tolist()]])
            alone = lm.body(input_ids=ids, use_cache=False).last_hidden_state[0, -6:]
            assert float((row - alone).norm() / alone.norm()) < 2e-3


@pytest.mark.parametrize("name", ["qwen3_5_text", "jamba"])
def test_the_tag_is_read_behind_heads_that_forms_share(name: str) -> None:
    lm, axis = family_lm(name), load_axis("care_over_authority")
    positive, negative, context = axis.positive[0], axis.negative[0], axis.contexts[0]
    few = dataclasses.replace(axis, contexts=(context,), positive=(positive,), negative=(negative,))
    v = extract(lm, few, layers=(1, 3), pairs=1)
    for k, vector in v.layers.items():
        seen: list[Tensor] = []
        handle = lm.blocks[k].register_forward_hook(lambda _, __, out, seen=seen: seen.append(out[0, -1]))
        for system in (positive, negative):
            for form in lm.forms:
                ids = lm.prompt_ids(context.user, system=system, form=form, prefix=context.assistant_prefix)
                with torch.inference_mode():
                    lm.body(input_ids=torch.tensor([ids]), use_cache=False)
        handle.remove()
        wanted = (seen[0] + seen[1] - seen[2] - seen[3]) / 2
        assert len(lm.forms) == 2 and float((vector - wanted).norm() / wanted.norm()) < 1e-3


def test_choices_behind_stems_of_different_length() -> None:
    """Padding behind a stem would fade a state: batches are of one stem's length where that is felt."""
    lm = family_lm("qwen3_5_text")
    prompts = [lm.prompt_ids(text) for text in (*PROMPTS, "Who?")]
    words = [[50, 51], [52, 53], [54, 55], [56, 57]]
    replies = [([40, 41, 42, 43], words), ([44], words), ([45], words)]
    groups = _batches(lm, prompts, [len(stem) for stem, _ in replies], 8)
    assert sorted(map(sorted, groups)) == [[0], [1, 2]]
    assert _batches(tiny_lm("qwen3"), prompts, [4, 1, 1], 8) == [[1, 2, 0]]
    with torch.inference_mode():
        for group in groups:
            found = _batch(lm, [prompts[i] for i in group], [replies[i] for i in group], None, [0.0], False)
            for i, logps in zip(group, found, strict=True):
                stem = replies[i][0]
                for word, logp in zip(words, logps[0].tolist(), strict=True):
                    ids = [*prompts[i], *stem, *word]
                    alone = lm.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
                    said = alone[-3:-1].gather(1, torch.tensor(word)[:, None]).mean()
                    assert logp == pytest.approx(float(said), abs=1e-3)


# --- healing


def test_what_peft_refuses_is_left_out_and_said() -> None:
    lm = family_lm("falcon_h1")
    frame = check_steering(lm)
    adapter = check_heal(lm, frame)
    assert adapter.meta["left_out"] == [f"model.layers.{i}.mamba.out_proj" for i in range(4)]


def test_routers_are_never_trained() -> None:
    """JetMoE's are Linear, also those of its attention; so is the gate of Qwen's shared expert. Elsewhere no Linear
    holds them."""
    for name, ends in (
        ("jetmoe", {"self_attention.experts.router.layer", "mlp.router.layer"}),
        ("qwen2_moe", {"mlp.shared_expert_gate"}),
    ):
        lm = family_lm(name)
        routers = [site.name for site in sites(lm) if site.part == "router"]
        assert {router.split(".", 3)[3] for router in routers} == ends and len(routers) == 4 * len(ends)
        assert not {*routers} & {*targeted(lm, "shared"), *targeted(lm, "attention")}
    lm = family_lm("granitemoehybrid_experts")
    assert {name.split(".")[3] for name in targeted(lm, "shared")} == {"mamba", "self_attn", "shared_mlp"}


def test_weights_that_get_no_gradient_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel reads the weight itself: the adapter beside it would learn nothing."""
    lm = tiny_lm("llama", fresh=True)
    frame = pl.DataFrame({"prompt": ["a", "b"], "completion": ["xy", "zw"]})
    def past(mlp: Any, x: Tensor) -> Tensor:
        down = mlp.down_proj
        return torch.nn.functional.linear(mlp.up_proj(x), getattr(down, "base_layer", down).weight)

    names = targeted(lm)
    monkeypatch.setattr(type(lm.blocks[0].mlp), "forward", past)
    monkeypatch.setattr("ws.healing.training_step.targeted", lambda *_: names)
    with pytest.raises(UserError, match=r"8 of the 28 adapted weights get no gradient \(.*0.mlp.gate_proj\)"):
        heal(lm, frame, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mistral3", "qwen3_5_text", "falcon_h1", "granite"])
def test_export_gives_a_model_of_its_own_class(name: str, tmp_path: Any) -> None:
    lm = family_lm(name)
    adapter = heal(lm, check_steering(lm), QUICK)
    assert export(lm, [adapter], tmp_path / "student") < 1e-4


def test_a_refused_model_is_refused_where_it_is_wrapped() -> None:
    tok = tiny_lm("qwen3").tok
    assert tok.chat_template == CHATML
    with pytest.raises(UserError, match=r"docs/models\.md"):
        wrap_model(family_model("rwkv"), tok)
