#!/usr/bin/env bash
# steering-vectors 0.12.2 (transformers 4.57.6): `min_token_index` counts positions of the present forward, not of the
# text. With a key/value cache (generate's default) each forward holds one new token at position 0, so nothing behind
# the prompt is steered.
#
# Guess: min_token_index=4 behind a prompt of 4 tokens steers every generated token ("the minimum token index to apply
#        the patch to"), with a cache as without.
# Seen:  with a cache the text is the unsteered one, token for token; with use_cache=False all but the first token are
#        steered. min_token_index=0 steers both. A sweep of doses over generated text shows no effect of any dose.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q steering-vectors==0.12.2 transformers==4.57.6 torch==2.13.0
"$work/venv/bin/python" - 2>"$work/log" <<'PY' || { tail -5 "$work/log"; exit 1; }
import torch
from steering_vectors import SteeringVector
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(vocab_size=12, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
model = LlamaForCausalLM(config).eval()
vector, prompt = SteeringVector({1: torch.randn(32) * 5}), torch.tensor([[1, 2, 3, 4]])


def written(cache: bool) -> list[int]:
    ids = model.generate(prompt, max_new_tokens=12, do_sample=False, use_cache=cache, pad_token_id=0, eos_token_id=None)
    return ids[0, 4:].tolist()


base = written(True)
texts = {}
for first in (0, 4):
    for cache in (True, False):
        with vector.apply(model, min_token_index=first):
            texts[first, cache] = written(cache)
print("unsteered", base)
for (first, cache), ids in texts.items():
    print(f"min_token_index={first} use_cache={cache}: {ids}")
assert texts[4, True] == base
assert texts[4, False] != base and texts[4, False][0] == base[0]
assert texts[0, True] == texts[0, False] != base
PY
echo "as described"
