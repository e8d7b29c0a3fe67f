"""`ws doctor`: gate 0 on the base alone, and whether axes are alive on a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ws.axes.axis import Axis, load_axis, shipped_axes
from ws.errors import UserError
from ws.evaluation.evaluator import evaluate
from ws.evaluation.instrument import find_instrument
from ws.evaluation.items import load_items
from ws.evaluation.report import Report
from ws.experiment.doctor import alive_table
from ws.experiment.identity import check_room
from ws.experiment.workers import workers_on
from ws.gating import Gate, Thresholds, judge_instrument
from ws.gating.alive import ADVICE
from ws.gating.arm_table import BASE
from ws.gating.instrument import headroom_text
from ws.intervals import interval_of, with_interval
from ws.models.consistency import findings
from ws.models.lm import LM, load_model, one_thread
from ws.models.recipe import recipe_of
from ws.reporting.terminal import dose_table, print_gates
from ws.runs.arms import Arm, arms_of
from ws.runs.environment import environment
from ws.runs.reader import trait_of

if TYPE_CHECKING:
    from ws.app.options import DoctorArgs

__all__ = ["Examined", "examine", "examine_all", "print_alive", "print_examined"]


@dataclass(frozen=True)
class Examined:
    """What was found on one axis. alive: a row (ws.experiment.doctor.TABLE) where its questions read it, else none."""

    lm: LM
    axis: Axis
    arms: pl.DataFrame
    gate: Gate
    room: str
    profile: dict[str, float]
    alive: pl.DataFrame
    sampling: str
    said: list[str]
    """what the readings say of what this model can do"""
    unit: str
    """of a shift on this axis"""

    @property
    def model(self) -> dict[str, Any]:
        lm = self.lm
        return {
            "name": lm.name, "fingerprint": lm.fingerprint, "device": str(lm.device),
            "dtype": str(lm.dtype), "dtype_why": lm.why_dtype, "sampling": self.sampling,
            "layers": lm.n_layers, "context": lm.max_context, "chat": lm.has_chat, "thinks": lm.thinks,
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """As `ws doctor --json` prints it; `alive` only where it was read."""
        told = {"environment": environment(), "model": self.model, "axis": self.axis.name, "profile": self.profile,
                "headroom": self.room, "said": self.said, "findings": findings(self.lm),
                "gate": self.gate.to_dict()}  # fmt: skip
        return told | ({"alive": self.alive.row(0, named=True)} if self.alive.height else {})


def examine(args: DoctorArgs) -> Examined:
    """Gate 0 on the unsteered model, and what an axis that its questions read answers to a prompt and a dose."""
    recipe = recipe_of(args.model)
    axis = load_axis(args.axis or recipe.axis).written_for(recipe, args.model)
    items = load_items(args.items, recipe)
    items.refuse_gaps()
    lm, draws = one_thread(load_model(args.model)), args.sampling.draws()
    check_room(lm, axis, draws.max_new_tokens)
    instrument = find_instrument(lm, axis, items, args.instrument, args.think)
    trait = trait_of(axis.target, axis.intended, instrument)
    how: Any = {"items": args.items, "think": args.think, "instrument": instrument, "sampling": draws}
    report: Report = evaluate(lm, axis, texts=32, exam=60, **how)
    arms = arms_of(report, [Arm(BASE, report)], lm.fingerprint)
    room = headroom_text(report.headroom["profile"], trait, Thresholds())
    if instrument.by_questions or axis.outside:
        room = f"{axis.target} is read by the axis's questions, which have no profile"
    alive = alive_table(lm, [axis] if instrument.by_questions else [], args.out)
    gate, drawn = judge_instrument(arms, trait), draws.said_on(lm)
    return Examined(lm, axis, arms, gate, room, report.profile, alive, drawn, report.said, trait.unit)


def examine_all(args: DoctorArgs, console: Console) -> pl.DataFrame:
    """Every shipped axis in the words of the model that has questions; one that was examined before is found again."""
    recipe, usual = recipe_of(args.model), type(args)()
    ignored = [name for name in ("axis", "instrument", "items", "think", "sampling")
               if getattr(args, name) != getattr(usual, name)]  # fmt: skip
    if ignored:
        raise UserError(
            f"--axes all reads every axis by its questions alone, and takes no --{ignored[0]}. Leave one of them out."
        )
    axes = [load_axis(name).written_for(recipe, args.model) for name in shipped_axes(recipe.words)]
    lm = one_thread(load_model(args.model))
    asked, workers = [axis for axis in axes if axis.questions], workers_on(lm)
    return alive_table(lm, asked, args.out, tell=lambda name: console.print(name), workers=workers)


def print_examined(found: Examined, console: Console) -> None:
    """Versions, model, profile, headroom, the base's row and gate 0; whether the axis is alive."""
    profile = {name: value for name, value in found.profile.items() if value == value}
    shown = (("environment", environment()), ("model", found.model), ("base profile", profile))
    for title, values in shown:
        parts = [f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()]
        console.print(Text(f"{title}: " + (", ".join(parts) or "not measured")))
    console.print(Text(f"{found.room}.", style="bold"))
    for line in findings(found.lm):
        console.print(Text(f"model: {line}."))
    if not found.lm.has_chat:
        console.print(Text("This model has no chat template: personas are written as plain text before the prompt."))
    dose_table(found.arms, f"Base on {found.axis.name}", console, found.unit)
    for line in found.said:
        console.print(Text(f"base, {line}"))
    if found.alive.height:
        print_alive(found.alive, console)
    print_gates([found.gate], console)


COLUMNS = {"base": "base", "persona_plus": "persona +", "persona_minus": "persona -", "plus": "dose +",
           "minus": "dose -", "steered": "+ minus -"}  # fmt: skip


def print_alive(table: pl.DataFrame, console: Console) -> None:
    """One line an axis, alive ones first; what its verdict means, once."""
    order = {verdict: place for place, verdict in enumerate(ADVICE)}
    rows = sorted(table.rows(named=True), key=lambda row: (order[row["verdict"]], -abs(row["steered"])))
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("axis", "verdict", *COLUMNS.values(), "random"):
        shown.add_column(name, justify="left" if name in ("axis", "verdict") else "right", no_wrap=name == "axis")
    for row in rows:
        figures = [with_interval(row["base"], None, None), *(interval_of(row, name) for name in list(COLUMNS)[1:])]
        band = f"{row['random']:.2f}, most {row['random_most']:.2f}"
        shown.add_row(row["axis"], row["verdict"], *figures, band, style="bold" if row["verdict"] == "alive" else None)
    console.print(shown)
    first = rows[0]
    told = [
        f"Nats per token on {first['questions']} questions (personas and random on every second one), against base; "
        f"doses: {first['share']:.0%} of the residual stream's length; random: twice what {first['draws']} directions "
        "of equal norm move at +, mean and largest."
    ]
    seen = dict.fromkeys(row["verdict"] for row in rows)
    console.print(Text("\n".join(told + [f"{verdict}: {ADVICE[verdict]}" for verdict in seen]), style="dim"))
