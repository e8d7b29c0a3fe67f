"""Adapters from elsewhere: what their config sets or file holds beyond what is computed here is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, OFTConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from tests.builders.adapters import IDS, logits
from tests.builders.tiny_models import tiny_lm, tiny_model
from ws.errors import UserError
from ws.healing.baking import bake
from ws.models.adapters.adapter import Adapter
from ws.models.adapters.attaching import attached
from ws.models.lm import LM


def made(folder: Path, **special: Any) -> Path:
    """A PEFT folder on the tiny llama, with tensors that matter."""
    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], **special)
    peft = get_peft_model(tiny_model("llama"), config)
    for name, tensor in peft.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(tensor, std=0.3)
    peft.eval().save_pretrained(folder)
    return folder


def changed(folder: Path, **config: Any) -> Path:
    stored = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(stored | config))
    return folder


@pytest.fixture
def lm() -> LM:
    return tiny_lm("llama")


@pytest.mark.parametrize(
    "special",
    [{}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}}, {"alpha_pattern": {"layers.1.self_attn.q_proj": 3}},
     {"lora_dropout": 0.1}, {"init_lora_weights": "gaussian"}, {"layers_to_transform": [1, 2]}],
)  # fmt: skip
def test_what_is_taken_is_pefts_own_forward(tmp_path: Path, lm: LM, special: dict[str, Any]) -> None:
    folder = made(tmp_path / "a", **special)
    with torch.no_grad():
        peft: Any = PeftModel.from_pretrained(tiny_model("llama"), folder).eval()
        expected = peft(input_ids=IDS, use_cache=False).logits
    with attached(lm, [Adapter.load(folder, lm)]):
        torch.testing.assert_close(logits(lm), expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("arch", ["opt", "gpt2"])
def test_an_ia3_that_scales_inputs_and_outputs_is_pefts_own_forward(tmp_path: Path, arch: str) -> None:
    """Where outputs are scaled the bias is, too; where inputs are, it is not."""
    torch.manual_seed(0)
    targets, inner = (["q_proj", "fc2"], ["fc2"]) if arch == "opt" else (["c_attn", "mlp.c_proj"], ["mlp.c_proj"])
    peft: Any = get_peft_model(
        tiny_model(arch), IA3Config(task_type="CAUSAL_LM", target_modules=targets, feedforward_modules=inner)
    )
    for name, tensor in peft.named_parameters():
        if "ia3_" in name:
            torch.nn.init.normal_(tensor, mean=1.0, std=0.3)
    peft.eval().save_pretrained(tmp_path / "a")
    with torch.no_grad():
        expected = peft(input_ids=IDS, use_cache=False).logits
    lm = tiny_lm(arch)
    adapter = Adapter.load(tmp_path / "a", lm)
    with attached(lm, [adapter]):
        torch.testing.assert_close(logits(lm), expected, rtol=0, atol=2e-5)
    baked = bake(lm, [adapter])
    torch.testing.assert_close(logits(baked), expected, rtol=0, atol=2e-5)


def test_an_oft_of_pefts_truncated_series_is_refused(tmp_path: Path, lm: LM) -> None:
    config = OFTConfig(task_type="CAUSAL_LM", oft_block_size=8, target_modules=["q_proj"])
    get_peft_model(tiny_model("llama"), config).save_pretrained(tmp_path / "a")
    with pytest.raises(UserError, match=r"OFT adapter uses use_cayley_neumann=True.*merge_and_unload"):
        Adapter.load(tmp_path / "a", lm)


def test_an_activated_adapter_is_refused(tmp_path: Path, lm: LM) -> None:
    folder = made(tmp_path / "a", alora_invocation_tokens=[3, 4])
    with pytest.raises(UserError, match=r"LORA adapter uses alora_invocation_tokens=\[3, 4\].*plain LoRA"):
        Adapter.load(folder, lm)


def test_kasa_is_refused(tmp_path: Path, lm: LM) -> None:
    from peft import KasaConfig

    folder = made(tmp_path / "a", kasa_config=KasaConfig())
    with pytest.raises(UserError, match="uses kasa_config="):
        Adapter.load(folder, lm)


@pytest.mark.parametrize(
    ("key", "value"),
    [("use_qalora", True), ("lora_bias", True), ("bias", "all"), ("modules_to_save", ["lm_head"]),
     ("layer_replication", [[0, 2]]), ("target_parameters", ["w"]), ("trainable_token_indices", [1]),
     ("init_lora_weights", "pissa"), ("ensure_weight_tying", True), ("of_next_year", {"x": 1})],
)  # fmt: skip
def test_a_field_that_is_not_known_is_named(tmp_path: Path, lm: LM, key: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"uses {key}="):
        Adapter.load(changed(made(tmp_path / "a"), **{key: value}), lm)


def test_a_newer_field_that_is_off_is_none(tmp_path: Path, lm: LM) -> None:
    assert Adapter.load(changed(made(tmp_path / "a"), of_next_year=None, another=False), lm).modules


@pytest.mark.parametrize(
    ("config", "said"),
    [({"peft_type": "NEXT"}, "no adapters of type 'NEXT'"), ({"peft_type": ["LORA"]}, "no adapters"),
     ({"peft_type": "IA3"}, "IA3"), ({"r": "many"}, "adapter"),
     ({"layers_pattern": 3, "target_modules": 5}, "adapter"),
     ({"r": 8}, "rank 4, but 8 in the config"), ({"r": 0}, "adapter")],
)  # fmt: skip
def test_a_broken_config_is_named(tmp_path: Path, lm: LM, config: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Adapter.load(changed(made(tmp_path / "a"), **config), lm)


def test_a_tensor_that_nothing_reads_is_named(tmp_path: Path, lm: LM) -> None:
    path = made(tmp_path / "a") / "adapter_model.safetensors"
    state = load_file(path)
    key = next(name for name in state if name.endswith("lora_A.weight"))
    save_file(state | {key.replace("lora_A.weight", "lora_diag"): torch.ones(4)}, path)
    with pytest.raises(UserError, match=r"does not read \(lora_diag\) for 'model.layers.0.self_attn.q_proj'"):
        Adapter.load(tmp_path / "a", lm)
    save_file({name: value for name, value in state.items() if name != key}, path)
    with pytest.raises(UserError, match="do not make a weight"):
        Adapter.load(tmp_path / "a", lm)
    save_file(state | {key: state[key] * float("nan")}, path)
    with pytest.raises(UserError, match="not all of its numbers are finite"):
        Adapter.load(tmp_path / "a", lm)
