"""A GGUF file's copy in safetensors: made once, found by the file's hash, checked, and made again where it is damaged.

    folder = prepared(Path("model.gguf"))     # out/models/<hash>, what from_pretrained takes

transformers takes 10 to 20 s for what the copy takes half a second for. The environment variable WS_MODELS names
another place than out/models.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedTokenizerBase

from ws.errors import UserError
from ws.files import checksum, digest, folder_lock, read_json, write_atomic, write_json
from ws.models.architecture import fingerprint_of
from ws.models.gguf.header import CUT, Header, read_header
from ws.models.gguf.pre_tokenizers import set_pre_tokenizer

__all__ = ["file_of", "models_folder", "prepared", "spoiled"]

VERSION = 1  # of what the copy holds
NOTE = "prepared.json"
WEIGHTS = "model.safetensors"
SPARE = 64 << 20  # bytes for everything beside the weights


def models_folder() -> Path:
    """Where copies are kept."""
    return Path(os.environ.get("WS_MODELS") or "out/models")


def file_of(place: Path) -> Path | None:
    """The GGUF file that a path means: itself, or the only one of a folder; None: not a matter of GGUF.

    UserError for several in one folder, or one beside safetensors.
    """
    if place.is_file():
        if place.suffix != ".gguf":
            raise UserError(f"{place} is no model. Name a .gguf file, or a folder that save_pretrained wrote.")
        return place
    found = sorted(place.glob("*.gguf")) if place.is_dir() else []
    if not found:
        return None
    if any(place.glob("*.safetensors")):
        raise UserError(
            f"{place} holds both safetensors and {found[0].name}: which of them is the model? Name the file itself,"
            f" {found[0]}, or move it elsewhere."
        )
    if len(found) > 1:
        raise UserError(f"{place} holds {len(found)} GGUF files ({found[0].name}, ...). Name one of them.")
    return found[0]


def prepared(file: Path) -> Path:
    """The folder of a file's copy; made where there is none or where it is not whole. UserErrors of `read_header`, no
    room on the disk, a pre-tokenizer that is not known."""
    root = models_folder()
    folder = root / _key(file, root)
    if _whole(folder):
        return folder
    with folder_lock(root / f"{folder.name}.lock", "copy of a model", wait=True):
        if not _whole(folder):  # another process may have made it meanwhile
            print(f"{file.name}: preparing a safetensors copy in {folder} (once)", file=sys.stderr, flush=True)
            _make(file, folder)
    return folder


def spoiled(folder: Path, dtype: torch.dtype, fingerprint: str) -> bool:
    """Whether the weights of a copy are others than those that were written; the copy is removed if so."""
    note = read_json(folder / NOTE) if (folder / NOTE).is_file() else {}
    wanted = note.get("fingerprints", {}).get(str(dtype).removeprefix("torch."))
    bad = wanted is not None and wanted != fingerprint
    if bad:
        shutil.rmtree(folder)
    return bad


def _key(file: Path, root: Path) -> str:
    """16 hex characters of the file's sha256; remembered under its path, size and time, since hashing takes a while."""
    at = file.resolve().stat()
    stamp = root / "files" / digest([str(file.resolve()), at.st_size, at.st_mtime_ns, VERSION])
    if stamp.is_file() and len(found := stamp.read_text().strip()) == 16:
        return found
    found = checksum(file)
    write_atomic(stamp, lambda temporary: temporary.write_text(found))
    return found


def _whole(folder: Path) -> bool:
    """Whether a copy is there and every file has the size that was noted; the weights' own table is read, too."""
    try:
        note = json.loads((folder / NOTE).read_text())
        sizes = {name: (folder / name).stat().st_size for name in note["sizes"]}
        with (folder / WEIGHTS).open("rb") as file:
            json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    except (OSError, ValueError, KeyError, struct.error, MemoryError, OverflowError):
        return False
    return bool(note["version"] == VERSION and sizes == note["sizes"])


def _make(file: Path, folder: Path) -> None:
    header = read_header(file)
    folder.parent.mkdir(parents=True, exist_ok=True)
    need, free = 4 * header.parameters + SPARE, shutil.disk_usage(folder.parent).free
    if need > free:
        raise UserError(
            f"the copy of {file} needs {need / 2**20:.0f} MiB in {folder.parent}, {free / 2**20:.0f} MiB are free."
            " Free some, or set WS_MODELS to a folder on another disk."
        )
    shutil.rmtree(folder, ignore_errors=True)
    write_atomic(folder, lambda temporary: _write(file, header, temporary))


def _write(file: Path, header: Header, folder: Path) -> None:
    tok = _tokenizer(file, header)
    model = _model(file)
    tok.save_pretrained(folder)
    model.save_pretrained(folder)
    prints = {"float32": fingerprint_of(model), "bfloat16": fingerprint_of(model.to(torch.bfloat16))}
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    note = {"version": VERSION, "source": file.name, "quantization": header.quantization, "fingerprints": prints}
    write_json(folder / NOTE, note | {"sizes": sizes})


def _model(file: Path) -> Any:
    try:
        return AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        ).eval()
    except (ValueError, NotImplementedError, RuntimeError, KeyError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"{file} cannot be unpacked by transformers: {said} Use its safetensors folder.") from error


def _tokenizer(file: Path, header: Header) -> PreTrainedTokenizerBase:
    """The file's own tokenizer: cut as it says, padding apart from the end of a turn."""
    tok: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    if header.tokenizer == CUT:
        try:
            set_pre_tokenizer(tok.backend_tokenizer, header.pre)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
    elif not header.architecture.startswith("gemma"):
        raise UserError(
            f"{file} has a {header.tokenizer!r} tokenizer of {header.architecture}: only Gemma's is read from GGUF."
            " Use the model's safetensors folder."
        )
    if tok.pad_token_id == tok.eos_token_id and tok.unk_token_id not in (None, tok.eos_token_id):
        # a stock collator masks padding out of the loss: the end of a turn would never be learnt
        tok.pad_token = tok.unk_token
    return tok
