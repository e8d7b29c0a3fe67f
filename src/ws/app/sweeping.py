"""`ws sweep`: the arms of a grid before they run, and the table of them once they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ws.experiment.estimate import sweep_estimate
from ws.experiment.progress import bars
from ws.experiment.sweep_loop import Models, check_arms, sweep
from ws.gating import Thresholds
from ws.reporting.visible import visible
from ws.runs.config import to_dict
from ws.runs.grid import SweepArm, arms_of, read_grid

if TYPE_CHECKING:
    from ws.app.options import SweepArgs
    from ws.runs.sweeps import Sweep

__all__ = ["checked_arms", "run_sweep"]

Said = tuple[dict[str, Any], Any, str]
"""What a command prints as JSON, what it shows in its place, and what failed ("" for nothing)."""
FIGURES = ("c", "steered", "d_target", "retain", "coherence")


def checked_arms(args: SweepArgs) -> Said:
    """Every arm of the grid, looked at; nothing is written. UserError where one is refused."""
    arms = arms_of(read_grid(args.grid))
    doubts = check_arms(arms, args.out, Models(), args.workers)
    estimate = sweep_estimate([arm.config for arm in arms], args.workers)
    said = {
        "arms": [{"name": arm.name, "place": arm.place, "config": to_dict(arm.config)} for arm in arms],
        "doubts": doubts,
        "estimate": estimate,
    }
    lines = [_line(arm) for arm in arms] + doubts + ([estimate] if estimate else []) + _too_few(arms)
    return said, Group(*[Text(visible(line)) for line in lines]), ""


def _line(arm: SweepArm) -> str:
    return f"{arm.name}: {arm.place}, seeds {' '.join(map(str, arm.config.seeds))}"


def _too_few(arms: list[SweepArm]) -> list[str]:
    needed = Thresholds().ranked
    few = [arm.name for arm in arms if len(arm.config.seeds) < needed]
    return [f"{len(few)} of {len(arms)} arms have fewer than {needed} seeds and will not be ranked."] if few else []


def run_sweep(args: SweepArgs, console: Console) -> Said:
    """All arms. failed: the arms whose runs ended with a message of their own."""
    with bars(console) as listen:
        found = sweep(args.grid, listen, out=args.out, workers=args.workers)
    table = found.table
    failed = table.filter(state="failed")
    told = [f"{failed.height} of {table.height} arms ended before their verdicts:"] if failed.height else []
    told += [f"{arm}: {said}" for arm, said in failed.select("arm", "said").iter_rows()]
    return {"sweep": str(found.path), "arms": table.to_dicts()}, _shown(found), "\n".join(told)


def _shown(found: Sweep) -> Group:
    """The arms as a table, in the order of the grid: three seeds are needed before anything is ranked."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("arm", "state", "seeds", *FIGURES, "verdict", "stages", "run"):
        table.add_column(name, overflow="fold", justify="right" if name in FIGURES else "left")
    for row in found.table.rows(named=True):
        stages = "" if row["computed"] is None else f"{row['computed']} computed, {row['taken']} taken"
        cells = [row["arm"], row["state"], str(row["seeds"]), *(_figure(row, name) for name in FIGURES)]
        table.add_row(*[Text(visible(cell)) for cell in (*cells, row["verdict"] or "", stages, row["run"] or "")])
    note = f"means over seeds +- their spread; arms of fewer than {Thresholds().ranked} seeds are not ranked"
    return Group(Text(f"{found.path}"), table, Text(note, style="dim"))


def _figure(row: dict[str, Any], name: str) -> str:
    value, spread = row[name], row.get(f"{name}_sd")
    return "-" if value is None else f"{value:.2f}" + ("" if spread is None else f" +- {spread:.2f}")
