#!/usr/bin/env bash
# steering-vectors 0.12.2 (transformers 4.57.6): with ablation_operator or ablation_then_addition_operator a multiplier
# of 0 makes every logit NaN, silently: the vector is multiplied first and then divided by its norm.
#
# Guess: 0 erases like any other multiplier ("This will ignore the steering vector multiplier param, and will always
#        erase"), and "ablate, then add" at 0 only ablates, which would make 0 the control of a sweep.
# Seen:  1, -1 and 1e-3 give equal logits under ablation; 0 gives NaN under both operators. generate() then writes token
#        0 for ever and raises nothing.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q steering-vectors==0.12.2 transformers==4.57.6 torch==2.13.0
"$work/venv/bin/python" - 2>"$work/log" <<'PY' || { tail -5 "$work/log"; exit 1; }
import torch
from steering_vectors import SteeringVector, ablation_operator, ablation_then_addition_operator
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(vocab_size=12, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
model = LlamaForCausalLM(config).eval()
vector, prompt = SteeringVector({1: torch.randn(32)}), torch.tensor([[1, 2, 3, 4]])


def logits(operator, multiplier):
    with vector.apply(model, operator=operator, multiplier=multiplier), torch.no_grad():
        return model(prompt).logits


ablated = {m: logits(ablation_operator(), m) for m in (1.0, -1.0, 1e-3, 0.0)}
for m, found in ablated.items():
    print(f"ablation, multiplier {m:g}: {int(found.isnan().sum())} of {found.numel()} logits are NaN")
assert torch.allclose(ablated[1.0], ablated[-1.0], atol=1e-5) and torch.allclose(ablated[1.0], ablated[1e-3], atol=1e-4)
assert ablated[0.0].isnan().all()
assert logits(ablation_then_addition_operator(), 0.0).isnan().all()
with vector.apply(model, operator=ablation_operator(), multiplier=0.0):
    ids = model.generate(prompt, max_new_tokens=5, do_sample=False, pad_token_id=0, eos_token_id=None)
print("generate writes", ids[0, 4:].tolist())
assert ids[0, 4:].tolist() == [0] * 5
PY
echo "as described"
