"""A GGUF file's copy in safetensors: made once, found by the file's hash, checked, and made again where it is damaged.

    folder = prepared(Path("model.gguf"))     # out/models/<hash>, what from_pretrained takes

transformers takes 10 to 20 s for what the copy takes half a second for. The environment variable WS_MODELS names
another place than out/models. Everything in there is written by the holder of one lock.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from ws.errors import UserError
from ws.files import Unwritable, checksum, digest, folder_lock, sweep_temporaries, write_atomic, write_json
from ws.files import writing as refused_as_message
from ws.models.architecture import fingerprint_of
from ws.models.gguf.header import Header, read_header
from ws.models.gguf.unpacking import check_tokenizer, quiet, unpacked

__all__ = ["file_of", "models_folder", "prepared", "spoiled", "writing"]

VERSION = 2  # of what the copy holds
NOTE = "prepared.json"
WEIGHTS = ".safetensors"
SPARE = 64 << 20  # bytes for everything beside the weights
DTYPES = ("float32", "bfloat16")  # in which a copy's weights are known by their fingerprint


def models_folder() -> Path:
    """Where copies are kept, and what was measured of this machine."""
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
    stamp = _stamp(file, root)
    folder = root / stamp.read_text() if stamp.is_file() else None
    if folder is not None and _whole(folder):
        return folder
    header = read_header(file)  # before anything is waited for or written
    check_tokenizer(file, header)
    with writing(root):
        folder = root / digest([checksum(file), VERSION])
        if not _whole(folder):  # another process may have made it meanwhile
            print(f"{file.name}: preparing a safetensors copy in {folder} (once)", file=sys.stderr, flush=True)
            _make(file, header, folder)
        write_atomic(stamp, lambda temporary: temporary.write_text(folder.name))
    return folder


def spoiled(folder: Path, dtype: torch.dtype, fingerprint: str) -> bool:
    """Whether the weights of a copy are others than those that were written; the copy is removed if so."""
    note = folder / NOTE
    try:
        wanted, seen = json.loads(note.read_text())["fingerprints"], note.stat().st_mtime_ns
    except FileNotFoundError:  # another process found the same, and has removed it
        return True
    if wanted.get(str(dtype).removeprefix("torch.")) in (None, fingerprint):
        return False
    with writing(folder.parent):
        if note.exists() and note.stat().st_mtime_ns == seen:  # else it was made again meanwhile
            shutil.rmtree(folder, ignore_errors=True)
    return True


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Be the only one who writes in there; what a killed writer left is removed. UserError where nobody may."""
    with ExitStack() as stack:
        with _elsewhere(), refused_as_message(root):
            stack.enter_context(folder_lock(root, "copies of models", wait=True))
            for place in (root, root / "files", root / "machine"):  # nothing further down is written from here
                sweep_temporaries(place, deep=False)
        yield


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Where a copy of a model cannot be written, how to keep copies somewhere else."""
    try:
        yield
    except Unwritable as error:
        raise Unwritable(f"{error} Copies of models are kept there: WS_MODELS names another folder.") from error


def _stamp(file: Path, root: Path) -> Path:
    """Where the name of a file's copy is noted: by its path, size and time, since hashing it takes a while."""
    at = file.resolve().stat()
    return root / "files" / digest([str(file.resolve()), at.st_size, at.st_mtime_ns, VERSION])


def _whole(folder: Path) -> bool:
    """Whether a copy is there as it was written: the weights by their size (their fingerprint is compared when they are
    loaded), everything else by its bytes."""
    try:
        note = json.loads((folder / NOTE).read_text())
        return bool(note["version"] == VERSION and note["files"] == _contents(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _contents(folder: Path) -> dict[str, int | str]:
    """Name of a file -> its size (weights) or its hash; the note itself is left out."""
    found = sorted(path for path in folder.iterdir() if path.name != NOTE)
    return {path.name: path.stat().st_size if path.suffix == WEIGHTS else checksum(path) for path in found}


def _make(file: Path, header: Header, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    need, free = 4 * header.parameters + SPARE, shutil.disk_usage(folder.parent).free
    if need > free:
        raise _no_room(file, folder, f"it needs {need / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free")
    with quiet(), _elsewhere():
        write_atomic(folder, lambda temporary: _write(file, header, temporary))


def _no_room(file: Path, folder: Path, why: str) -> UserError:
    return UserError(
        f"there is no room for the copy of {file} in {folder.parent}: {why}. Nothing half written was left. Free some,"
        " or set WS_MODELS to a folder on another disk."
    )


def _write(file: Path, header: Header, folder: Path) -> None:
    model, tok = unpacked(file, header)
    tok.save_pretrained(folder)
    model.save_pretrained(folder)
    contents = _contents(folder)
    prints = {dtype: fingerprint_of(model.to(getattr(torch, dtype))) for dtype in DTYPES}
    note = {"version": VERSION, "source": file.name, "quantization": header.quantization, "fingerprints": prints}
    write_json(folder / NOTE, note | {"files": contents})
