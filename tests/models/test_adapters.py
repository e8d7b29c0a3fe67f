"""Adapters: put on and taken off without a trace, the same numbers as PEFT itself, folders that plain PEFT loads."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import BOFTConfig, PeftModel
from peft.tuners.boft.layer import Linear as BoftLinear
from torch import Tensor

from tests.builders.adapters import IDS, logits, made, weights_hash
from tests.builders.tiny_models import ARCHS, tiny_lm
from ws.errors import UserError
from ws.healing.target_modules import TARGETS, targeted
from ws.models.adapters import attaching
from ws.models.adapters.adapter import Adapter, checked
from ws.models.adapters.attaching import attached, stacked_weights
from ws.models.adapters.families import FAMILIES, new_config, update_square
from ws.models.adapters.families.oft import cayley, turned
from ws.models.adapters.peft_layers import PREFIX, PeftLayers
from ws.models.attachments import private_copy
from ws.models.lm import LM
from ws.models.weight_sites import sites

STORED = [family for family in FAMILIES if family != "pissa"]  # which is stored as a LoRA


@pytest.fixture
def live_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT's layers even in float32."""
    monkeypatch.setattr(attaching, "FOLD_BYTES", 0)


# --- targets


def test_roles_and_parts_by_structure(arch_lm: LM) -> None:
    found = sites(arch_lm)
    per_block = [[s for s in found if s.block == i] for i in range(arch_lm.n_layers)]
    for block in per_block:
        assert [s.part for s in block if s.role == "writes"] == ["attention", "mlp"]
        assert all(s.role in ("reads", "writes") for s in block)
        assert block[-1].role == "writes" and block[0].role == "reads"
    everything = targeted(arch_lm)
    assert sorted(targeted(arch_lm, "writers") + targeted(arch_lm, "readers")) == sorted(everything)
    assert sorted(targeted(arch_lm, "attention") + targeted(arch_lm, "mlp")) == sorted(everything)
    assert len(targeted(arch_lm, "writers")) == 2 * arch_lm.n_layers


def test_a_square_reader_is_no_writer() -> None:
    # OPT's q, k, v and out projections all are 32 x 32
    writers = targeted(tiny_lm("opt"), "writers")
    assert {name.rsplit(".", 1)[-1] for name in writers} == {"out_proj", "fc2"}


def test_depth(tiny: LM) -> None:
    assert {name.split(".")[2] for name in targeted(tiny, "all", (0.25, 0.75))} == {"1", "2"}
    with pytest.raises(UserError, match="Widen the depth"):
        targeted(tiny, "all", (0.5, 0.5))
    with pytest.raises(UserError, match=", ".join(TARGETS)):
        targeted(tiny, "q_proj")


# --- attach and detach


@pytest.mark.parametrize(
    ("arch", "family"),
    [*(("qwen3", f) for f in STORED), ("gpt2", "dora"), ("gpt2", "ia3"), ("opt", "ia3"), ("opt", "boft")],
)
def test_attached_equals_peft_itself(arch: str, family: str) -> None:
    tiny = tiny_lm(arch)
    adapter = made(tiny, family)
    own = copy.deepcopy(tiny.model)
    live = PeftLayers(own)
    live.add("x", adapter.config, adapter.state)
    live.activate(trained=None)
    with torch.no_grad():
        expected = own(input_ids=IDS, use_cache=False).logits
    before = logits(tiny)
    with attached(tiny, [adapter]):
        inside = logits(tiny)
    torch.testing.assert_close(inside, expected, rtol=0, atol=2e-5)
    assert (inside - before).abs().max() > 0.05


@pytest.mark.parametrize(
    ("first", "second"), [("lora", "dora"), ("dora", "lora"), *((family, family) for family in STORED)]
)
def test_a_stack_equals_peft_in_the_same_order(first: str, second: str, monkeypatch: Any) -> None:
    tiny = tiny_lm("opt" if first == second == "ia3" else "qwen3")  # OPT has biases
    stack = [made(tiny, first, seed=1), made(tiny, second, seed=2)]
    with attached(tiny, stack):
        folded = logits(tiny)
    monkeypatch.setattr(attaching, "FOLD_BYTES", 0)
    with attached(tiny, stack):
        live = logits(tiny)
    torch.testing.assert_close(folded, live, rtol=0, atol=2e-5)


def test_two_loras_add_up(tiny: LM) -> None:
    a, b = made(tiny, seed=1), made(tiny, seed=2)
    base = {n: p.clone() for n, p in tiny.model.named_parameters()}
    with attached(tiny, [a, (b, 0.5)]):
        for name in a.modules:
            weight = tiny.model.get_submodule(name).weight
            pa, pb = a.modules[name], b.modules[name]
            expected = base[name + ".weight"] + 2 * pa["lora_B"] @ pa["lora_A"] + pb["lora_B"] @ pb["lora_A"]
            torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-6)


def test_order_matters_for_dora(tiny: LM) -> None:
    a, b = made(tiny, "lora", seed=1), made(tiny, "dora", seed=2)
    with attached(tiny, [a, b]):
        one = logits(tiny)
    with attached(tiny, [b, a]):
        other = logits(tiny)
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("family", STORED)
def test_scaled_to_nothing_is_the_base_bit_for_bit(tiny: LM, family: str) -> None:
    before = logits(tiny)
    with attached(tiny, [(made(tiny, family), 0.0)]):
        assert torch.equal(logits(tiny), before)


@pytest.mark.usefixtures("live_only")
def test_scaling_of_live_layers(tiny: LM) -> None:
    adapter = made(tiny)
    before = logits(tiny)
    with attached(tiny, [(adapter, 0.0)]):
        assert torch.equal(logits(tiny), before)
    half = Adapter(adapter.config, {k: v / 2 if "_B" in k else v for k, v in adapter.state.items()}, tiny.fingerprint)
    with attached(tiny, [half]):
        expected = logits(tiny)
    with attached(tiny, [(adapter, 0.5)]):
        torch.testing.assert_close(logits(tiny), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("c", [-1.0, 0.4, 1.7])
@pytest.mark.parametrize("family", STORED)
def test_a_coefficient_is_the_same_merged_and_live(family: str, c: float, monkeypatch: Any) -> None:
    tiny = tiny_lm("opt" if family in ("ia3", "boft") else "qwen3")
    stack = [(made(tiny, family, seed=1, size=0.15), c), (made(tiny, family, seed=2, size=0.15), 1.0)]
    before = logits(tiny)
    with attached(tiny, stack):
        folded = logits(tiny)
    assert (folded - before).abs().max() > 0.05
    monkeypatch.setattr(attaching, "FOLD_BYTES", 0)
    with attached(tiny, stack):
        torch.testing.assert_close(logits(tiny), folded, rtol=0, atol=5e-5)


def weights_at(lm: LM, adapter: Adapter, *cs: float) -> dict[str, Tensor]:
    found = stacked_weights(lm, [(adapter, c) for c in cs])
    names = {module: name for name, module in lm.model.named_modules()}
    return {names[module]: values["weight"] for module, values in found}


@pytest.mark.parametrize("family", ["lora", "dora", "delora"])
def test_a_coefficient_of_an_update_multiplies_it(tiny: LM, family: str) -> None:
    adapter = made(tiny, family)
    whole, some = weights_at(tiny, adapter, 1.0), weights_at(tiny, adapter, -0.7)
    for name, weight in whole.items():
        own = tiny.model.get_submodule(name).weight
        torch.testing.assert_close(some[name] - own, -0.7 * (weight - own), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["oft", "boft"])
def test_rotations_are_orthogonal_however_far_they_are_trained(tiny: LM, family: str) -> None:
    adapter = made(tiny, family, size=3.0)
    for key in adapter.state:
        if key.endswith("boft_s"):
            adapter.state[key] = torch.ones_like(adapter.state[key])
    for name, weight in weights_at(tiny, adapter, 1.0).items():
        own = tiny.model.get_submodule(name).weight
        torch.testing.assert_close(weight @ weight.T, own @ own.T, rtol=0, atol=1e-4)
        assert (weight - own).norm() > 0.5 * own.norm()


def test_a_coefficient_of_a_rotation_is_its_share_of_the_angle(tiny: LM) -> None:
    """Two quarters and a half make one; minus one undoes it; a block of two has a closed form."""
    adapter = made(tiny, "oft", size=2.0)
    whole, parts = weights_at(tiny, adapter, 1.0), weights_at(tiny, adapter, 0.25, 0.5, 0.25)
    undone = weights_at(tiny, adapter, 1.0, -1.0)
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, rtol=0, atol=1e-5)
        torch.testing.assert_close(undone[name], tiny.model.get_submodule(name).weight, rtol=0, atol=1e-5)
    skew = torch.tensor([[[0.0, 0.8], [-0.8, 0.0]]])
    angle = torch.tensor(-0.3 * 2 * math.atan(0.8))
    turn = cayley(turned(skew, -0.3))[0]
    torch.testing.assert_close(turn[0], torch.stack([angle.cos(), -angle.sin()]), rtol=0, atol=1e-6)


def test_a_butterfly_of_three_factors_is_pefts(tiny: LM) -> None:
    """Only there a factor's order is not its own inverse."""
    base = torch.nn.Linear(32, 5)
    config = BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=3)
    layer = BoftLinear(base, "x", config)
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.boft_R["x"].copy_(torch.randn(layer.boft_R["x"].shape, generator=dice))
        layer.boft_s["x"].add_(torch.randn(5, 1, generator=dice))
    parts = {"boft_R": layer.boft_R["x"].detach(), "boft_s": layer.boft_s["x"].detach()}
    mine = FAMILIES["boft"].step(base.weight, base.weight, parts, config, "")
    x = torch.randn(7, 32, generator=dice)
    torch.testing.assert_close(x @ mine.T + base.bias, layer(x), rtol=0, atol=2e-5)
    layer(x).square().sum().backward()
    own = parts | {"boft_R": layer.boft_R["x"]}
    weight = FAMILIES["boft"].step(base.weight.detach(), base.weight, own, config, "")
    (expected,) = torch.autograd.grad((x @ weight.T + base.bias).square().sum(), [layer.boft_R["x"]])
    torch.testing.assert_close(layer.boft_R["x"].grad, expected, rtol=1e-4, atol=1e-3)


def test_a_rank_that_does_not_fill_the_inputs_is_refused_with_one_that_does(tiny: LM) -> None:
    modules = {name: tiny.model.get_submodule(name) for name in targeted(tiny)}  # 32 and 48 inputs
    with pytest.raises(UserError, match=r"5 do not fill the 32 inputs of .*--heal.rank 4\.$"):
        new_config("oft", 5, 1.0, modules)
    with pytest.raises(UserError, match=r"--heal.rank 8\.$"):
        new_config("boft", 16, 1.0, modules)
    assert new_config("oft", 16, 1.0, modules) and new_config("boft", 8, 1.0, modules)


@pytest.mark.parametrize("mode", ["folded", "live"])
def test_every_architecture_is_pristine_afterwards(arch_lm: LM, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "live":
        monkeypatch.setattr(attaching, "FOLD_BYTES", 0)
    adapter = made(arch_lm)
    before, hashed = logits(arch_lm), weights_hash(arch_lm)
    tree = [(n, id(m)) for n, m in arch_lm.model.named_modules()]
    with pytest.raises(RuntimeError, match="in the middle"), attached(arch_lm, [adapter]):
        assert (logits(arch_lm) - before).abs().max() > 0.05
        raise RuntimeError("in the middle")
    assert torch.equal(logits(arch_lm), before)
    assert weights_hash(arch_lm) == hashed
    assert [(n, id(m)) for n, m in arch_lm.model.named_modules()] == tree
    assert not any(p.requires_grad for p in arch_lm.model.parameters())
    assert not hasattr(arch_lm.model, "peft_config") and arch_lm.lock.acquire(blocking=False)
    arch_lm.lock.release()


@pytest.mark.parametrize("arch", ARCHS)
def test_folded_is_live(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm(arch)
    adapter = made(lm)
    with attached(lm, [adapter]):
        folded = logits(lm)
    monkeypatch.setattr(attaching, "FOLD_BYTES", 0)
    with attached(lm, [adapter]):
        live = logits(lm)
    torch.testing.assert_close(folded, live, rtol=0, atol=3e-5)


def test_a_written_base_weight_is_noticed() -> None:
    lm = tiny_lm("qwen3", fresh=True)
    with pytest.raises(RuntimeError, match="base weight"), attached(lm, [made(lm)]), torch.no_grad():
        lm.model.model.norm.weight.add_(1)


def test_half_precision_keeps_the_update_in_float32() -> None:
    lm = tiny_lm("qwen3", fresh=True)
    lm.model.to(torch.bfloat16)
    adapter = made(lm, size=0.01)
    with attached(lm, [adapter]):
        layer = lm.model.get_submodule(next(iter(adapter.modules)))
        assert layer.lora_A["a0"].weight.dtype == torch.float32 and layer.weight.dtype == torch.bfloat16
        assert logits(lm).isfinite().all()


def test_what_cannot_be_attached(tiny: LM) -> None:
    adapter = made(tiny)
    with pytest.raises(UserError, match="made on the model"), attached(tiny_lm("llama"), [adapter]):
        pass
    with pytest.raises(UserError, match="in one list"), attached(tiny, [adapter]), attached(tiny, [adapter]):
        pass
    with pytest.raises(UserError, match="must be a list"), attached(tiny, adapter):  # type: ignore[arg-type]
        pass
    renamed = {k.replace("q_proj", "query"): v for k, v in adapter.state.items()}
    with pytest.raises(UserError, match="which tiny-qwen3 lacks"):
        checked(tiny, [Adapter(adapter.config, renamed, tiny.fingerprint)])
    cut = {k: v[:, :-1] if "lora_A" in k else v for k, v in adapter.state.items()}
    with pytest.raises(UserError, match="Wrong model"):
        checked(tiny, [Adapter(adapter.config, cut, tiny.fingerprint)])
    with attached(tiny, []):
        pass


@pytest.mark.usefixtures("live_only")
def test_mixed_peft_types_are_refused_live(tiny: LM) -> None:
    before = logits(tiny)
    with pytest.raises(UserError, match="mixes"), attached(tiny, [made(tiny), made(tiny, "delora")]):
        pass
    assert torch.equal(logits(tiny), before)


# --- measuring


@pytest.mark.parametrize("family", STORED)
def test_size_of_the_update(tiny: LM, family: str) -> None:
    adapter = made(tiny, family)
    for module, values in stacked_weights(tiny, [(adapter, 1.0)]):
        weight = values["weight"]
        name = next(n for n, m in tiny.model.named_modules() if m is module)
        square = update_square(module.weight, adapter.modules[name], adapter.config, name)
        torch.testing.assert_close(square, (weight - module.weight).square().sum(), rtol=1e-4, atol=1e-6)


# --- a copy that shares its weights


def test_a_private_copy_shares_weights_and_nothing_else(arch_lm: LM) -> None:
    own = private_copy(arch_lm)
    assert torch.equal(logits(own), logits(arch_lm))
    mine, theirs = dict(own.model.named_parameters()), dict(arch_lm.model.named_parameters())
    assert mine.keys() == theirs.keys() and all(mine[n].data_ptr() == theirs[n].data_ptr() for n in mine)
    assert not set(own.model.modules()) & set(arch_lm.model.modules())
    assert own.blocks[0] in set(own.model.modules()) and own.lock is not arch_lm.lock
    before = logits(arch_lm)
    modules = {name: own.model.get_submodule(name) for name in targeted(arch_lm)}
    PeftLayers(own.model).add("x", new_config("lora", 2, 4, modules))
    assert torch.equal(logits(arch_lm), before)


def test_no_private_copy_of_an_adapted_model(tiny: LM) -> None:
    with attached(tiny, [made(tiny)]), pytest.raises(UserError, match="history="):
        private_copy(tiny)


# --- files


@pytest.mark.parametrize("family", STORED)
def test_round_trip_and_plain_peft(tiny: LM, family: str, tmp_path: Path) -> None:
    adapter = made(tiny, family)
    adapter.save(tmp_path / "a")
    back = Adapter.load(tmp_path / "a", tiny)
    assert back.digest == adapter.digest and back.meta == adapter.meta and back.curve.equals(adapter.curve)
    with attached(tiny, [adapter]):
        expected = logits(tiny)
    with attached(tiny, [back]):
        assert torch.equal(logits(tiny), expected)
    model: Any = PeftModel.from_pretrained(copy.deepcopy(tiny.model), str(tmp_path / "a"))
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=IDS, use_cache=False).logits, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", ["lora", "dora"])
def test_every_architectures_folder_loads_in_plain_peft(arch_lm: LM, family: str, tmp_path: Path) -> None:
    adapter = made(arch_lm, family)
    adapter.save(tmp_path / "a")
    with attached(arch_lm, [adapter]):
        expected = logits(arch_lm)
    model: Any = PeftModel.from_pretrained(copy.deepcopy(arch_lm.model), str(tmp_path / "a"))
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=IDS, use_cache=False).logits, expected, rtol=0, atol=1e-4)


def test_saving_twice_gives_the_same_bytes(tiny: LM, tmp_path: Path) -> None:
    adapter = made(tiny)
    adapter.save(tmp_path / "a")
    adapter.save(tmp_path / "a")
    Adapter.load(tmp_path / "a").save(tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json", "curve.parquet", "ws.json"])
@pytest.mark.parametrize("harm", ["cut", "flip", "remove"])
def test_damage_is_named(tiny: LM, tmp_path: Path, file: str, harm: str) -> None:
    made(tiny).save(tmp_path / "a")
    path = tmp_path / "a" / file
    data = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=file):
        Adapter.load(tmp_path / "a")


def test_a_folder_from_elsewhere(tiny: LM, tmp_path: Path) -> None:
    adapter = made(tiny)
    adapter.save(tmp_path / "a")
    (tmp_path / "a" / "ws.json").unlink()
    with pytest.raises(UserError, match="lm=lm"):
        Adapter.load(tmp_path / "a")
    assert Adapter.load(tmp_path / "a", tiny).digest == adapter.digest
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    (tmp_path / "a" / "adapter_config.json").write_text(json.dumps(config | {"init_lora_weights": "pissa"}))
    with pytest.raises(UserError, match="Convert it to plain LoRA"):
        Adapter.load(tmp_path / "a", tiny)


def test_names_in_the_file_are_pefts(tiny: LM) -> None:
    adapter = made(tiny, "dora", targets="writers")
    key = PREFIX + "model.layers.0.self_attn.o_proj.lora_"
    assert {k for k in adapter.state if k.startswith(key)} == {
        key + end for end in ("A.weight", "B.weight", "magnitude_vector")
    }
