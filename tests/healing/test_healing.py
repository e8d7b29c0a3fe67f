"""Healing: gradients against a merged model, figures against full logits, the knobs do what they say, nothing leaks."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from peft import PeftModel
from torch import Tensor

from tests.builders.adapters import IDS, logits, made, weights_hash
from tests.builders.tiny_models import tiny_lm, tiny_model
from ws.app.cli import main
from ws.axes.axis import Axis
from ws.errors import Cancelled, UserError
from ws.healing.baking import bake
from ws.healing.barrier import position_losses
from ws.healing.config import HealConfig
from ws.healing.dataset import split, training_rows
from ws.healing.divergences import AGGREGATES, BARRIERS
from ws.healing.objectives import OBJECTIVES
from ws.healing.target_modules import TARGETS
from ws.healing.training import CURVE, heal
from ws.healing.training_step import HealPlan, HealTrainer
from ws.models.adapters.adapter import Adapter
from ws.models.adapters.attaching import attached
from ws.models.adapters.families import FAMILIES
from ws.models.attachments import private_copy
from ws.models.lm import LM
from ws.models.recipe import MINI
from ws.models.setting_names import known_names

QUICK = HealConfig(rank=4, alpha=8, lr=2e-2, epochs=2, batch=4, depth=(0.0, 1.0), tau=0.1, beta=0.3, min_rows=4)


def kept(n: int = 12, seed: int = 0) -> pl.DataFrame:
    """Rows like those of ws.generate: two completions per prompt, of different length."""
    dice = torch.Generator().manual_seed(seed)
    ids = [torch.randint(60, 90, (5 + i % 4,), generator=dice).tolist() for i in range(n)]
    return pl.DataFrame({"prompt": [f"Question {i // 2}{'?' * (i // 2)}" for i in range(n)], "token_ids": ids})


def student(lm: LM, config: HealConfig = QUICK, history: list[Any] | None = None, **settings: Any) -> HealTrainer:
    config = dataclasses.replace(config, **settings).resolved(lm)
    return HealTrainer(
        private_copy(lm), HealPlan(config, training_rows(lm, kept()), [], history or [], 1 if history else 0)
    )


def shaken(one: HealTrainer, size: float = 0.3, seed: int = 5) -> HealTrainer:
    """With the zeros that an adapter starts from replaced, so that it does something."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in one.trained:
            p.add_(size * torch.randn(p.shape, generator=dice) / p.shape[-1] ** 0.5)
    return one


# --- what is measured


@pytest.mark.parametrize("aggregate", ["mean", "rmse", "max"])
def test_figures_against_full_logits(arch_lm: LM, aggregate: str) -> None:
    one = shaken(student(arch_lm, aggregate=aggregate))
    _, nll, d = one._losses([0, 5, 2])
    for k, i in enumerate([0, 5, 2]):
        row = one.plan.training[i]
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            mine = one.lm.model(input_ids=ids, use_cache=False).logits.float().log_softmax(-1)
            base = arch_lm.model(input_ids=ids, use_cache=False).logits.float().log_softmax(-1)
        places = slice(row.start - 1, len(row.ids) - 1)
        target = ids[0, row.start :, None]
        assert nll[k].item() == pytest.approx(-mine[0, places].gather(-1, target).mean().item(), abs=1e-4)
        kl = (mine.exp() * (mine - base)).sum(-1)[0, places]
        values = {"mean": kl.mean(), "rmse": kl.square().mean().sqrt(), "max": kl.max()}
        assert d["kl_base"][k].item() == pytest.approx(values[aggregate].item(), abs=1e-4)
    assert d["kl_base"].mean() > 0.05


def test_both_references_are_logged(tiny: LM) -> None:
    history = [(made(tiny, seed=3), 1.0)]
    one = student(tiny, history=history)
    _, _, d = one._losses([0, 1])
    # a fresh adapter does nothing yet: the student is the previous one
    assert d["kl_prev"].abs().max() < 1e-4 < 0.05 < d["kl_base"].min()
    with attached(tiny, history), torch.no_grad():
        row = one.plan.training[0]
        body = tiny.body(input_ids=torch.tensor([row.ids]), use_cache=False).last_hidden_state
        assert body is not None
    expected = body[0, row.start - 1 : len(row.ids) - 1]
    torch.testing.assert_close(one.references["prev"][0], expected, rtol=0, atol=2e-5)


def test_references_are_the_pristine_model(arch_lm: LM) -> None:
    one = student(arch_lm)
    row = one.plan.training[4]
    with torch.no_grad():
        body = arch_lm.body(input_ids=torch.tensor([row.ids]), use_cache=False).last_hidden_state
    assert body is not None
    expected = body[0, row.start - 1 : len(row.ids) - 1]
    torch.testing.assert_close(one.references["base"][4], expected, rtol=0, atol=2e-5)


# --- gradients


def gradients(one: HealTrainer, batch: list[int]) -> list[Tensor]:
    _, nll, d = one._losses(batch)
    loss = (nll + one.slope * (d["kl_prev"] - one.tau).relu()).mean()
    return list(torch.autograd.grad(loss, one.trained))


@pytest.mark.parametrize("arch", ["qwen3", "gpt2", "gemma2"])
def test_gradient_on_history_is_that_of_a_merged_model(arch: str) -> None:
    lm = tiny_lm(arch)
    history = [(made(lm, seed=1, size=0.1), 1.0), (made(lm, seed=2, size=0.1), 0.5)]
    live = shaken(student(lm, history=history, tau=0.0))
    merged = shaken(student(bake(lm, history), tau=0.0))
    for one, other in zip(gradients(live, [0, 3]), gradients(merged, [0, 3]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert not any(p.requires_grad for n, p in live.lm.model.named_parameters() if "ws_new" not in n)


def test_recomputed_blocks_change_nothing(tiny: LM) -> None:
    one, other = (shaken(student(tiny, checkpoint=c)) for c in (False, True))
    for a, b in zip(gradients(one, [0, 3]), gradients(other, [0, 3]), strict=True):
        assert torch.equal(a, b)


def test_pressure_is_the_ratio_of_gradient_norms(tiny: LM) -> None:
    one = shaken(student(tiny, measure_every=1))
    _, nll, d = one._losses([0, 1, 2])
    held = 0.3 * (d["kl_base"] - 0.1).relu().mean()
    norms = [
        torch.cat([g.flatten() for g in torch.autograd.grad(x, one.trained, retain_graph=True)]).norm()
        for x in (held, nll.mean())
    ]
    row = one.step(0, [0, 1, 2])
    assert row["active"] == 1 and row["pressure"] == pytest.approx((norms[0] / norms[1]).item(), rel=1e-4)


def test_measuring_does_not_change_the_training(tiny: LM) -> None:
    one, other = (heal(tiny, kept(), dataclasses.replace(QUICK, measure_every=k)) for k in (1, 1000))
    assert one.curve["pressure"].null_count() == 0 and other.curve["pressure"].null_count() == other.curve.height
    for key in one.state:
        # a second backward pass rounds differently: 2e-5 after the steps on a CPU without AVX-512
        torch.testing.assert_close(one.state[key], other.state[key], rtol=1e-4, atol=1e-4)


def test_l2_pulls_on_the_update(tiny: LM) -> None:
    one = shaken(student(tiny, beta=0.0, l2=0.1))
    expected = [
        g + 0.1 * s
        for g, s in zip(gradients(one, [0]), torch.autograd.grad(one.growing.square(), one.trained), strict=True)
    ]
    _, nll, _ = one._losses([0])
    one._backward(nll.mean(), None, measured=False)
    for p, g in zip(one.trained, expected, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-4, atol=1e-6)


def test_the_spectral_penalty_is_that_of_a_singular_value_decomposition(tiny: LM) -> None:
    one = shaken(student(tiny, beta=0.0, spectral=0.5))
    named = one.growing._parts().items()
    tops = [torch.linalg.matrix_norm(one.growing.live.layers()[n].get_delta_weight("ws_new"), 2) for n, _ in named]
    expected = torch.autograd.grad(0.5 * torch.stack(tops).mean(), one.trained)
    torch.testing.assert_close(one.growing.spectral(), torch.stack(tops).mean(), rtol=1e-3, atol=0)
    plain = gradients(one, [0])
    one._backward(one._losses([0])[0].mean(), None, measured=False)
    for p, g, s in zip(one.trained, plain, expected, strict=True):
        torch.testing.assert_close(p.grad, g + s, rtol=5e-2, atol=2e-3)


@pytest.mark.parametrize("penalty", ["spectral", "l2", "weight_decay"])
def test_arms_that_hold_the_update_small(tiny: LM, penalty: str) -> None:
    strength = {"spectral": 1.0, "l2": 0.5, "weight_decay": 20.0}[penalty]
    config = dataclasses.replace(QUICK, targets="writers", depth=(0.0, 0.5))
    free, held = (heal(tiny, kept(), dataclasses.replace(config, **{penalty: x})) for x in (0.0, strength))
    name = "spectral" if penalty == "spectral" else "update_norm"
    assert held.meta[name] < 0.8 * free.meta[name] and held.meta["config"][penalty] == strength


@pytest.mark.parametrize("family", ["ia3", "boft", "dora"])
def test_decay_pulls_a_factor_to_where_it_does_nothing(tiny: LM, family: str) -> None:
    """To one, or to the norms of the weight's rows, and not to nothing, as AdamW's own would."""
    config = dataclasses.replace(QUICK, adapter=family, targets="writers", depth=(0.0, 0.5), beta=0.0)
    away = []
    for decay in (0.0, 40.0):
        adapter = heal(tiny, kept(), dataclasses.replace(config, weight_decay=decay))
        resting = {n: parts[p] for n, parts in adapter.modules.items() for p in parts.keys() & FAMILIES[family].resting}
        starts = [tiny.model.get_submodule(n).weight.norm(dim=1) if family == "dora" else 1.0 for n in resting]
        away.append(max((v - s).abs().max().item() for v, s in zip(resting.values(), starts, strict=True)))
    assert away[1] < 0.5 * away[0]


def test_dynamic_fine_tuning_weighs_each_token_by_its_probability(tiny: LM) -> None:
    """Its gradient is that of -p, since p grad(log p) = grad(p)."""
    one = shaken(student(tiny, objective="dft", beta=0.0))
    fitted, nll, _ = one._losses([0, 3])
    logp, lengths = [], [len(one.plan.training[i].ids) - one.plan.training[i].start for i in (0, 3)]
    for i in (0, 3):
        row = one.plan.training[i]
        out = one.lm.model(input_ids=torch.tensor([row.ids]), use_cache=False).logits.float().log_softmax(-1)
        logp.append(out[0, row.start - 1 : -1].gather(-1, torch.tensor(row.ids[row.start :])[:, None]).squeeze(-1))
    assert [len(x) for x in logp] == lengths
    torch.testing.assert_close(fitted, torch.stack([(-x.exp() * x).mean() for x in logp]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(nll, torch.stack([-x.mean() for x in logp]), rtol=1e-4, atol=1e-5)
    expected = torch.autograd.grad(torch.stack([-x.exp().mean() for x in logp]).mean(), one.trained)
    for g, e in zip(torch.autograd.grad(fitted.mean(), one.trained), expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-3, atol=1e-5)


ARMS: dict[str, dict[str, Any]] = {
    **{name: {"barrier": name} for name in BARRIERS},
    "weight_decay": {"weight_decay": 0.1}, "l2": {"l2": 1e-3}, "spectral": {"spectral": 1e-2},
    "anchored": {"objective": "dft", "barrier": "kl_fwd", "aggregate": "mean", "tau": 0.0, "reference": "base"},
}  # fmt: skip


def token_nll(one: HealTrainer) -> Tensor:
    rows = one.plan.training[:4]
    targets = torch.tensor([i for row in rows for i in row.ids[row.start :]])
    with torch.no_grad():
        return position_losses(one.lm.head, one._hidden(rows), targets, {})[0]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_under_every_arm(tiny: LM, family: str, arm: str, tmp_path: Path) -> None:
    """It takes steps, fits better than before, and comes back from its folder as it went in."""
    rows = training_rows(tiny, kept(4))
    config = dataclasses.replace(QUICK, adapter=family, targets="attention", depth=(0.0, 0.25), epochs=1, **ARMS[arm])
    config = dataclasses.replace(config, lr=5e-2 * FAMILIES[family].lr)
    config = config.resolved(tiny)
    one = HealTrainer(private_copy(tiny), HealPlan(config, rows * 5, [], [], 0))
    with torch.enable_grad():
        before = token_nll(one)
        for i in range(5):
            one.step(i, [0, 1, 2, 3])
        after = token_nll(one)
    if config.objective == "dft":  # what it raises is the probability itself
        assert (-after).exp().mean() > 1.02 * (-before).exp().mean()
    else:
        assert after.mean() < before.mean() - 0.01
    adapter = Adapter(*one.growing.result(), tiny.fingerprint)
    adapter.save(tmp_path / "a")
    with attached(tiny, [Adapter.load(tmp_path / "a", tiny)]), torch.no_grad():
        body = tiny.body(input_ids=torch.tensor([rows[0].ids]), use_cache=False).last_hidden_state
    assert body is not None
    with torch.no_grad():
        mine = one._hidden(rows[:1])
    torch.testing.assert_close(body[0, rows[0].start - 1 : -1], mine, rtol=0, atol=1e-4)


# --- the knobs


def test_every_architecture_learns(arch_lm: LM) -> None:
    before, hashed = logits(arch_lm), weights_hash(arch_lm)
    adapter = heal(arch_lm, kept(), QUICK)
    assert dict(adapter.curve.schema) == CURVE and adapter.curve.height == 6
    nll = adapter.curve["nll"]
    assert nll[-1] < nll[0] - 0.3 and adapter.curve["val_nll"].null_count() == 3
    assert torch.equal(logits(arch_lm), before) and weights_hash(arch_lm) == hashed
    assert arch_lm.model.config.use_cache and arch_lm.model.generation_config.use_cache
    with attached(arch_lm, [adapter]):
        assert (logits(arch_lm) - before).abs().max() > 0.05


def kl_to_base(lm: LM, adapter: Adapter) -> float:
    base = logits(lm).log_softmax(-1)
    with attached(lm, [adapter]):
        mine = logits(lm).log_softmax(-1)
    return (mine.exp() * (mine - base)).sum(-1).mean().item()


@pytest.mark.parametrize("barrier", ["kl_rev", "kl_fwd"])
def test_a_strong_barrier_holds_the_student_back(tiny: LM, barrier: Any) -> None:
    config = dataclasses.replace(QUICK, barrier=barrier, tau=0.0, epochs=4)
    free, held = (heal(tiny, kept(), dataclasses.replace(config, beta=beta)) for beta in (0.0, 100.0))
    assert held.curve["D"][-1] < 0.2 * free.curve["D"][-1]
    assert kl_to_base(tiny, held) < 0.2 * kl_to_base(tiny, free)
    assert held.meta["active"] > 0.9 and held.curve["pressure"].max() > 1
    assert free.meta["active"] == 0 and free.curve["over"][-1] == 1


def test_no_barrier_is_beta_zero(tiny: LM) -> None:
    one = heal(tiny, kept(), dataclasses.replace(QUICK, barrier="nll"))
    other = heal(tiny, kept(), dataclasses.replace(QUICK, beta=0.0))
    assert one.digest == other.digest and one.curve["D"].max() > 0.1


def test_an_inert_barrier_is_no_barrier(tiny: LM) -> None:
    one = heal(tiny, kept(), dataclasses.replace(QUICK, tau=1e6))
    other = heal(tiny, kept(), dataclasses.replace(QUICK, beta=0.0))
    assert one.digest == other.digest and one.meta["active"] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_learning_rate_nothing_moves(tiny: LM, family: Any) -> None:
    adapter = heal(tiny, kept(), dataclasses.replace(QUICK, adapter=family, lr=0.0, epochs=1))
    before = logits(tiny)
    with attached(tiny, [adapter]):
        torch.testing.assert_close(logits(tiny), before, rtol=0, atol=1e-4)
    if family in ("lora", "delora"):
        assert adapter.curve["update_norm"].drop_nulls().to_list() == [0.0] * 3 if family == "lora" else True
        assert adapter.meta["update_norm"] == 0 and adapter.meta["spectral"] == 0
    assert adapter.meta["update_norm"] < 1e-2 and adapter.curve["D"].max() < 1e-4


@pytest.mark.parametrize("arch", ["qwen3", "gpt2"])
@pytest.mark.parametrize("family", FAMILIES)
def test_families_learn_and_load_in_plain_peft(arch: str, family: Any, tmp_path: Path) -> None:
    lm = tiny_lm(arch)
    config = dataclasses.replace(QUICK, adapter=family)
    if arch == "gpt2" and family in ("delora", "oft", "boft"):
        with pytest.raises(UserError, match="Use one of: lora, dora, pissa, ia3"):
            heal(lm, kept(), config)
        return
    adapter = heal(lm, kept(), config)
    assert adapter.curve["nll"][-1] < adapter.curve["nll"][0] - 0.2
    assert adapter.curve["D"][0] < 1e-4 and adapter.meta["spectral"] < adapter.meta["update_norm"]
    adapter.save(tmp_path / "a")
    with attached(lm, [Adapter.load(tmp_path / "a", lm)]):
        expected = logits(lm)
    model: Any = PeftModel.from_pretrained(private_copy(lm, own_weights=True).model, str(tmp_path / "a"))
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=IDS, use_cache=False).logits, expected, rtol=0, atol=1e-4)


def test_update_norm_and_spectral_are_those_of_the_weights(tiny: LM) -> None:
    adapter = heal(tiny, kept(), QUICK)
    before = dict(tiny.model.named_parameters())
    with attached(tiny, [adapter]):
        updates = [tiny.model.get_parameter(f"{name}.weight") - before[f"{name}.weight"] for name in adapter.modules]
    assert adapter.meta["update_norm"] == pytest.approx(
        torch.stack([u.norm() for u in updates]).norm().item(), rel=1e-3
    )
    assert adapter.curve["update_norm"][-1] == pytest.approx(adapter.meta["update_norm"])
    tops = torch.stack([torch.linalg.matrix_norm(u, 2) for u in updates])
    assert adapter.meta["spectral"] == pytest.approx(tops.mean().item(), rel=2e-2)


def test_same_seed_same_adapter(tiny: LM) -> None:
    torch.manual_seed(1)
    one = heal(tiny, kept(), QUICK)
    state = torch.get_rng_state()
    other = heal(tiny, kept(), QUICK)
    assert one.digest == other.digest and torch.equal(torch.get_rng_state(), state)
    figures = [c for c in CURVE if c != "seconds"]
    assert one.curve.select(figures).equals(other.curve.select(figures))
    assert heal(tiny, kept(), dataclasses.replace(QUICK, seed=1)).digest != one.digest


def test_heals_side_by_side_do_not_mix_their_dice(tiny: LM) -> None:
    expected = {seed: heal(tiny, kept(), dataclasses.replace(QUICK, seed=seed)).digest for seed in range(3)}
    found: dict[int, str] = {}

    def one(seed: int) -> None:
        found[seed] = heal(tiny, kept(), dataclasses.replace(QUICK, seed=seed)).digest

    threads = [threading.Thread(target=one, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_gradients_switched_off_outside_do_not_matter(tiny: LM) -> None:
    expected = heal(tiny, kept(), QUICK).digest
    with torch.inference_mode():
        adapter = heal(tiny, kept(), QUICK)
        baked = bake(tiny, [adapter])
    assert adapter.digest == expected
    assert heal(baked, kept(), QUICK).curve["nll"][-1] < adapter.curve["nll"][0]


def test_targets_and_depth_train_only_these(tiny: LM) -> None:
    adapter = heal(tiny, kept(), dataclasses.replace(QUICK, targets="writers", depth=(0.25, 0.75), epochs=1))
    assert {n.split(".", 2)[2] for n in adapter.modules} == {
        f"{i}.{m}" for i in (1, 2) for m in ("self_attn.o_proj", "mlp.down_proj")
    }


def test_beta_grows_over_the_rounds(tiny: LM) -> None:
    config = HealConfig(beta=0.5, beta_pow=2).resolved(tiny)
    assert [config.slope(r) for r in (0, 1, 2)] == [0.5, 2.0, 4.5]
    assert dataclasses.replace(config, barrier="nll").slope(2) == 0
    first = heal(tiny, kept(), QUICK)
    second = heal(tiny, kept(), dataclasses.replace(QUICK, beta_pow=1.0), history=[first], round=1)
    assert second.meta["beta"] == 0.6 and second.meta["history"] == [[first.digest, 1.0]]
    assert second.fingerprint == tiny.fingerprint
    assert second.curve["kl_prev"][0] < 1e-4 < second.curve["kl_base"][0]
    with attached(tiny, [first, second]):
        assert logits(tiny).isfinite().all()


def test_reference_base_holds_on_to_the_base(tiny: LM) -> None:
    history = [made(tiny, seed=3)]
    adapter = heal(tiny, kept(), dataclasses.replace(QUICK, reference="base"), history=history, round=1)
    assert adapter.curve["D"].equals(adapter.curve["kl_base"]) and adapter.curve["D"][0] > 0.05


def test_the_schedule(tiny: LM) -> None:
    config = HealConfig(lr=1.0, epochs=5, batch=4, warmup=0.1).resolved(tiny)
    plan = HealPlan(config, training_rows(tiny, kept(80)), [], [], 0)
    rates = [plan.rate(i) for i in range(plan.steps)]
    assert plan.steps == 100 and rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5) and 0 < rates[99] < 0.001


def test_patience_stops_and_returns_the_best(tiny: LM) -> None:
    config = dataclasses.replace(QUICK, lr=0.3, epochs=12, patience=2, validation=0.3)
    adapter = heal(tiny, kept(24), config)
    ends = adapter.curve.filter(pl.col("epoch") != pl.col("epoch").shift(-1, fill_value=-1))["val_nll"]
    assert adapter.meta["stopped"] == "patience" and len(ends) < 12
    assert ends.len() - 1 - ends.arg_min() == 2
    one = student(tiny, config)
    held = HealPlan(one.config, one.plan.training, split(training_rows(tiny, kept(24)), 0.3, 0)[1], [], 0)
    checker = HealTrainer(private_copy(tiny), held)
    with torch.no_grad():
        for module, parts in checker.growing._new.items():
            for part, value in parts.items():
                value.copy_(adapter.modules[module][part])
    assert checker.validation_loss() == pytest.approx(ends.min(), abs=1e-4)


# --- rows


def test_split_is_by_prompt(tiny: LM) -> None:
    rows = training_rows(tiny, kept(40))
    training, validation = split(rows, 0.25, seed=0)
    assert len(validation) == 10 and len(training) == 30
    assert not {r.prompt for r in training} & {r.prompt for r in validation}
    assert split(rows, 0.25, seed=1)[1] != validation
    assert split(rows[:2], 0.25, seed=0) == (rows[:2], [])


def test_no_validation_where_all_rows_share_a_prompt(tiny: LM) -> None:
    adapter = heal(tiny, kept().with_columns(prompt=pl.lit("Why?")), QUICK)
    assert adapter.meta["val_rows"] == 0 and adapter.curve["val_nll"].null_count() == adapter.curve.height


def test_rows_are_the_neutral_prompt_and_the_ids_as_generated(tiny: LM) -> None:
    row = training_rows(tiny, kept())[3]
    assert list(row.ids[: row.start]) == tiny.prompt_ids("Question 1?", system=tiny.neutral)
    assert list(row.ids[row.start :]) == kept()["token_ids"][3].to_list()


def test_a_users_own_frame(tiny: LM) -> None:
    frame = pl.DataFrame({"prompt": ["May I?"], "completion": ["Yes, and thanks."]})
    row = training_rows(tiny, frame)[0]
    assert list(row.ids[row.start :]) == [*tiny.encode("Yes, and thanks."), tiny.tok.eos_token_id]
    turns = [{"role": "user", "content": "May I?"}, {"role": "assistant", "content": "No."}]
    turns.append({"role": "user", "content": "Why?"})
    longer = training_rows(tiny, pl.DataFrame({"prompt": [turns], "completion": ["Because."]}))[0]
    assert list(longer.ids[: longer.start]) == tiny.prompt_ids(turns)
    with pytest.raises(UserError, match="neutral system prompt"):
        training_rows(
            tiny, pl.DataFrame({"prompt": [[{"role": "system", "content": "x"}, *turns]], "completion": ["y"]})
        )


def test_rows_that_cannot_be_trained_on(tiny: LM) -> None:
    with pytest.raises(UserError, match=r"starvation: 12 rows kept, a heal needs 30\..*Loosen"):
        heal(tiny, kept())
    with pytest.raises(UserError, match="prompt and completion; this one has answer"):
        training_rows(tiny, pl.DataFrame({"answer": ["x"]}))
    for empty in ([], None):
        frame = pl.DataFrame({"prompt": ["a"], "token_ids": [empty]}, schema_overrides={"token_ids": pl.List(pl.Int32)})
        with pytest.raises(UserError, match="empty"):
            training_rows(tiny, frame)
    with pytest.raises(UserError, match="exceeds the context"):
        training_rows(tiny, pl.DataFrame({"prompt": ["a"], "token_ids": [[60] * 600]}))


def test_prompts_that_report_may_not_train(tiny: LM) -> None:
    axis = Axis(
        name="x", title="x", models=("any",), target="Care", intended={"Care": 1}, positive=("a",), negative=("b",),
        contexts=(), narration=(), train=("Question 0",), select=(), probes=("question 1",),
    )  # fmt: skip
    with pytest.raises(UserError, match="probes"):
        heal(tiny, kept(), QUICK, axis=axis)
    assert heal(tiny, kept(), QUICK, axis=dataclasses.replace(axis, probes=())).meta["axis"] == "x"


# --- stopping and failing


def test_progress_and_cancel_leave_no_trace(tiny: LM) -> None:
    before, hashed, seen, stop = logits(tiny), weights_hash(tiny), [], threading.Event()

    def watch(row: dict[str, Any]) -> None:
        seen.append(row)
        if row["step"] == 2:
            stop.set()

    with pytest.raises(Cancelled, match="step 3 of 6"):
        heal(tiny, kept(), QUICK, on_progress=watch, cancel=stop)
    assert [row["step"] for row in seen] == [0, 1, 2] and {row["steps"] for row in seen} == {6}
    assert set(CURVE) | {"steps"} == set(seen[0])
    assert torch.equal(logits(tiny), before) and weights_hash(tiny) == hashed


def test_an_interrupt_leaves_no_trace(tiny: LM) -> None:
    def interrupt(row: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    before = logits(tiny)
    with pytest.raises(KeyboardInterrupt):
        heal(tiny, kept(), QUICK, on_progress=interrupt)
    assert torch.equal(logits(tiny), before)
    tree = {type(m).__module__.split(".")[0] for m in tiny.model.modules()}
    assert "peft" not in tree


def test_the_shared_model_is_free_during_a_heal(tiny: LM) -> None:
    before, inside = logits(tiny), []

    def other() -> None:
        if tiny.lock.acquire(timeout=5):
            inside.append(logits(tiny))
            tiny.lock.release()

    def watch(row: dict[str, Any]) -> None:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    heal(tiny, kept(), dataclasses.replace(QUICK, epochs=1), on_progress=watch)
    assert len(inside) == 3 and all(torch.equal(x, before) for x in inside)


def test_a_loss_that_is_not_finite_is_explained(tiny: LM) -> None:
    with pytest.raises(UserError, match=r"not finite at step \d of \d.*Lower lr"):
        heal(tiny, kept(), dataclasses.replace(QUICK, lr=1e30, warmup=0.0))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_half_precision_trains_in_float32(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("NO GPU HERE: healing in bf16 on CUDA was not tested")
    lm = tiny_lm("qwen3", fresh=True)
    lm.model.to(device, torch.bfloat16)
    adapter = heal(lm, kept(), QUICK)
    assert {v.dtype for v in adapter.state.values()} == {torch.float32}
    assert adapter.curve["nll"][-1] < adapter.curve["nll"][0] - 0.3
    with attached(lm, [adapter]), torch.no_grad():
        assert lm.model(input_ids=IDS.to(device), use_cache=False).logits.isfinite().all()


def test_fused_experts_are_refused() -> None:
    from ws.models.lm import wrap_model

    model = tiny_model("qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, hidden_size=32)
    lm = wrap_model(model, tiny_lm("qwen3").tok)
    with pytest.raises(UserError, match="fused"):
        heal(lm, kept(), QUICK)


# --- the configuration


def test_recipes(tiny: LM) -> None:
    small = HealConfig().resolved(dataclasses.replace(tiny, recipe=MINI))
    assert (small.rank, small.alpha, small.lr, small.epochs, small.batch) == (8, 16, 5e-3, 6, 12)
    assert (small.tau, small.beta, small.depth, small.checkpoint) == (0.3, 0.3, (0.0, 1.0), False)
    own = {family: HealConfig(adapter=family).resolved(tiny) for family in FAMILIES}
    assert own["lora"] == HealConfig().resolved(tiny) and own["dora"].lr == own["lora"].lr == 1e-4
    assert own["pissa"].lr == own["oft"].lr == own["boft"].lr == 1e-4 / 3
    assert own["ia3"].lr == 1e-3 and own["delora"].alpha == 4
    assert HealConfig(adapter="ia3", lr=0.5).resolved(tiny).lr == 0.5, "what is asked for is taken as it is"
    large = HealConfig(rank=7).resolved(tiny)
    assert (large.rank, large.alpha, large.lr, large.depth, large.tau) == (7, 64, 1e-4, (0.2, 0.8), 1.0)


def test_names_are_in_step() -> None:
    known = known_names(HealConfig)
    assert set(known["adapter"]) == set(FAMILIES) and set(known["targets"]) - {None} == set(TARGETS)
    assert known["barrier"] == tuple(BARRIERS) and known["aggregate"] == tuple(AGGREGATES)
    assert known["reference"] == ("prev", "base") and known["objective"] == tuple(OBJECTIVES)


def doubled(student: Tensor, reference: Tensor) -> Tensor:
    return 2 * (reference.exp() * (reference - student)).sum(-1)


def test_a_new_barrier_is_a_function_and_its_entry(
    tiny: LM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is accepted, offered by the command line and trained with its own function."""
    monkeypatch.setitem(BARRIERS, "doubled", doubled)
    assert HealConfig(barrier="doubled").slope(0) == 0 and HealConfig(barrier="doubled", beta=1.0).slope(0) == 1
    assert main(["run", "--help"]) == 0
    assert "kl_rev,kl_fwd,nll,doubled" in "".join(capsys.readouterr().out.split())
    mine, plain = (shaken(student(tiny, barrier=name)) for name in ("doubled", "kl_fwd"))
    torch.testing.assert_close(mine._losses([0, 3])[2]["kl_base"], 2 * plain._losses([0, 3])[2]["kl_base"])
    with pytest.raises(UserError, match="doubled"):
        HealConfig(barrier="js")


def test_a_new_aggregate_is_a_function_and_its_entry(tiny: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AGGREGATES, "last", lambda kl, mask: kl[:, 0] * 0 + 7.0)
    assert shaken(student(tiny, aggregate="last"))._losses([0])[2]["kl_base"].item() == 7


@pytest.mark.parametrize("field", ["barrier", "aggregate", "objective"])
def test_a_student_never_trains_under_an_unknown_name(tiny: LM, field: str) -> None:
    """Also where a configuration came around its own check, as one that was unpickled does."""
    config = dataclasses.replace(QUICK)
    object.__setattr__(config, field, "js")
    plan = HealPlan(config, training_rows(tiny, kept()), [], [], 0)
    with pytest.raises(UserError, match="js"):
        HealTrainer(private_copy(tiny), plan).step(0, [0, 1])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("adapter", "vera"), ("objective", "ppo"), ("spectral", -1.0), ("barrier", "js"),
        ("aggregate", "median"), ("reference", "next"), ("targets", "q_proj"),
        ("rank", 0), ("lr", -1.0), ("lr", float("nan")), ("beta", -0.1), ("tau", -1.0), ("epochs", 0), ("batch", 0),
        ("depth", (0.8, 0.2)), ("warmup", 2.0), ("validation", 0.9), ("betas", (0.9, 1.0)), ("clip", 0.0),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(field: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"heal.{field}"):
        HealConfig(**{field: value})


def test_patience_needs_validation() -> None:
    with pytest.raises(UserError, match="patience"):
        HealConfig(patience=1, validation=0.0)


def test_a_model_whose_hidden_states_were_read_can_still_be_healed(tiny: LM) -> None:
    """transformers leaves recording hooks on the blocks for good; they are not a steering."""
    with torch.no_grad():
        tiny.model(torch.tensor([[1, 2, 3]]), output_hidden_states=True)
    assert private_copy(tiny).model is not tiny.model
