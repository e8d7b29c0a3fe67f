"""Reads a run's folder: what was asked and what came out, as frames by name and round. Nothing here writes a stage.

    out/runs/<utc>-<axis>-<key>/
        config.json  env.json  axis.json  status.json  summary.json
        rounds/0/{direction.safetensors, dose.parquet, grid.parquet, knee.json, steer.parquet, completions.parquet,
                  adapter/, heal.parquet, heal.json, healed.parquet, drift.parquet, topic.parquet, sft.parquet,
                  sft_base.parquet, eval.parquet, arms.parquet, gates.json, notes.json}

dose, grid: the dose search's arms and its texts; arms: the report's table; eval: every report of the round, whole;
drift: the bet's readings (ws.evaluation.drift); topic: how far text keeps to its prompt (ws.evaluation.topic);
sft, sft_base: the report of training without a barrier, beside adapter.sft/ and heal.sft.parquet; unfiltered,
sft_unfiltered likewise: without a filter, without either.
Files of further seeds carry the seed in their name (adapter.seed1/).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from ws import __version__
from ws.errors import UserError, whole_text
from ws.evaluation.instrument import Instrument, instrument_from
from ws.files import read_frame, read_json, read_sealed, sealed, write_json
from ws.filtering.limits import LOOP, reasons
from ws.filtering.scores import SCORES
from ws.gating.gate import Gate
from ws.gating.schemas import Trait
from ws.generation.completions import PER_TOKEN, SCHEMA
from ws.generation.settings import Sampling
from ws.models.recipe import recipe_of
from ws.runs.artifacts import load
from ws.runs.config import RunConfig, data_tokens, from_dict
from ws.runs.evidence_rows import evidence_of
from ws.runs.whole import check_whole, read_status, recorded
from ws.steering.application import said
from ws.steering.methods import method

__all__ = ["FORMAT", "Run", "finished_runs", "newest_run", "open_run", "trait_of"]

FORMAT = 1  # of the run folder; another number cannot be read by this version


def folder_status(path: Path) -> dict[str, Any]:
    """status.json of a run folder, or an empty one when it is missing or damaged (its stages are then unknown)."""
    try:
        return read_status(path)
    except UserError:
        return {"stages": {}}


def check_format(path: Path, status: dict[str, Any]) -> None:
    """UserError when the folder was written by a version with another layout."""
    written = status.get("format", FORMAT)
    if written != FORMAT:
        raise UserError(
            f"{path} was written by ws {status.get('version', '?')} (run format {written}); "
            f"this is ws {__version__} (format {FORMAT}). Open it with that version, or start a new run with --new."
        )


@dataclass(frozen=True)
class Run:
    """The reading side of a run: frames by name and round. Nothing here writes."""

    path: Path

    def __post_init__(self) -> None:
        if isinstance(self.path, str):
            object.__setattr__(self, "path", Path(self.path))

    @cached_property
    def status(self) -> dict[str, Any]:
        """The record. UserError where it cannot be read: without it nobody knows which round is the best."""
        return read_status(self.path)

    @cached_property
    def config(self) -> RunConfig:
        """The settings. UserError where the file is damaged, or of a version with others."""
        path = self.whole("config.json")
        values = read_json(path)
        try:
            return from_dict(values)
        except (UserError, TypeError, ValueError, AttributeError) as error:
            other = isinstance(error, UserError) and self.status.get("version", __version__) != __version__
            way = "" if other else " Run the same `ws run` command again: it writes the file anew."
            raise UserError(f"{path} is {'of another version' if other else 'damaged'}: {error}{way}") from error

    @cached_property
    def env(self) -> dict[str, Any]:
        return dict(read_json(self.whole("env.json")))

    @cached_property
    def _checked(self) -> set[str]:
        return set()

    def whole(self, name: str) -> Path:
        """A file by its place in the folder. UserError where the record holds it and it is missing or damaged: compared
        with its checksum once."""
        if name not in self._checked:
            check_whole(self.path, name, self.status)
            self._checked.add(name)
        return self.path / name

    @property
    def finished(self) -> bool:
        return self.status.get("state") == "finished"

    @property
    def steering(self) -> str:
        """By which method, in which unit c counts, and how it is applied where that is not as usual."""
        c = self.config
        unit = "multiples" if c.method == RunConfig.method else method(c.method).unit  # the others bring torch
        applied = said(c.where, c.schedule, c.gate, c.backtrack, c.also)
        return f"{c.method}, c in {unit}" + (f"; {applied}" if applied else "")

    @property
    def sampling(self) -> str:
        """How its texts were drawn, in words; runs that did not store it drew as their model's recipe says."""
        said, recipe = self.env.get("sampling_said"), recipe_of(self.config.model)
        if said is not None:
            return str(said)
        if recipe.sampling is None:
            return "the model's own, which this run did not store"
        own = Sampling(max_new_tokens=recipe.new_tokens, **dataclasses.asdict(recipe.sampling))
        return self.config.sampling.draws().said(own, "the model's recipe") + data_tokens(self.config)

    @property
    def rounds(self) -> int:
        """How many rounds have a judged result."""
        found = {f"rounds/{path.parent.name}/gates.json" for path in self.path.glob("rounds/[0-9]*/gates.json")}
        missing = {name for name in recorded(self.status) if name.endswith("/gates.json")} - found
        return len(found) + sum(self.whole(name).exists() for name in sorted(missing))

    def has(self, file: str, round: int = 0) -> bool:
        """Whether a stage left that file. UserError where the record says so and it is gone."""
        return self._holds(f"rounds/{round}/{file}")

    def _holds(self, name: str) -> bool:
        return (self.path / name).exists() or self.whole(name).exists()

    def get(self, file: str, round: int = 0) -> Any:
        """A stage's file: "arms.parquet", "adapter", "direction.safetensors", "gates.json" ..."""
        return load(self.whole(f"rounds/{round}/{file}"))

    def frame(self, name: str, round: int = 0, columns: Container[str] | None = None) -> pl.DataFrame:
        """A frame by its stem: dose, grid, arms, completions, heal, drift, eval. columns: of these, those it has."""
        return read_frame(self.whole(f"rounds/{round}/{name}.parquet"), columns)

    def arms(self, round: int = 0) -> pl.DataFrame:
        """The table of arms of a round: the report's, or the dose search's where the round ended there."""
        return self.frame("arms" if self.has("arms.parquet", round) else "dose", round)

    def limits(self, round: int = 0) -> dict[str, Any]:
        """The filter's limits of a round, as ws.keep takes them."""
        data, knee = self.config.data, self.get("knee.json", round)
        asked = {name: limit for name in ("worst_ppl", "tail_ppl") if (limit := getattr(data, name)) is not None}
        if "readable_ppl" in knee:
            own = (asked or {"worst_ppl": knee["readable_ppl"]}) | {"loop": data.loop}
        else:  # earlier versions looked at the tail and not for loops
            own = asked or {"tail_ppl": knee["tail_ppl"]}
        fixed = {name: getattr(data, name) for name in ("rep", "narrates", "refuses")}
        return own | fixed | {"finished": data.finished and bool(knee.get("ends", True))}

    def threshold(self, round: int = 0) -> tuple[str, float]:
        """(score, limit) that the threshold slider moves: worst_ppl, or tail_ppl where the round has no other."""
        limits = self.limits(round)
        name = next(name for name in ("worst_ppl", "tail_ppl") if name in limits)
        return name, float(limits[name])

    def marked(self, round: int = 0, tokens: bool = True, **limits: Any) -> pl.DataFrame:
        """The round's completions, dose grid and training data, with `dropped`: null or the first reason; and `fluent`:
        readable by worst_ppl and loop, whatever the limits (null in runs of earlier versions).

        limits: in place of the round's own, as ws.keep takes them. tokens: with the columns that hold a value for each
        token, which are most of what is stored.
        """
        columns = [name for name in (*SCHEMA, *SCORES, "grammatical") if tokens or name not in PER_TOKEN]
        stored = [name for name in ("grid", "completions") if self.has(f"{name}.parquet", round)]
        frames = [self.frame(name, round, columns) for name in stored]
        filled = [
            f.with_columns(pl.lit(None, pl.Float64).alias(c) for c in columns if c not in f.columns) for f in frames
        ]
        texts = pl.concat([f.select(columns) for f in filled])
        readable = self.get("knee.json", round).get("readable_ppl")
        fluent = (pl.col("worst_ppl") < readable) & (pl.col("loop") < LOOP) if readable else pl.lit(None, pl.Boolean)
        return reasons(texts.with_columns(fluent=fluent), **(limits or self.limits(round)))

    def gates(self, round: int = 0) -> list[Gate]:
        """The stored verdicts of a round, with the researcher's notes."""
        notes = self.notes(round)
        gates = [Gate.from_dict({"unit": self.trait.unit} | values) for values in self.get("gates.json", round)]
        return [gate.with_note(notes.get(str(gate.gate), "")) for gate in gates]

    def notes(self, round: int = 0) -> dict[str, str]:
        """Gate number (as text) -> the researcher's own judgement."""
        path = self.path / "rounds" / str(round) / "notes.json"
        return read_sealed(path, "Move it aside and write the judgements again.") if path.exists() else {}

    def note(self, gate: int, text: str, round: int = 0) -> None:
        """Store the researcher's own judgement of a gate, beside the verdict; an empty text removes it."""
        notes = self.notes(round) | {str(gate): whole_text(text, "a note")}
        kept = {name: said for name, said in notes.items() if said}
        write_json(self.path / "rounds" / str(round) / "notes.json", sealed(kept))

    def evidence(self, round: int = 0) -> pl.DataFrame:
        """The rows and samples of the round's reports by id, as the gates' evidence names them
        (ws.runs.evidence_rows)."""
        return evidence_of(self.whole(f"rounds/{round}/eval.parquet"))

    def samples(self, round: int = 0) -> list[tuple[str, pl.DataFrame]]:
        """(title, completions) of everything that was written in a round: doses, report arms, training data."""
        found = []
        for name in ("grid", "completions"):
            texts = self.frame(name, round) if self.has(f"{name}.parquet", round) else pl.DataFrame({"c": []})
            found += [(f"{name}, c {c:+.3g}", part) for (c,), part in texts.group_by("c", maintain_order=True)]
        reports = self.frame("eval", round) if self.has("eval.parquet", round) else pl.DataFrame({"text": []})
        for i in range(reports.height):
            texts = pl.DataFrame(reports["text"][i].to_list())
            if texts.height:
                found.append((f"{reports['arm'][i]}, c {reports['c'][i]:+.3g}", texts))
        return found

    @cached_property
    def axis(self) -> dict[str, Any]:
        """The axis as it was when the run began."""
        return dict(read_json(self.whole("axis.json")))

    @property
    def instrument(self) -> Instrument:
        """What its axis was read by, and the parts of its coherence."""
        return instrument_from(self.env.get("instrument") if self._holds("env.json") else None)

    @property
    def trait(self) -> Trait:
        """What the gates must know of the axis and of what read it."""
        return trait_of(self.axis["target"], self.axis["intended"], self.instrument)

    @property
    def summary(self) -> dict[str, Any]:
        """What `ws run --json` prints: the best round's steer, heal and gates outside, every round inside."""
        return dict(read_json(self.whole("summary.json")))

    @property
    def best(self) -> int:
        """The round to deliver; 0 until the run has finished."""
        return int(self.status.get("best_round", 0))


def trait_of(target: str, intended: Mapping[str, int], found: Instrument) -> Trait:
    """What the gates must know of an axis and of what read it."""
    return Trait(target, dict(intended), found.by_questions, found.failed, found.relative)


def open_run(path: str | Path) -> Run:
    """Open a run for reading. UserError when the folder is missing, is no run, or is from another version."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"There is no run folder {path}. `ws results` lists the runs of this folder.")
    if not (path / "config.json").exists() and not (path / "status.json").exists():
        raise UserError(f"{path} is no run: it holds no config.json. A run is a folder under out/runs/.")
    run = Run(path)
    check_format(path, run.status)
    return run


def newest_run(out: Path = Path("out")) -> Path:
    """The newest finished run under `out`, else the newest of any state. UserError when there is none, or where the
    record of one that is as new cannot be read."""
    runs = sorted(p.parent for p in (out / "runs").glob("*/config.json"))
    if not runs:
        raise UserError(f"There is no run under {out}/runs yet. `ws run` makes one.")
    for path in reversed(runs):  # one that cannot be read is not passed over for an older one
        if read_status(path).get("state") == "finished":
            return path
    return runs[-1]


def finished_runs(out: Path) -> tuple[list[Run], list[str]]:
    """The finished runs under `out`/runs, oldest first, and a line for every folder that cannot be read."""
    found, skipped = [], []
    for path in sorted(p.parent for p in (out / "runs").glob("*/config.json")):
        try:
            run = open_run(path)
            _ = run.config, run.axis, run.env
        except UserError as error:
            skipped.append(f"{path.name}: {error}")
            continue
        if run.finished:
            found.append(run)
    return found, skipped
