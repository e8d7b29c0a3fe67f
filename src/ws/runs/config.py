"""The configuration: one tree of dataclasses, shared by the command line, the notebooks and the run's record.

    config = dataclasses.replace(mini_quick(), rounds=2)
    run = ws.run(config)

Whole configurations come from `ws.runs.recipes`. What cannot hold is refused when the tree is built.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from ws.axes.axis import check_axis
from ws.errors import UserError, near
from ws.evaluation.instrument import check_instrument
from ws.evaluation.items import check_items
from ws.evaluation.readings import READINGS
from ws.generation.settings import Sampling, check_sampling
from ws.healing.config import HealConfig
from ws.models.recipe import DTYPES, recipe_of
from ws.models.setting_names import Names, check_names
from ws.models.stored_settings import LATER, to_dict
from ws.steering.application import check_application
from ws.steering.methods import check_method

__all__ = [
    "ControlConfig", "DataConfig", "DoseConfig", "EvalConfig", "HealConfig", "RunConfig", "SamplingConfig",
    "check_runnable", "data_tokens", "field_types", "flat", "from_dict", "to_dict",
]  # fmt: skip

SEEDS = 2**50  # the dice of random directions are 10,000 times a seed, and fit in 64 bits
DEVICE = re.compile(r"(auto|cpu|cuda|hpu|mps|npu|xpu)(:\d+)?")
_OPENING: ContextVar[bool] = ContextVar("_OPENING", default=False)  # a stored configuration is being read


@dataclass(frozen=True)
class SamplingConfig:
    """How every text of a run is drawn: dose search, reports, data, controls, sampled thinks. Unset fields are the
    model's own: its recipe's, else its generation config's, else temperature 1 with nothing cut off."""

    temperature: float | None = None
    """divides the logits; 0 is greedy: one text per prompt, and random draws that are all the same"""
    top_p: float | None = None
    """the smallest set of tokens with this probability; 1 cuts nothing off"""
    top_k: int | None = None
    """the k likeliest tokens; 0 cuts nothing off"""
    max_new_tokens: int | None = None
    """tokens of a completion"""

    def __post_init__(self) -> None:
        check_sampling(self.temperature, self.top_k, self.top_p, self.max_new_tokens, "sampling.")

    def draws(self, seed: int = 0, tokens: int | None = None) -> Sampling:
        """With these dice; tokens: of a completion, in place of its own."""
        new = self.max_new_tokens if tokens is None else tokens
        return Sampling(self.temperature, self.top_p, self.top_k, new, seed)


@dataclass(frozen=True)
class DoseConfig:
    """The search for the knee: where coherence falls through the floor, on prompts and items that no report uses."""

    grid: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.5)
    """doses tried, beside 0; in raw mean differences shared among the layers"""
    bisect: int = 3
    """rounds of further texts, spent where they decide: about the dose where coherence falls through the floor"""
    coherence: float = 0.95
    """the knee is the dose at which the fitted coherence falls through this"""
    topic: float = field(default=0.85, metadata=LATER)
    """the knee is no stronger dose than that at which what ties text to its prompt falls under this share of base's, or
    of the persona's where that is less; 0: text may leave its question"""
    texts: int = 64
    """free completions per dose"""
    per_foundation: int | None = None
    """items per foundation while searching; None takes half of the set, the report takes the other half"""
    random_draws: int = 8
    """random directions of the control, at the KL of the chosen dose"""

    def __post_init__(self) -> None:
        _positive("dose.grid", *self.grid)
        _check(len(set(self.grid)) == len(self.grid) and list(self.grid) == sorted(self.grid),
               f"dose.grid must rise without repeats (got {self.grid}). Write the doses weakest first.")  # fmt: skip
        _check(bool(self.grid), "dose.grid is empty. Name at least one dose.")
        _check(0 < self.coherence <= 1, f"dose.coherence must lie in (0, 1] (got {self.coherence}).")
        _check(0 <= self.topic < 1, f"dose.topic must lie in [0, 1) (got {self.topic}).")
        _check(self.bisect >= 0, f"dose.bisect cannot be negative (got {self.bisect}).")
        _check(self.texts >= 8, f"dose.texts must be at least 8 (got {self.texts}): coherence needs free text.")
        _check(self.random_draws >= 0, f"dose.random_draws cannot be negative (got {self.random_draws}).")
        _at_least_one("dose.per_foundation", self.per_foundation)


@dataclass(frozen=True)
class DataConfig:
    """The completions that an adapter learns from, and which of them are kept."""

    doses: tuple[float, ...] = (0.5, 0.75, 1.0)
    """doses, as shares of the knee"""
    samples: int = 1
    """completions per prompt and dose"""
    prompts: int | None = None
    """how many of the axis's train prompts are used; None takes all"""
    tail_ppl: float | None = None
    """keep below this perplexity of the last quarter, the filter before worst_ppl; None leaves it out"""
    rep: float = 0.3
    """keep below this share of the most frequent n-gram"""
    narrates: bool = False
    """True keeps texts that talk about the trait instead of acting it"""
    refuses: bool = False
    """True keeps refusals"""
    finished: bool = True
    """True drops texts that the token limit cut off, where base ends most of its own"""
    keep: int = 64
    """train on this many of the kept, spread evenly over doses and prompts"""
    worst_ppl: float | None = field(default=None, metadata=LATER)
    """keep below this perplexity of the worst 24 tokens; None takes the limit of readable text (`limits_of`), where no
    tail_ppl is given"""
    loop: float = field(default=0.3, metadata=LATER)
    """keep below this share of repeated token trigrams"""

    def __post_init__(self) -> None:
        _positive("data.doses", *self.doses)
        _ask(bool(self.doses), "data.doses is empty. Name at least one share of the knee.")
        _ask(len(set(self.doses)) == len(self.doses),
             f"data.doses repeat (got {self.doses}). For more texts per dose raise data.samples.")  # fmt: skip
        _ask(self.tail_ppl is None or self.tail_ppl > 0,
             f"data.tail_ppl must be above 0 (got {self.tail_ppl}). None leaves it out.")  # fmt: skip
        _ask(self.worst_ppl is None or self.worst_ppl > 0,
             f"data.worst_ppl must be above 0 (got {self.worst_ppl}). None takes the model's own.")  # fmt: skip
        _positive("data.loop", self.loop)
        _at_least_one("data.prompts", self.prompts)
        _positive("data.rep", self.rep)
        _check(self.samples >= 1, f"data.samples must be at least 1 (got {self.samples}).")
        _check(self.keep >= 2, f"data.keep must be at least 2 (got {self.keep}).")


@dataclass(frozen=True)
class EvalConfig:
    """How every arm of a report is read. The same for all of them, or nothing could be compared."""

    items: str = "default"
    """"default", "standard", "conflict", or a path to JSONL items"""
    per_foundation: int | None = None
    """items per foundation, stratified; None takes all"""
    think: int | None = None
    """tokens of thinking before the answer; None takes the model's default (embedded 0, others 128)"""
    think_samples: int = 4
    """sampled thinks per item, where thinking is sampled"""
    texts: int = 200
    """free completions of the probe prompts behind coherence"""
    capability: bool = True
    """read the capability canary in every arm"""
    exam: int = 300
    """items of the canary, at most; 300 give it an interval of about +-0.05, 60 of +-0.12"""
    self_violate: bool = True
    """read the vignettes with the asker as the one who does it, too, beside the headline (other_violate)"""
    batch_size: int = 64
    """rows per forward of the vignettes"""
    readings: tuple[Names[str, READINGS], ...] | None = field(default=None, metadata=LATER)
    """what is read beside vignettes and free text, in the order of the names; None reads the model's canary (exam or
    choices, as its recipe says) and dilemmas"""
    instrument: Literal["auto", "vignettes", "questions"] = field(default="auto", metadata=LATER)
    """what the axis is read by; "questions" leaves the vignettes out, "auto" takes what the unsteered model can answer
    (an axis outside the foundations is read by its questions)"""

    def __post_init__(self) -> None:
        if not _OPENING.get():  # the file of a stored run's reading may have gone
            check_names(self, "evaluation")
            check_instrument(self.instrument)
        _check(self.texts >= 8, f"evaluation.texts must be at least 8 (got {self.texts}): coherence needs free text.")
        _check(self.think is None or self.think >= 0, f"evaluation.think cannot be negative (got {self.think}).")
        _at_least_one("evaluation.per_foundation", self.per_foundation)
        _ask(self.think_samples >= 0, f"evaluation.think_samples cannot be negative (got {self.think_samples}).")
        _check(self.exam >= 1, f"evaluation.exam must be at least 1 (got {self.exam}).")
        _check(self.batch_size >= 1, f"evaluation.batch_size must be at least 1 (got {self.batch_size}).")


@dataclass(frozen=True)
class ControlConfig:
    """Controls beside base, the plain persona, random directions and -c, so that an effect can be believed."""

    engineered: bool = True
    """the persona as an engineered system prompt, beside the plain one"""
    sft: bool = True
    """train on the kept texts without a barrier (beta 0)"""
    sft_base: bool = True
    """train without a barrier on as many texts that the unsteered model wrote: what training alone does"""
    prompted: bool = True
    """the healed model with the persona as system prompt, beside the neutral prompt"""
    unfiltered: bool = field(default=False, metadata=LATER)
    """train on as many texts that no filter saw, with the barrier and without it"""


@dataclass(frozen=True)
class RunConfig:
    """A whole experiment: steer, filter, heal, judge, and round again."""

    axis: str = "care_over_authority"
    """a shipped axis, or a path to your own TOML or JSON"""
    model: str = "mini"
    """"mini" (embedded), "smollm2" (from a package), a GGUF file, a local folder, or a hub id"""
    device: str | None = None
    """cpu, cuda, ...; None takes the best there is"""
    dtype: str | None = None
    """float32, bfloat16, ...; None takes the model's default on that device"""
    quantize: Literal["4bit"] | None = None
    """4-bit weights (needs the extra ws[4bit] and CUDA)"""
    method: str = "mean_diff"
    """how the direction is found"""
    contrast: Literal["pair", "base"] = "pair"
    """positive minus negative persona, or positive minus neutral"""
    layers: tuple[int, ...] | None = None
    """blocks whose outputs are steered; None takes the model's default band"""
    dose: DoseConfig = field(default_factory=DoseConfig)
    """the search for the knee"""
    where: Literal["assistant", "generated"] = field(default="assistant", metadata=LATER)
    """positions that are steered: from the assistant tag on, or behind it"""
    schedule: str | None = field(default=None, metadata=LATER)
    """the dose along a text: linear:STEPS, exponential:HALF_LIFE, window:FIRST:END; None is the full dose everywhere"""
    gate: str | None = field(default=None, metadata=LATER)
    """steer only where the state's cosine with the direction is below:COSINE or above:COSINE; None steers everywhere"""
    backtrack: bool = field(default=False, metadata=LATER)
    """where steered text breaks, its last tokens go and it goes on at half the dose"""
    also: tuple[str, ...] = field(default=(), metadata=LATER)
    """further directions beside, each at a dose of its own wherever the method's is not 0: METHOD:DOSE of this axis, or
    AXIS:DOSE of another, as in rotation:20 fairness_over_loyalty:-0.5"""
    data: DataConfig = field(default_factory=DataConfig)
    """the completions and the filter"""
    heal: HealConfig = field(default_factory=HealConfig)
    """the adapter and its barrier; unset fields take the model's recipe"""
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    """the report"""
    controls: ControlConfig = field(default_factory=ControlConfig)
    """which of the costlier controls stand beside it"""
    rounds: int = 1
    """rounds of steer, heal; the adapters stack. Stops early when a healed model falls under dose.coherence"""
    seeds: tuple[int, ...] = (0,)
    """seeds of sampling and training; the first one leads, the others repeat the heal"""
    max_new_tokens: int | None = None
    """tokens per completion of the data alone; None takes sampling.max_new_tokens, which reports always take"""
    batch_size: int = 128
    """rows per decode"""
    threads: int | None = None
    """CPU threads, part of what makes a number; None leaves the process as it is"""
    sampling: SamplingConfig = field(default=SamplingConfig(), metadata=LATER)
    """how every text is drawn; unset fields are the model's own"""
    template: Literal["question"] | None = field(default=None, metadata=LATER)
    """"question": a base model is asked as "Question: ... Answer:" and ends at the next question; None: the model's own
    template, and where it has none the plain text, persona first"""

    def __post_init__(self) -> None:
        _check(
            self.data.keep >= self.heal.min_rows,
            f"data.keep ({self.data.keep}) is under heal.min_rows ({self.heal.min_rows}): no heal could start.",
        )
        _check(self.rounds >= 1, f"rounds must be at least 1 (got {self.rounds}).")
        _check(bool(self.seeds), "seeds is empty. Name at least one seed.")
        _check(len(set(self.seeds)) == len(self.seeds), f"seeds repeat (got {self.seeds}).")
        _check(self.batch_size >= 1, f"batch_size must be at least 1 (got {self.batch_size}).")
        _check(self.threads is None or self.threads >= 1, f"threads must be at least 1 (got {self.threads}).")
        _check(self.max_new_tokens is None or self.max_new_tokens >= 1,
               f"max_new_tokens must be at least 1 (got {self.max_new_tokens}).")  # fmt: skip
        if not _OPENING.get():
            check_runnable(self)

    def draws(self, seed: int) -> Sampling:
        """How the data's completions are drawn with these dice."""
        return self.sampling.draws(seed, self.max_new_tokens)


def data_tokens(config: RunConfig) -> str:
    """What is to be said behind a run's sampling where its data's texts have a length of their own."""
    return "" if config.max_new_tokens is None else f"; the data's texts {config.max_new_tokens} tokens"


def check_runnable(config: RunConfig) -> None:
    """UserError for what this version cannot run: names that it does not know, blocks and seeds that cannot be.

    A stored configuration is read without this: it may be of a version with other axes, item sets and methods. Files
    are not looked at either (`ws.experiment.inputs` does before a run), nor what only the model knows.
    """
    check_axis(config.axis)
    check_items(config.evaluation.items, recipe_of(config.model))
    check_method(config.method)
    check_application(config.where, config.schedule, config.gate, config.also)
    _one_of("contrast", config.contrast, ("pair", "base"))
    _one_of("quantize", config.quantize, (None, "4bit"))
    _one_of("dtype", config.dtype, (None, *DTYPES))
    _check(
        config.device is None or bool(DEVICE.fullmatch(config.device)),
        f"there is no kind of device {config.device!r}. Use cpu, cuda, cuda:1, mps or auto, or leave device out.",
    )
    _check(
        config.layers is None or _are_blocks(config.layers),
        f"layers must name each block once, counted from 0 (got {config.layers}). None takes the default band.",
    )
    for name, seed in (("heal.seed", config.heal.seed), *(("seeds", seed) for seed in config.seeds)):
        _check(type(seed) is int and 0 <= seed < SEEDS, f"{name} must be whole, 0 to 2**50 - 1 (got {seed!r}).")


def _are_blocks(layers: Sequence[object]) -> bool:
    """Whether they are different whole numbers from 0, at least one."""
    return bool(layers) and len(set(layers)) == len(layers) and all(type(k) is int and k >= 0 for k in layers)


def _one_of(name: str, value: str | None, known: Sequence[str | None]) -> None:
    words = [word for word in known if word is not None]
    _check(value in known, f"{name} {value!r} is unknown.{near(str(value), words)} Use one of: {', '.join(words)}.")


def _at_least_one(name: str, value: int | None) -> None:
    _ask(value is None or value >= 1, f"{name} must be at least 1 (got {value}). None takes all.")


def _ask(holds: bool, message: str) -> None:
    """`_check` of what is asked for now; earlier versions stored such values, and their runs open."""
    _check(holds or _OPENING.get(), message)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise UserError(message)


def _positive(name: str, *values: float) -> None:
    for value in values:
        _check(math.isfinite(value) and value > 0, f"{name} must be finite and above 0 (got {value}).")


def _with(config: Any, names: list[str], value: Any) -> Any:
    """A configuration with another value at the end of a path of fields."""
    name, *rest = names
    return dataclasses.replace(config, **{name: _with(getattr(config, name), rest, value) if rest else value})


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """A tree of settings as one level, keys joined with dots."""
    if not isinstance(values, dict):
        return {prefix: values}
    return {
        k: v for name, part in values.items() for k, v in flat(part, f"{prefix}.{name}" if prefix else name).items()
    }


def field_types(kind: Any = RunConfig, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> type of every field of a configuration, with the names that each takes now."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(kind).items():
        inner = field_types(hint, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else {f"{prefix}{name}": hint}
        found |= inner
    return found


def from_dict(values: dict[str, Any]) -> RunConfig:
    """The inverse of `to_dict`, for stored configurations, without `check_runnable`.

    UserError for a key that this version does not know, or a value out of its range.
    """
    token = _OPENING.set(True)
    try:
        config: RunConfig = _build(RunConfig, values, "")
    finally:
        _OPENING.reset(token)
    return config


def _build(kind: Any, values: dict[str, Any], where: str) -> Any:
    hints = _hints(kind)
    unknown = set(values) - set(hints)
    if unknown:
        raise UserError(f"The configuration holds {where}{sorted(unknown)[0]!r}, unknown to this version of ws. "
                        "The run was made by another version: open it with that one.")  # fmt: skip
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, dict):
            built[name] = _build(hints[name], value, f"{where}{name}.")
        else:
            built[name] = tuple(value) if isinstance(value, list) and _is_tuple(hints[name]) else value
    return kind(**built)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    """A class's types; read anew they would be half of what opening a run costs."""
    return typing.get_type_hints(kind)


def _is_tuple(hint: Any) -> bool:
    """Whether a hint is a tuple, or a union that holds one."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_is_tuple(part) for part in typing.get_args(hint))
    return typing.get_origin(hint) is tuple
