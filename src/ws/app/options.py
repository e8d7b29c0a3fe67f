"""The options of every command of the command line, without torch: one dataclass a command, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ws.app.access import AppSettings
from ws.gating.arm_table import BASE, HEALED
from ws.generation.settings import check_sampling
from ws.healing.config import HealConfig
from ws.runs.config import RunConfig, SamplingConfig
from ws.steering.application import check_application
from ws.steering.methods import check_method


@dataclass(frozen=True)
class RunArgs:
    """The whole experiment: steer, filter, heal, judge.

    The same command resumes an unfinished run and returns a finished one."""

    config: Annotated[RunConfig, arg(name="")] = field(default_factory=RunConfig)
    recipe: Literal["quick", "full", "real"] | None = None
    """whose defaults the other options change; None is quick for the embedded model, real for others"""
    out: Path = Path("out")
    """where runs and the ledger are kept"""
    new: bool = False
    """start another run of the same configuration instead of resuming or returning it"""
    workers: int | None = None
    """processes that share a round's stages, the numbers are the same; None is one per core for the embedded model on
    the CPU, else one"""
    check: bool = False
    """look at everything that can be known before, print a line for each finding and stop; exit code 2 where one
    refuses the run"""
    json: bool = False
    """print one JSON object instead of the report"""


@dataclass(frozen=True)
class SweepArgs:
    """A grid of runs: every row of a TOML file is an arm, what arms share is computed once.

    The same command goes on where one was stopped. docs/sweeps.md says how a grid is written."""

    grid: Annotated[Positional[Path], arg(metavar="GRID.toml")]
    """the grid: [base], [grid] and [[arm]] with fields as `ws run --...` calls them"""
    out: Path = Path("out")
    """where runs, the ledger and the sweep's record are kept"""
    workers: int = 1
    """processes that share the stages of each run; each arm starts its own, which pays where an arm's own stages are
    many"""
    check: bool = False
    """look at every arm, print its settings and the estimate and stop; exit code 2 where one is refused"""
    json: bool = False
    """print one JSON object instead of the table"""


@dataclass(frozen=True)
class SteerArgs:
    """Write to one prompt at several doses, same dice at each; base is c = 0."""

    prompt: Annotated[Positional[str], arg(metavar="PROMPT")]
    """what the user says"""
    c: tuple[float, ...] | None = None
    """doses, in the method's unit; None takes 0, 0.5, 1, 2, 3 multiples, or 0 and the method's own grid"""
    method: str = RunConfig.method
    """how the direction is found and applied"""
    where: Literal["assistant", "generated", "prompt", "all"] = "assistant"
    """positions that are steered"""
    schedule: str | None = None
    """the dose along the text: linear:STEPS, exponential:HALF_LIFE, window:FIRST:END"""
    gate: str | None = None
    """steer only where the state's cosine with the direction is below:COSINE or above:COSINE"""
    backtrack: bool = False
    """where the text breaks, its last tokens go and it goes on at half the dose; what was cut is told"""
    also: tuple[str, ...] = ()
    """further directions at doses of their own wherever c is not 0: METHOD:DOSE, or AXIS:DOSE"""
    model: str = "mini"
    """"mini", "smollm2", a GGUF file, a local folder or a hub id"""
    axis: str | None = None
    """a shipped axis or a path; None takes the model's own"""
    direction: Path | None = None
    """a stored direction (.safetensors) or a GGUF control vector (of llama.cpp, repeng or ws export), whose scale is c;
    None reads it from the axis now"""
    persona: str | None = None
    """a system prompt in place of the neutral one"""
    template: Literal["question"] | None = None
    """"question": a base model is asked as "Question: ... Answer:"; None: its own template, or plain text"""
    n: int = 1
    """samples per dose"""
    seed: int = 0
    """seed of the dice"""
    max_new_tokens: int | None = None
    """tokens per completion, as --sampling.max-new-tokens; None takes the model's default"""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """how tokens are drawn; unset fields are the model's own"""
    json: bool = False
    """print one JSON object instead of the texts"""

    def __post_init__(self) -> None:
        check_sampling(None, None, None, self.max_new_tokens)
        check_method(self.method)
        check_application(self.where, self.schedule, self.gate, self.also)


@dataclass(frozen=True)
class CalibrateArgs:
    """Steering methods where they disturb equally: the dose of each at a KL, both signs, and what it moves there.

    KL is of free text against base; the trait is read by the axis's questions."""

    methods: tuple[str, ...] = ("all",)
    """names of methods; all of them"""
    kl: tuple[float, ...] = (1.0,)
    """nats: 95th percentile over positions of KL(steered || base)"""
    model: str = "mini"
    """"mini", "smollm2", a GGUF file, a local folder or a hub id"""
    axis: str | None = None
    """a shipped axis or a path; None takes the model's own"""
    prompts: int = 8
    """prompts that are rolled out under every probe"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class LayersArgs:
    """Which blocks to steer: every band of blocks at equal KL, a map and a verdict (which, how sharp)."""

    method: str = RunConfig.method
    """how the directions are found and applied"""
    kl: tuple[float, ...] = (0.3, 1.0, 3.0)
    """nats; the verdict is read at the middle one"""
    width: int | None = None
    """neighbouring blocks in a band; None takes as many as the model's own band has"""
    model: str = "mini"
    """"mini", "smollm2", a GGUF file, a local folder or a hub id"""
    axis: str | None = None
    """a shipped axis or a path; None takes the model's own"""
    out: Path = Path("out")
    """the map goes to OUT/layers/"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class ShowArgs:
    """Read a run: n samples per arm, after its report."""

    run: Annotated[Positional[Path | None], arg(metavar="RUN")] = None
    """the run's folder; None takes the newest"""
    n: Annotated[int, arg(aliases=["-n"])] = 0
    """samples per arm; 0 shows the report only"""
    out: Path = Path("out")
    """where runs are looked for"""
    json: bool = False
    """print the run's summary as one JSON object"""


@dataclass(frozen=True)
class GatesArgs:
    """The verdicts of a run, with every outcome: measured? seen? evidence."""

    run: Annotated[Positional[Path | None], arg(metavar="RUN")] = None
    """the run's folder; None takes the newest"""
    round: int | None = None
    """which round; None takes the best"""
    gate: int | None = None
    """show this gate only, and the gate that --note is for"""
    note: str | None = None
    """your own judgement in words, stored beside the verdict of --gate"""
    out: Path = Path("out")
    """where runs are looked for"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class DoctorArgs:
    """Gate 0: is the instrument sane on this model and axis? And is an axis that its questions read alive?

    What a prompt and a small dose move is kept under OUT/doctor, and found again."""

    model: str = "mini"
    """"mini", "smollm2", a GGUF file, a local folder or a hub id"""
    axis: str | None = None
    """a shipped axis or a path; None takes the model's own"""
    axes: Literal["all"] | None = None
    """"all": one table over all shipped axes, alive or not, in place of gate 0"""
    instrument: Literal["auto", "vignettes", "questions"] = "auto"
    """what the axis is read by; "auto" takes what the unsteered model can answer"""
    items: str = "default"
    """"default", "standard", "conflict", or a path to JSONL items"""
    think: int | None = None
    """tokens of thinking; None takes the model's default"""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """how free text and sampled thinks are drawn; unset fields are the model's own"""
    out: Path = Path("out")
    """where what was examined is kept"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class ResultsArgs:
    """The ledger: one line per finished run."""

    out: Path = Path("out")
    """where the ledger is"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class DiffArgs:
    """Two runs side by side: what differs in configuration, headline numbers and verdicts.

    Differences carry paired 95 % intervals where both runs read the same items on the same base weights."""

    a: Annotated[Positional[Path], arg(metavar="RUN")]
    """one run's folder"""
    b: Annotated[Positional[Path], arg(metavar="RUN")]
    """the other's; differences are this one minus the first"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class JournalArgs:
    """Write a run's page, which opens from disk without network, and its entry in the research journal.

    A second time for the same run changes nothing."""

    run: Annotated[Positional[Path | None], arg(metavar="RUN")] = None
    """the run's folder; None takes the newest"""
    journal: Path = Path("RESEARCH_JOURNAL.md")
    """the journal that gets the entry, at its end; made where there is none"""
    interactive: bool = False
    """write marimo's own HTML export beside the page too (it needs the network to open)"""
    out: Path = Path("out")
    """where runs are looked for; the page goes to OUT/journal/"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class JudgeArgs:
    """Let LLMs judge two arms of a run: pairwise, blind, both orders; every answer is stored as it comes.

    The same command goes on where one was stopped. Needs the package openai: pip install -e '.[judge]'."""

    url: tuple[str, ...]
    """base address of an OpenAI-compatible API, for example http://localhost:8000/v1; several are asked in turn"""
    model: tuple[str, ...]
    """the judge's name there; one for each url, or several on one"""
    run: Annotated[Positional[Path | None], arg(metavar="RUN")] = None
    """the run's folder; None takes the newest"""
    arm: str = HEALED
    """whose texts are judged"""
    against: str = BASE
    """against whose, on the same prompts"""
    question: str | None = None
    """what the judge is asked; None asks which reply fits the axis's positive persona better"""
    n: Annotated[int, arg(aliases=["-n"])] = 50
    """pairs, two questions each"""
    key: tuple[str, ...] = ("OPENAI_API_KEY",)
    """environment variable that holds the API key, where one is needed; one for all, or one for each url"""
    timeout: float = 60.0
    """seconds per answer"""
    max_tokens: int = 1024
    """tokens per answer, thinking included"""
    reasoning: bool | None = None
    """True asks as reasoning models want it (max_completion_tokens, no temperature); None finds out by what is
    refused"""
    retries: int = 6
    """how often a question is asked again after HTTP 429, 5xx or silence"""
    round: int | None = None
    """which round; None takes the best"""
    out: Path = Path("out")
    """where runs are looked for"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class HealArgs:
    """Train an adapter on your own conversations: no steering, no axis, a report on what it did to free text.

    A line of DATA is {"messages": [{"role": "user", "content": ...}, {"role": "assistant", ...}]}, every reply is
    trained, or {"prompt": ..., "completion": ...}."""

    data: Annotated[Positional[Path], arg(metavar="DATA")]
    """a JSONL file"""
    model: str = "mini"
    """"mini", "smollm2", a GGUF file, a local folder or a hub id"""
    heal: HealConfig = field(default_factory=HealConfig)
    """the adapter and its barrier; unset fields take the model's recipe"""
    replay: float = 0.2
    """share of the training rows that the model wrote itself, to neutral prompts: what it is not to forget"""
    allow: bool = False
    """train although the wrong role speaks in more than one reply of twenty"""
    out: Path | None = None
    """the folder that is written (adapter/, report.json, report.md); None is out/heal/ and the file's name"""
    axis: str | None = None
    """whose prompts replay and free text answer; None takes the model's own"""
    template: Literal["question"] | None = None
    """"question": a base model is asked as "Question: ... Answer:"; None: its own template, or plain text"""
    texts: int = 64
    """free completions before, and after"""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """how they are drawn; unset fields are the model's own"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class BakeArgs:
    """Merge a run's adapters into the weights and store the student in the run's own folder."""

    run: Annotated[Positional[Path | None], arg(metavar="RUN")] = None
    """the run's folder; None takes the newest"""
    round: int | None = None
    """up to and with this round; None takes the best"""
    out: Path = Path("out")
    """where runs are looked for"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class ExportArgs:
    """Write what a run found for other tools: merged weights, a PEFT adapter, or llama.cpp's files.

    llama.cpp steers every position, ws from the assistant tag on. Its server: give a `lora` field with every request,
    since one without it may be answered from the cache of another scale; an id it does not know switches all adapters
    off. docs/export.md says which tool reads what."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """the run's folder"""
    to: Annotated[Positional[Path], arg(metavar="TO")]
    """a folder (model, adapter) or a file (.gguf) that does not exist yet"""
    what: Literal["model", "adapter", "gguf-lora", "direction"] = "model"
    """merged weights that plain transformers loads, the last round's PEFT folder, the same as a GGUF adapter, or the
    direction as a GGUF control vector"""
    round: int | None = None
    """up to and with this round; None takes the best"""
    drop_block_0: bool = False
    """leave out what the direction does behind block 0, which llama.cpp cannot steer"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True)
class AppArgs:
    """The app in a browser: on this machine only, or shared behind a token password."""

    settings: Annotated[AppSettings, arg(name="")] = field(default_factory=AppSettings)
    share: bool = False
    """serve on all interfaces; needs --token-password-file, and writes only with --allow-write"""
    token_password_file: Path | None = None
    """file with the password that viewers type"""
    host: str | None = None
    """address to serve on; None is loopback, with --share all interfaces"""
    port: int = 2718
    """port to serve on"""
    headless: bool = False
    """do not open a browser"""
    notebook: str = "gates"
    """which notebook of nbs/"""


COMMANDS: dict[str, type] = {
    "run": RunArgs, "sweep": SweepArgs, "steer": SteerArgs, "calibrate": CalibrateArgs, "layers": LayersArgs,
    "show": ShowArgs, "gates": GatesArgs, "doctor": DoctorArgs, "results": ResultsArgs, "diff": DiffArgs,
    "journal": JournalArgs, "judge": JudgeArgs, "heal": HealArgs, "bake": BakeArgs, "export": ExportArgs,
    "app": AppArgs,
}  # fmt: skip
