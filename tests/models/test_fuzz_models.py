"""Damaged model folders, templates and adapters, seeded: each works or is one line; no other exception comes out."""

from __future__ import annotations

import json
import os
import random
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.builders.adapters import IDS, logits, made
from tests.builders.mutations import mutated_bytes, mutated_text, mutated_value, one_of_two, texts_in_scripts
from tests.builders.tiny_models import CHATML, GEMMA, tiny_lm, tiny_tokenizer
from ws.generation.completions import generate
from ws.models.adapters.adapter import Adapter
from ws.models.adapters.attaching import attached
from ws.models.chat import chat_of
from ws.models.consistency import findings
from ws.models.lm import LM, load_model, unload_models

FEW, MANY = 8, int(os.environ.get("WS_DRAWS", "100"))
draws = pytest.mark.parametrize(
    "seeds", [range(FEW), pytest.param(range(FEW, MANY), marks=pytest.mark.slow)], ids=["few", "many"]
)
one_line = partial(one_of_two, longest=2000)
JSONS = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as save_pretrained writes it."""
    folder, lm = tmp_path_factory.mktemp("model") / "saved", tiny_lm("llama")
    lm.model.save_pretrained(folder)
    lm.tok.save_pretrained(folder)
    return folder


@draws
def test_a_damaged_model_folder(seeds: range, saved: Path, tmp_path: Path) -> None:
    for seed in seeds:
        dice, folder = random.Random(seed), tmp_path / f"{seed}"
        shutil.copytree(saved, folder)
        file = folder / dice.choice(JSONS)
        if dice.random() < 0.1:
            file.write_bytes(mutated_bytes(file.read_bytes(), dice))
        else:
            value = mutated_value(json.loads(file.read_text()), dice, dice.randint(1, 2))
            file.write_text(json.dumps(value))

        def used(folder: Path = folder) -> None:
            lm = load_model(folder, device="cpu")
            findings(lm)
            generate(lm, ["Hi", "Who are you?"], max_new_tokens=2)

        one_line(used, f"draw {seed}, {file.name}: {file.read_bytes()[:3000]!r}")
        unload_models()
        shutil.rmtree(folder)


PARTS = (
    "{{ bos_token }}", "{% if add_generation_prompt %}", "{% endif %}", "{% for m in messages %}", "{% endfor %}",
    "{{ m }}", "{{ strftime_now('%Y') }}", "{{ messages[5].content }}", "{{ messages | tojson }}", "{{ x.y.z }}",
    "{% set x = namespace(y=1) %}", "{{ raise_exception('no') }}", "{{ m.content.split('x')[9] }}", "{{ 1 // 0 }}",
    "{{ tools | length }}", "{{ m.content | trim }}", "{% break %}", "{% generation %}", "{% endgeneration %}",
    "{{ range(10) | sum }}", "assistant",
)  # fmt: skip


@draws
def test_a_damaged_chat_template(seeds: range) -> None:
    texts = texts_in_scripts(5, random.Random(0))
    for seed in [s for start in seeds for s in range(4 * start, 4 * start + 4)]:  # they are cheap
        dice = random.Random(seed)
        template = mutated_text(dice.choice((CHATML, GEMMA)), dice, PARTS)

        def used(template: str = template) -> None:
            chat = chat_of(tiny_tokenizer(template))
            for text in ("Hi", *texts):
                chat.render([{"role": "system", "content": "s"}, {"role": "user", "content": text}], None)

        one_line(used, f"draw {seed}: {template!r}")


@draws
def test_a_damaged_adapter_folder(seeds: range, tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    before = logits(lm)
    for family in ("lora", "dora", "delora"):
        made(lm, family).save(tmp_path / family)
    for seed in seeds:
        dice, folder = random.Random(seed), tmp_path / f"{seed}"
        shutil.copytree(tmp_path / dice.choice(("lora", "dora", "delora")), folder)
        if dice.random() < 0.7:
            (folder / "ws.json").unlink()
        file = folder / dice.choice([p.name for p in sorted(folder.iterdir())])
        if file.suffix == ".json":
            file.write_text(json.dumps(mutated_value(json.loads(file.read_text()), dice, dice.randint(1, 2))))
        else:
            file.write_bytes(mutated_bytes(file.read_bytes(), dice))

        def used(folder: Path = folder) -> None:
            with attached(lm, [Adapter.load(folder, lm)]):
                assert logits(lm).isfinite().all()

        one_line(used, f"draw {seed}, {file.name}: {file.read_bytes()[:1500]!r}")
        shutil.rmtree(folder)
    assert torch.equal(logits(lm), before) and IDS.numel()


@draws
def test_texts_of_twelve_scripts(seeds: range, tiny: LM) -> None:
    for seed in seeds[:64]:
        texts = texts_in_scripts(8, random.Random(seed))
        for text in texts:
            one_line(lambda text=text: tiny.prompt_ids(text, system=text, prefix=text), f"draw {seed}: {text!r}")
        if seed % 16 == 0:
            one_line(lambda texts=texts: generate(tiny, texts, max_new_tokens=2), f"draw {seed}")
