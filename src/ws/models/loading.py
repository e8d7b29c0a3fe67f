"""Loads a model and its tokenizer by name: where the files are, device and dtype, errors that say the way out."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)
from transformers.utils import (
    AUDIO_TOKENIZER_NAME,
    FEATURE_EXTRACTOR_NAME,
    IMAGE_PROCESSOR_NAME,
    PROCESSOR_NAME,
    VIDEO_PROCESSOR_NAME,
)
from transformers.utils.hub import cached_file
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from ws.errors import UserError
from ws.models.cpu_dtype import cpu_dtype
from ws.models.gguf.preparing import file_of, prepared
from ws.models.origin import Stamp
from ws.models.recipe import DTYPES, WAY_OUT, ModelRecipe, check_path, recipe_of, weights_of

__all__ = ["Source", "folder_of", "foreign_errors", "processor_files", "quantization_of", "read_model", "source_of"]

PROCESSORS = sorted(
    {PROCESSOR_NAME, IMAGE_PROCESSOR_NAME, VIDEO_PROCESSOR_NAME, FEATURE_EXTRACTOR_NAME, AUDIO_TOKENIZER_NAME}
)
ASKED = "asked for"
POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Source:
    """What to load and how: two equal sources are one model. stamp: sizes and times of a folder's files; why: where the
    dtype comes from; copy: place is a copy of a GGUF file."""

    place: str
    local: bool
    recipe: ModelRecipe
    device: str
    dtype: torch.dtype
    quantize: str | None
    stamp: tuple[tuple[str, int, int], ...] = ()
    why: str = field(default="", compare=False)
    copy: bool = False


def source_of(
    name: str, device: str | torch.device | None, dtype: str | torch.dtype | None, quantize: str | None
) -> Source:
    """Fill in the defaults. UserError for a folder that is not there, an unknown device, dtype or quantization."""
    recipe = recipe_of(name)
    packaged = weights_of(recipe)
    folder = packaged or Path(name).expanduser()
    if packaged is not None and not packaged.exists():
        raise UserError(f"{recipe.title}'s weights are missing: there is no {folder}. {recipe.missing}")
    local = packaged is not None or folder.exists()
    check_path(name)
    if quantize not in (None, "4bit"):
        raise UserError(f"quantize={quantize!r} is unknown. Use '4bit' or None.")
    where = _device(device, recipe)
    kind, why = _dtype(dtype, where, recipe)
    if not local:
        return Source(name, False, recipe, where, kind, quantize, why=why)
    file = file_of(folder)
    place = folder if file is None else prepared(file)
    stamp = _stamp(place)
    return Source(str(place.resolve()), True, recipe, where, kind, quantize, stamp, why, file is not None)


def read_model(source: Source) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Weights and tokenizer of a source. UserErrors as load_model lists them; call it inside `foreign_errors`."""
    if source.local:
        _check_folder(Path(source.place), source.recipe)
    config = AutoConfig.from_pretrained(source.place, trust_remote_code=False)
    _check_causal(config, source.place)
    options = _options(source)
    text_only = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    auto: Any = AutoModelForCausalLM if text_only else AutoModelForImageTextToText
    with _quiet(source.recipe.quiet or source.copy):
        model, info = auto.from_pretrained(source.place, **options)
    lost = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    if lost:
        raise UserError(
            f"{source.place} lacks {len(lost)} weights of {type(model).__name__} or has them in another shape (first:"
            f" {lost[0]}): they would be random numbers. Use a folder that holds the whole causal LM."
        )
    if not text_only and not source.local:
        for name in PROCESSORS:  # into the cache, beside the weights, for who exports them
            cached_file(
                source.place, name,
                _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
            )  # fmt: skip
    return model, _tokenizer(source)


def _tokenizer(source: Source) -> PreTrainedTokenizerBase:
    tok: Any = AutoTokenizer.from_pretrained(source.place, trust_remote_code=False)
    # without its files transformers builds a tokenizer of one word and says nothing
    if not tok.encode("a", add_special_tokens=False):
        raise UserError(
            f"{source.place} has no tokenizer files. Save it beside the model: tok.save_pretrained(folder)."
        )
    tok.padding_side = "left"
    return tok


@contextmanager
def _quiet(quiet: bool) -> Iterator[None]:
    """No progress bar for what takes no time."""
    shown = is_progress_bar_enabled()
    if quiet:
        disable_progress_bar()
    try:
        yield
    finally:
        if quiet and shown:
            enable_progress_bar()


def _options(source: Source) -> dict[str, Any]:
    """Keywords of from_pretrained."""
    options: dict[str, Any] = {"dtype": source.dtype, "use_safetensors": True, "output_loading_info": True}
    # a wrong shape is reported by read_model, with the missing ones
    options |= {"trust_remote_code": False, "ignore_mismatched_sizes": True}
    if source.device != "cpu":
        options["device_map"] = "auto" if source.device == "auto" else {"": source.device}
    if source.quantize:
        if importlib.util.find_spec("bitsandbytes") is None:
            raise UserError("quantize='4bit' needs bitsandbytes, which is not installed. pip install bitsandbytes.")
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=source.dtype
        )
    return options


def _check_pointers(folder: Path, weights: list[str]) -> None:
    """UserError for a git clone without Git LFS: its files of weights are a few lines of text that name them."""
    for name in weights:
        with (folder / name).open("rb") as file:
            pointer = file.read(len(POINTER)) == POINTER
        if pointer:
            raise UserError(
                f"{folder / name} is a Git LFS pointer, not the weights. Run `git lfs pull` in that clone, or"
                " download the model again."
            )


def _check_folder(folder: Path, recipe: ModelRecipe) -> None:
    """A folder with config.json and safetensors, or a UserError that says what it is instead."""
    files = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    if recipe.package is not None and "model.safetensors" not in files:
        raise UserError(f"{recipe.title}'s weights are missing in {folder}. {recipe.missing}")
    if "adapter_config.json" in files and "config.json" not in files:
        raise UserError(f"{folder} holds an adapter. Load its base model and pass adapters=[ws.Adapter.load(folder)].")
    if "config.json" not in files:
        raise UserError(f"{folder} is no model: it has no config.json. Use a folder that save_pretrained wrote.")
    if weights := sorted(name for name in files if name.endswith(".safetensors")):
        _check_pointers(folder, weights)
        return
    pickled = sorted(name for name in files if name.endswith((".bin", ".pt", ".pth")))
    if pickled:
        raise UserError(
            f"{folder} has only pickled weights ({pickled[0]}), which can run code when read."
            " Save them as safetensors: model.save_pretrained(folder)."
        )
    raise UserError(f"{folder} has no weights: no .safetensors file. Use a folder that save_pretrained wrote.")


def _check_causal(config: Any, place: str) -> None:
    """UserError for what cannot write text from left to right: encoders, encoder-decoders, unknown types."""
    known = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(), *MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values()}
    types = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES}
    named = config.architectures or []
    causal = known.intersection(named) if named else config.model_type in types
    if config.is_encoder_decoder or not causal:
        what = named[0] if named else config.model_type
        raise UserError(f"{place} is a {what}, not a decoder-only causal LM. Use one, or load_model('mini').")


def folder_of(source: Source) -> Path:
    """Where the files of a source that has been loaded lie: its folder, or its snapshot in the cache."""
    if source.local:
        return Path(source.place)
    return Path(str(cached_file(source.place, "config.json", local_files_only=True))).parent


def processor_files(stamps: tuple[Stamp, ...]) -> list[Path]:
    """The files beside these weights that say how images and sounds are read: transformers writes none of them."""
    folders = {Path(path).parent for path, *_ in stamps}
    return [folder / name for folder in folders for name in PROCESSORS if (folder / name).is_file()]


def quantization_of(model: PreTrainedModel) -> str:
    """How its weights are quantized ("4bit", "gptq"), empty where they are not."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return ""
    if getattr(model, "is_loaded_in_4bit", False):
        return "4bit"
    method = getattr(config, "quant_method", config)
    return str(getattr(method, "value", method))


@contextmanager
def foreign_errors(source: Source) -> Iterator[None]:
    """Whatever a library raises while it reads a user's files, as one UserError: what it said, and the way out.

    A model's files are no code of ours: what is odd in them is the user's to mend, whichever exception shows it.
    """
    try:
        yield
    except UserError:
        raise
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{source.place} does not fit on {source.device}. Pass quantize='4bit' or a smaller model."
        ) from error
    except Exception as error:
        raise UserError(_told(source, error)) from error


def _told(source: Source, error: Exception) -> str:
    said = " ".join(str(error).split())
    said = f"{said[:297]}..." if len(said) > 300 else said or "no reason given"
    said = said if said.endswith((".", "!", "?")) else f"{said}."
    if not isinstance(error, OSError | ValueError | ImportError | SafetensorError):
        said = f"{type(error).__name__}: {said}"
    if isinstance(error, ImportError):
        way = "Install what it names, or name a checkpoint that asks for no such library (its config.json may say"
        return f"could not load {source.place}: {said} {way} quantization_config or attn_implementation)."
    if source.local:
        return f"could not load {source.place}: {said} Use a folder that save_pretrained wrote."
    if "safetensors" in said:
        return f"{source.place} has no safetensors weights, only pickled ones. {WAY_OUT}"
    return f"could not load {source.place!r}: {said} Check name and network. {WAY_OUT}"


def _device(device: str | torch.device | None, recipe: ModelRecipe) -> str:
    """The first GPU or the CPU; "auto" beyond one GPU, unless the model keeps to one device."""
    if device is None:
        cards = torch.cuda.device_count()
        return "auto" if cards > 1 and not recipe.one_device else "cuda:0" if cards else "cpu"
    if str(device) == "auto":
        return "auto" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"there is no device {str(device)!r} here. Use 'cpu', or leave device out.") from error
    return "cuda:0" if str(found) == "cuda" else str(found)


def _dtype(dtype: str | torch.dtype | None, device: str, recipe: ModelRecipe) -> tuple[torch.dtype, str]:
    """(what was asked for, else the model's own, else bf16 on a GPU, and on the CPU what it multiplies faster; why)."""
    if isinstance(dtype, torch.dtype):
        return dtype, ASKED
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"dtype={dtype!r} is unknown. Use one of: {', '.join(DTYPES)}.")
    if dtype is not None:
        wanted, why = dtype, ASKED
    elif recipe.dtype is not None:
        wanted, why = recipe.dtype, f"{recipe.title}'s own"
    else:
        wanted, why = cpu_dtype() if device == "cpu" else ("bfloat16", "on a GPU")
    return getattr(torch, DTYPES[wanted]), why


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """A folder that was written anew is another model."""
    files = sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
    return tuple((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files)
