"""Models: blocks and head on every architecture, prompts to the letter, fingerprints, loading, the user's mistakes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from accelerate import dispatch_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizer_models
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from tests.builders.tiny_models import ARCHS, CHATML, GEMMA, VOCAB, tiny_lm, tiny_model
from tests.builders.vision import TEXT, gemma3_with_vision
from ws.errors import UserError
from ws.healing.target_modules import targeted
from ws.models import loading
from ws.models.architecture import find_blocks, fingerprint_of, fused_experts
from ws.models.chat import chat_of
from ws.models.lm import LM, check_length, load_model, positions, unload_models, wrap_model
from ws.models.recipe import MINI, OTHER, RECIPES

SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
MOE = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "bos_token_id": None,
    "eos_token_id": None,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as save_pretrained writes it."""
    lm = tiny_lm("qwen3")
    lm.model.save_pretrained(tmp_path / "saved")
    lm.tok.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def agrees(lm: LM) -> float:
    """Largest difference between head(body) and the model's logits on a prompt."""
    ids = torch.tensor([lm.prompt_ids("May a nurse lie?")])
    with torch.inference_mode():
        logits = lm.model(input_ids=ids).logits
        return float((lm.head(lm.body(input_ids=ids).last_hidden_state) - logits).abs().max())


# --- blocks, body, head ---------------------------------------------------------------------------------------------


def test_blocks_are_found_on_every_architecture(arch_lm: LM) -> None:
    paths = [name for name, module in arch_lm.model.named_modules() if module is arch_lm.blocks]
    known = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers", "opt": "model.decoder.layers"}
    assert paths == [known.get(arch_lm.name.removeprefix("tiny-"), "model.layers")]
    assert arch_lm.n_layers == 4 and arch_lm.d_model == 32 and arch_lm.vocab_size == VOCAB
    assert arch_lm.max_context == 512 and arch_lm.eos_ids == {arch_lm.tok.eos_token_id}


def test_model_is_pristine_and_ready(arch_lm: LM) -> None:
    assert not arch_lm.model.training and not any(p.requires_grad for p in arch_lm.model.parameters())
    assert arch_lm.dtype == torch.float32 and arch_lm.device.type == "cpu"
    assert arch_lm.model.config.use_cache and arch_lm.model.generation_config.use_cache is not False


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("arch", ARCHS)
def test_head_of_body_is_the_models_own_logits(arch: str, tied: bool) -> None:
    lm = tiny_lm(arch, tie_word_embeddings=tied)
    own, embedding = lm.model.get_output_embeddings().weight, lm.model.get_input_embeddings().weight
    assert (own is embedding) == tied
    assert agrees(lm) < 1e-5


HEADS = {
    "phi": {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48},  # a bias
    "cohere": {**TEXT, "logit_scale": 0.25},
    "granite": {**TEXT, "logits_scaling": 4.0},
    "gemma2": {"final_logit_softcapping": 2.0},
    "opt": {"word_embed_proj_dim": 16, "do_layer_norm_before": False},  # project_out
}


@pytest.mark.parametrize("arch", HEADS)
def test_head_knows_what_lies_between_norm_and_logits(arch: str) -> None:
    lm = tiny_lm(arch, **HEADS[arch])
    ids = torch.tensor([lm.prompt_ids("May a nurse lie?")])
    with torch.inference_mode():
        hidden = lm.body(input_ids=ids).last_hidden_state
        naive = lm.model.get_output_embeddings().weight @ hidden[0, -1]
        assert (naive - lm.head(hidden)[0, -1]).abs().max() > 0.01 or arch == "opt"
    assert agrees(lm) < 1e-5


def test_head_takes_any_leading_shape_and_keeps_the_graph(arch_lm: LM) -> None:
    hidden = torch.randn(2, 3, 32, requires_grad=True)
    logits = arch_lm.head(hidden)
    assert logits.shape == (2, 3, VOCAB)
    assert torch.allclose(arch_lm.head(hidden[1, 2]), logits[1, 2], atol=1e-6)
    logits.logsumexp(-1).sum().backward()
    assert hidden.grad is not None and hidden.grad.abs().min() > 0


def test_head_of_a_model_that_accelerate_has_spread(arch_lm: LM) -> None:
    lm = tiny_lm(arch_lm.name.removeprefix("tiny-"), tie_word_embeddings=False, fresh=True)
    names = dict.fromkeys((name for name, _ in lm.model.named_children()), "cpu")
    dispatch_model(lm.model, names, force_hooks=True)
    assert "_hf_hook" in lm.model.__dict__ and agrees(lm) < 1e-5


def test_left_padding_changes_nothing(arch_lm: LM) -> None:
    rows = [arch_lm.prompt_ids(text) for text in ("Hi", "May a nurse lie to her boss?")]
    width = max(map(len, rows))
    ids = torch.tensor([[arch_lm.pad_id] * (width - len(r)) + r for r in rows])
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows])
    with torch.inference_mode():
        batch = arch_lm.model(input_ids=ids, attention_mask=mask, position_ids=positions(mask)).logits
        for row, logits in zip(rows, batch, strict=True):
            alone = arch_lm.model(input_ids=torch.tensor([row])).logits[0]
            assert torch.allclose(logits[-len(row) :], alone, atol=1e-4)


def test_positions_start_at_the_first_attended_token() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert positions(mask).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 2, 2]]


@pytest.mark.parametrize("vision_layers", [2, 4])
def test_blocks_inside_a_multimodal_wrapper(vision_layers: int) -> None:
    lm = gemma3_with_vision(vision_layers)
    assert type(lm.model).__name__ == "Gemma3ForConditionalGeneration"
    assert lm.blocks is lm.model.model.language_model.layers
    assert lm.n_layers == 4 and lm.d_model == 32 and lm.vocab_size == VOCAB and lm.max_context == 64
    assert agrees(lm) < 1e-5


def test_blocks_that_cannot_be_told_are_named(tiny: LM) -> None:
    model = tiny_model("qwen3")
    model.config.num_hidden_layers = 5
    with pytest.raises(
        UserError, match=r"found 0 lists of 5 modules in Qwen3ForCausalLM.*model.layers \(4\).*layers_path="
    ):
        find_blocks(model)
    assert wrap_model(model, tiny.tok, layers_path="model.layers").n_layers == 4
    with pytest.raises(UserError, match=r"layers_path='model.norm' is a Qwen3RMSNorm.*model.layers \(4\)"):
        find_blocks(model, "model.norm")
    with pytest.raises(UserError, match=r"layers_path='model.h' is nothing.*model.layers \(4\)"):
        find_blocks(model, "model.h")


def test_two_candidates_are_both_named() -> None:
    model = tiny_model("qwen3")
    model.model.twins = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(4))
    with pytest.raises(UserError, match=r"found 2 lists .*model.layers \(4\), model.twins \(4\)"):
        find_blocks(model)
    assert find_blocks(model, "model.layers") is model.model.layers


# --- prompts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["closed", "open"])
def test_thinking_template_to_the_letter(tiny: LM, form: str) -> None:
    tail = {"closed": "<think>\n\n</think>\n\n", "open": "<think>\n"}[form]
    ids = tiny.prompt_ids("Hi.", form=form)
    assert tiny.tok.decode(ids) == f"{SYSTEM}<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n{tail}"
    assert tiny.forms == ("closed", "open") and tiny.thinks and tiny.has_chat
    assert tiny.assistant_start(ids) == len(ids) - 1


def test_default_form_system_prefix_and_turns(tiny: LM) -> None:
    assert tiny.prompt_ids("Hi.") == tiny.prompt_ids("Hi.", form="closed")
    ids = tiny.prompt_ids("Hi.", system="Be brief.", form="open", prefix="I think")
    assert tiny.tok.decode(ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi.<|im_end|>\n"
        "<|im_start|>assistant\n<think>\nI think"
    )
    assert tiny.assistant_start(ids) == len(tiny.prompt_ids("Hi.", system="Be brief.", form="open")) - 1
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert tiny.tok.decode(tiny.prompt_ids(turns, system="")) == (
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    own = [{"role": "system", "content": "You are a helpful assistant."}, *turns]
    assert tiny.prompt_ids(own) == tiny.prompt_ids(turns)


def test_form_is_ids_of_its_own_after_the_header(tiny: LM) -> None:
    header, one, two = (
        tiny.encode("<|im_start|>assistant\n"),
        tiny.encode("<think>\n"),
        tiny.encode("<think>\n\n</think>\n\n"),
    )
    assert tiny.prompt_ids("Hi.", form="open")[-len(header + one) :] == header + one
    assert tiny.prompt_ids("Hi.", form="closed")[-len(header + two) :] == header + two


def test_no_system_template_to_the_letter() -> None:
    lm = tiny_lm("gemma2", template=GEMMA)
    ids = lm.prompt_ids("Hi.", system="Be kind.")
    assert lm.tok.decode(ids) == "<bos><start_of_turn>user\nBe kind.\n\nHi.<end_of_turn>\n<start_of_turn>model\n"
    assert ids.count(lm.tok.bos_token_id) == 1
    assert lm.forms == ("plain",) and not lm.thinks and lm.has_chat
    assert lm.assistant_start(ids) == len(ids) - 1


def test_plain_text_to_the_letter_with_bos_once(arch_lm: LM) -> None:
    lm = tiny_lm(arch_lm.name.removeprefix("tiny-"), chat=False)
    bos = "<bos>" if lm.tok.decode(lm.tok.encode("a")) == "<bos>a" else ""
    assert bool(bos) == lm.name.startswith(("tiny-gemma", "tiny-llama"))
    assert lm.tok.decode(lm.prompt_ids("Hi.")) == f"{bos}You are a helpful assistant.\n\nHi.\n"
    assert lm.tok.decode(lm.prompt_ids("Hi.", system="", prefix="So")) == f"{bos}Hi.\nSo"
    assert not lm.has_chat and lm.forms == ("plain",)
    with pytest.raises(UserError, match="starts="):
        lm.assistant_start(lm.prompt_ids("Hi."))


MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }}</s>{% endif %}{% endfor %}"
)
R1 = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
)
GLM = (
    "{% for m in messages %}<{{ m.role }}>\n{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>\n"
    "{% if not enable_thinking %}<think></think>\n{% endif %}{% endif %}"
)


def test_template_without_a_generation_prompt() -> None:
    lm = tiny_lm("mistral", template=MISTRAL)
    ids = lm.prompt_ids("Why?")
    assert lm.tok.decode(ids) == "<bos>[INST] You are a helpful assistant.\n\nWhy? [/INST]"
    assert lm.assistant_start([*ids, *lm.encode(" Because.")]) == len(ids) - 1


def test_templates_that_spell_their_think_themselves() -> None:
    r1, glm = tiny_lm("qwen2", template=R1), tiny_lm("qwen2", template=GLM)
    # here the ids of the open form are the first ids of the closed one
    line = tiny_lm("qwen2", template=GLM.replace("<think></think>", "<think>\n</think>"))
    for lm, closed in ((r1, "<think>\n\n</think>\n\n"), (glm, "<think></think>\n"), (line, "<think>\n</think>\n")):
        for form, tail in (("closed", closed), ("open", "<think>\n")):
            ids = lm.prompt_ids("Hi.", system="", form=form)
            assert lm.tok.decode(ids).endswith("Hi.<assistant>" + "\n" * (lm is not r1) + tail)
            assert lm.tok.decode(ids).count("<think>") == 1 and lm.assistant_start(ids) == len(ids) - 1


def test_a_dated_template_renders_alike_every_day() -> None:
    dated = "{{ date_string if date_string is defined else strftime_now('%d') }}" + CHATML
    lm = tiny_lm("llama", template=dated)
    assert lm.tok.decode(lm.prompt_ids("Hi.")).startswith("26 Jul 2024<|im_start|>")


def test_tag_is_the_last_turns_and_the_longest_forms(tiny: LM) -> None:
    prompt = tiny.prompt_ids("Hi.")
    reply = [*prompt, *tiny.encode("Good day.<|im_end|>\n")]
    assert tiny.assistant_start(reply) == len(prompt) - 1
    again = [
        *reply,
        *tiny.encode("<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n<think>\n"),
        *tiny.encode("Hm"),
    ]
    assert tiny.assistant_start(again) == len(again) - 3
    header_only = tiny.encode("<|im_start|>assistant\nSure")
    assert tiny.assistant_start(header_only) == len(tiny.encode("<|im_start|>assistant\n")) - 1
    with pytest.raises(UserError, match=r"no assistant turn in these 5 tokens"):
        tiny.assistant_start(tiny.encode("hello"))


def test_continuation_has_no_dummy_space() -> None:
    pieces = ["<unk>", "▁", *"abc\n", "▁a", "b"]
    tok = Tokenizer(
        tokenizer_models.BPE({p: i for i, p in enumerate(dict.fromkeys(pieces))}, [("▁", "a")], unk_token="<unk>")
    )
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tok.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    chat = chat_of(PreTrainedTokenizerFast(tokenizer_object=tok, unk_token="<unk>"))
    assert chat.dummy and chat.tok.convert_ids_to_tokens(chat.tok.encode("ab")) == ["▁a", "b"]
    assert chat.tok.convert_ids_to_tokens(chat.encode("ab")) == ["a", "b"]
    assert chat.tok.convert_ids_to_tokens(chat.encode(" ab")) == ["▁a", "b"]


def test_prompts_that_cannot_be_rendered_are_refused(tiny: LM) -> None:
    with pytest.raises(UserError, match=r"no prompt form 'maybe'.*closed, open"):
        tiny.prompt_ids("Hi.", form="maybe")
    with pytest.raises(UserError, match="prefix="):
        tiny.prompt_ids([{"role": "assistant", "content": "Hi."}])
    with pytest.raises(UserError, match="prefix="):
        tiny.prompt_ids([])
    with pytest.raises(UserError, match="Leave one of them out"):
        tiny.prompt_ids([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], system="c")
    alternating = tiny_lm(
        "qwen2", template="{% if messages | length > 2 %}{{ raise_exception('too many') }}{% endif %}" + CHATML
    )
    with pytest.raises(UserError, match=r"refuses these turns \(system, user, user\): too many"):
        alternating.prompt_ids([{"role": "user", "content": "a"}] * 2)


def test_prompt_longer_than_the_context(tiny: LM) -> None:
    check_length(tiny, [0] * 500, new=12)
    with pytest.raises(UserError, match=r"500 tokens and 13 new ones exceed the context of tiny-qwen3, 512"):
        check_length(tiny, [0] * 500, new=13)


# --- fingerprint and lock -------------------------------------------------------------------------------------------


def test_fingerprint_sees_one_bit() -> None:
    model = tiny_model("qwen3")
    before = fingerprint_of(model)
    assert before == fingerprint_of(tiny_model("qwen3")) == tiny_lm("qwen3").fingerprint
    assert len(before) == 16 and int(before, 16) >= 0
    weight = model.model.layers[2].mlp.up_proj.weight.data
    weight.view(torch.int32)[5, 7] ^= 1
    assert fingerprint_of(model) != before
    weight.view(torch.int32)[5, 7] ^= 1
    assert fingerprint_of(model) == before


def test_fingerprint_knows_dtype_and_seed() -> None:
    prints = {fingerprint_of(tiny_model("qwen3", seed)) for seed in (0, 1)}
    prints |= {fingerprint_of(tiny_model("qwen3").to(dtype)) for dtype in (torch.bfloat16, torch.float16)}
    assert len(prints) == 4


def test_lock_is_reentrant_and_keeps_others_out(tiny: LM) -> None:
    def other() -> bool:
        got = tiny.lock.acquire(blocking=False)
        if got:
            tiny.lock.release()
        return got

    with tiny.lock, tiny.lock, ThreadPoolExecutor(1) as pool:
        assert not pool.submit(other).result()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(other).result()


# --- loading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHS)
def test_folder_round_trip(tmp_path: Path, arch: str) -> None:
    lm = tiny_lm(arch)
    lm.model.save_pretrained(tmp_path)
    lm.tok.save_pretrained(tmp_path)
    back = load_model(tmp_path, device="cpu")
    assert back.fingerprint == lm.fingerprint and back.forms == lm.forms and back.eos_ids == lm.eos_ids
    ids = lm.prompt_ids("May a nurse lie?")
    assert back.prompt_ids("May a nurse lie?") == ids and back.tok.padding_side == "left"
    with torch.inference_mode():
        logits = [m.model(input_ids=torch.tensor([ids])).logits for m in (lm, back)]
    assert torch.equal(*logits)


def test_half_precision_file_loads_alike_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ws.models.lm._LOADED", {})  # what others share stays loaded
    weights = {name: w.half() for name, w in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    first = load_model(folder, device="cpu")
    unload_models()
    second = load_model(folder, device="cpu")
    assert first is not second and first.fingerprint == second.fingerprint and second.dtype == torch.float32
    assert load_model(folder, device="cpu", dtype="bf16").dtype == torch.bfloat16


def test_one_instance_per_process(folder: Path) -> None:
    start = threading.Barrier(4)

    def load() -> LM:
        start.wait()
        return load_model(str(folder), device="cpu")

    with ThreadPoolExecutor(4) as pool:
        loaded = [f.result() for f in [pool.submit(load) for _ in range(4)]]
    assert len({id(lm) for lm in loaded}) == 1
    assert load_model(folder, device=torch.device("cpu"), dtype=torch.float32) is loaded[0]
    assert load_model(folder, device="cpu", dtype="float16") is not loaded[0]


def test_a_folder_written_anew_is_read_anew(folder: Path) -> None:
    before = load_model(folder, device="cpu")
    tiny_model("qwen3", seed=1).save_pretrained(folder)
    assert load_model(folder, device="cpu").fingerprint != before.fingerprint


def test_cache_switched_off_by_a_training_run_is_on_again(folder: Path) -> None:
    for file in ("config.json", "generation_config.json"):
        settings = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**settings, "use_cache": False, "cache_implementation": "static"}))
    lm = load_model(folder, device="cpu")
    assert lm.model.config.use_cache and lm.model.generation_config.use_cache
    assert lm.model.generation_config.cache_implementation is None
    lm.model.save_pretrained(folder / "again")
    assert json.loads((folder / "again" / "generation_config.json").read_text())["use_cache"] is True


def test_devices_and_dtypes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    picks = {}
    for cards in (0, 1, 2):
        monkeypatch.setattr(torch.cuda, "device_count", lambda cards=cards: cards)
        sources = [loading.source_of(name, None, None, None) for name in ("org/model", "mini")]
        picks[cards] = [(s.device, s.dtype) for s in sources]
    assert picks[0] == [("cpu", torch.float32)] * 2
    assert picks[1] == [("cuda:0", torch.bfloat16), ("cuda:0", torch.float32)]
    assert picks[2] == [("auto", torch.bfloat16), ("cuda:0", torch.float32)]


def test_embedded_model_is_the_default_and_loads_quietly(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RECIPES, "mini", replace(MINI, folder=str(folder)))
    capfd.readouterr()
    lm = load_model(device="cpu")
    assert lm.recipe.package and lm.name == "mini" and capfd.readouterr().err == ""
    assert load_model(folder, device="cpu").recipe == OTHER


def test_embedded_model(mini: LM) -> None:
    assert mini.recipe == MINI and mini.dtype == torch.float32 and mini.forms == ("closed", "open")
    assert load_model(device="cpu") is load_model("mini", device="cpu")
    assert load_model(device="cpu").fingerprint == mini.fingerprint
    tail = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    ids = mini.prompt_ids("Hi.")
    assert mini.tok.decode(ids).endswith(tail) and mini.assistant_start(ids) == len(ids) - 1
    assert agrees(mini) < 1e-5


def test_the_package_imports_without_torch() -> None:
    script = "import sys, ws; assert 'load_model' in dir(ws) and 'torch' not in sys.modules"
    where = {**os.environ, "PYTHONPATH": str(Path(loading.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", script], check=True, env=where)


# --- the user's mistakes --------------------------------------------------------------------------------------------


def test_unknown_model_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError, match=r"could not load 'nobody/nothing'.*load_model\(\"mini\"\) needs no network.*folder"
    ):
        load_model("nobody/nothing")


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "~/nowhere", "a/b/c"])
def test_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*load_model\(\"mini\"\)"):
        load_model(name)


def test_a_model_that_names_no_end_is_refused(folder: Path) -> None:
    for file in ("config.json", "generation_config.json", "tokenizer_config.json"):
        if (folder / file).exists():
            stored = json.loads((folder / file).read_text())
            (folder / file).write_text(json.dumps(stored | {"eos_token_id": None, "eos_token": None}))
    assert load_model(folder, device="cpu").eos_ids  # what its template writes behind a reply
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}")
    with pytest.raises(UserError, match=r"names no token that ends a text.*eos_token_id"):
        load_model(folder, device="cpu")


def test_folders_that_are_no_model(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"no config.json"):
        load_model(tmp_path)
    (tmp_path / "adapter_config.json").touch()
    with pytest.raises(UserError, match=r"holds an adapter.*ws.Adapter.load"):
        load_model(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no .safetensors file"):
        load_model(folder)
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(UserError, match=r"only pickled weights \(pytorch_model.bin\).*save_pretrained"):
        load_model(folder)
    (folder / "config.json").write_text('{"model_type": "nonesuch"}')
    (folder / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"could not load .*nonesuch"):
        load_model(folder)


def test_an_encoder_is_no_causal_lm(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"is a BertForMaskedLM, not a decoder-only causal LM"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}')
    with pytest.raises(UserError, match=r"is a t5, not a decoder-only causal LM"):
        load_model(tmp_path)


def test_weights_that_are_missing_or_broken(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    lost = {name: w for name, w in weights.items() if "layers.3.mlp" not in name}
    save_file(lost, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UserError, match=r"lacks 3 weights of Qwen3ForCausalLM .*\(first: model.layers.3.mlp.down_proj.weight\)"
    ):
        load_model(folder, device="cpu")
    save_file({**weights, "model.norm.weight": torch.ones(7)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 1 weights .*in another shape \(first: model.norm.weight\)"):
        load_model(folder, device="cpu")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:999])
    with pytest.raises(UserError, match="could not load"):
        load_model(folder, device="cpu")


def test_a_tokenizer_that_is_missing(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(UserError, match="has no tokenizer files"):
        load_model(folder, device="cpu")


def test_settings_that_are_unknown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"quantize='8bit' is unknown.*'4bit'"):
        load_model(folder, quantize="8bit")
    with pytest.raises(UserError, match=r"dtype='int3' is unknown.*bf16"):
        load_model(folder, device="cpu", dtype="int3")
    with pytest.raises(UserError, match=r"no device 'warp:9'"):
        load_model(folder, device="warp:9")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "bitsandbytes" else find(name, *a)
    )
    with pytest.raises(UserError, match=r"bitsandbytes, which is not installed"):
        load_model(folder, device="cpu", quantize="4bit")


def test_embedded_weights_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "mini", replace(MINI, folder=str(tmp_path / "weights")))
    with pytest.raises(UserError, match="the embedded model's weights are missing"):
        load_model("mini", device="cpu", dtype="float64")


@pytest.mark.parametrize("arch", ["mixtral", "qwen3_moe"])
def test_fused_experts_are_refused_for_healing_only(arch: str) -> None:
    experts = {"num_local_experts": 4} if arch == "mixtral" else MOE
    lm = tiny_lm(arch, **{**TEXT, **experts})
    assert agrees(lm) < 1e-5
    with pytest.raises(UserError, match=r"0.mlp.experts.down_proj, 8 in all.*targets='all' would.*targets='attention'"):
        targeted(lm)
    names = targeted(lm, "attention")
    assert len(names) == 16 and all(".self_attn." in name for name in names)


def test_convolutions_and_broadcast_weights_are_no_experts() -> None:
    block = torch.nn.Module()
    block.conv = torch.nn.Conv1d(4, 4, 3)
    block.mix = torch.nn.Parameter(torch.zeros(1, 1, 4))
    assert fused_experts(torch.nn.ModuleList([block]), 4) == []
    block.stack = torch.nn.Parameter(torch.zeros(8, 4))
    assert fused_experts(torch.nn.ModuleList([block]), 4) == ["0.stack"]


def test_dense_models_are_not_refused(arch_lm: LM) -> None:
    assert fused_experts(arch_lm.blocks, arch_lm.d_model) == []
    assert targeted(arch_lm, "shared") == targeted(arch_lm)


def test_a_template_without_an_assistant_turn_is_refused() -> None:
    only_user = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
    with pytest.raises(UserError, match=r"writes no assistant turn \(user and assistant become 'a'\).*chat_template"):
        tiny_lm("qwen3", template=only_user)
