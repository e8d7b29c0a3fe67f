#!/usr/bin/env bash
# peft 0.21.2: where BOFT's CUDA extension cannot be compiled (any machine without the CUDA toolkit), an adapter asked for
# with boft_n_butterfly_factor=2 is made with one factor, and its saved configuration still says two.
#
# Guess: the configuration that is saved says what was made, one factor; or making it is refused.
# Seen:  a warning ("Setting boft_n_butterfly_factor to 1 to speed up the finetuning process"), boft_R of shape (1, ...)
#        in place of (2, ...), and "boft_n_butterfly_factor": 2 in adapter_config.json. Where the extension compiles, the
#        same folder asks for tensors of another shape.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 transformers==5.23.0 peft==0.21.2
CUDA_HOME= "$work/venv/bin/python" - "$work/adapter" 2>"$work/log" <<'PY' || { tail -5 "$work/log"; exit 1; }
import json
import sys
import warnings
from pathlib import Path

import torch
from peft import BOFTConfig, get_peft_model
from safetensors.torch import load_file


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = torch.nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin(x)


folder = Path(sys.argv[1])
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    config = BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=2, target_modules=["lin"])
    model = get_peft_model(Net(), config)
model.save_pretrained(folder)
asked = json.loads((folder / "adapter_config.json").read_text())["boft_n_butterfly_factor"]
made = next(t for name, t in load_file(folder / "adapter_model.safetensors").items() if "boft_R" in name)
print("warned:", next(str(w.message) for w in said if "butterfly" in str(w.message)))
print("factors in adapter_config.json:", asked, " factors in the tensors:", tuple(made.shape)[0])
assert (asked, made.shape[0]) == (2, 1)
PY
echo "as described"
