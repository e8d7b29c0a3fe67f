"""A report: what one model under one treatment answered, with the identity of the instrument that asked.

    r = ws.evaluate(lm, axis, direction=v, c=0.5)
    r.nats["Authority"], r.p_ans_any, r.coherence, r.per_row
    ws.compare(base, r)                        # shifts with intervals; refuses reports of different instruments
    Report.from_frame(r.to_frame())            # one row, as parquet stores it

Every number's definition is in `ws.evaluation.definitions`, to be printed beside it. NaN stays NaN: `n_bad` counts.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ws.errors import UserError
from ws.evaluation.behaviour import Behaviour, behaviour_of
from ws.evaluation.freetext import TEXTS
from ws.evaluation.instrument import Instrument, instrument_from
from ws.evaluation.readings import CAPABILITY, READINGS, STANDING, canary_of, figures_of, reading
from ws.evaluation.vignettes import ROWS
from ws.gating.foundations import FOUNDATIONS
from ws.intervals import resamples, share_ratios

__all__ = ["Report"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Report:
    """One evaluation.

    per_row: vignettes, one row per item, condition and think budget; text: completions with scores; each empty where
    not measured. identity: the instrument, which `compare` wants equal; subject: what was measured (model, fingerprint,
    direction, c, adapters, persona) and the axis. parts: the frames of the readings that were measured, by name.
    """

    per_row: pl.DataFrame
    text: pl.DataFrame
    identity: dict[str, Any]
    subject: dict[str, Any]
    parts: Mapping[str, pl.DataFrame] = dataclasses.field(default_factory=dict)

    def frame(self, name: str) -> pl.DataFrame:
        """The frame of a reading; empty where it was not measured. UserError for a name that is no reading."""
        found = self.parts.get(name)
        return pl.DataFrame(schema=reading(name).COLUMNS) if found is None else found

    @property
    def canary(self) -> str:
        """The reading that capability was read by; "exam" where it was not measured."""
        return canary_of(name for name, frame in self.parts.items() if frame.height)

    @property
    def exam(self) -> pl.DataFrame:
        """Answers of the capability canary: kind, user, answer, text, correct, and what else its reading gives."""
        return self.frame(self.canary)

    @property
    def dilemmas(self) -> pl.DataFrame:
        """Answers to the axis's questions."""
        return self.frame("dilemmas")

    @property
    def said(self) -> list[str]:
        """What the readings say of what this model can do, a line each: of the base's report, what cannot be read."""
        words = {name: getattr(reading(name), "said", None) for name, frame in self.parts.items() if frame.height}
        return [f"{name}: {word(self.frame(name))}" for name, word in words.items() if word is not None]

    @cached_property
    def further(self) -> dict[str, float]:
        """The figures of the measured readings beside the standing ones, and beside capability."""
        found = {k: v for name in self.parts if name not in STANDING for k, v in self._figures(name).items()}
        return {k: v for k, v in found.items() if k not in CAPABILITY}

    def _figures(self, name: str) -> dict[str, float]:
        return figures_of(name, self.frame(name))

    @cached_property
    def instrument(self) -> Instrument:
        """What it was read by, decided by what the base can do; the same in all reports of a run."""
        failed = {"failed": self.subject.get("failed", ())}
        return instrument_from(self.identity.get("instrument", {}) | failed if "instrument" in self.identity else None)

    @property
    def by_questions(self) -> bool:
        """Whether the target is read off the axis's questions, in nats per token: outside the foundations, and where
        the instrument is they."""
        return self.target not in FOUNDATIONS or self.instrument.by_questions

    @cached_property
    def rows(self) -> pl.DataFrame:
        """The per-row frame at the headline's think budget and conditions, sorted by id and condition."""
        if self.identity["think"] is None:  # no vignettes were read
            return self.per_row
        headline = pl.col("condition").is_in(self.identity["conditions"])
        return self.per_row.filter(headline, pl.col("think") == self.identity["think"]).sort("id", "condition")

    def at_think(self, think: int) -> Report:
        """The same report with another think budget as its headline. UserError where it was not read."""
        if think not in self.per_row["think"]:
            raise UserError(f"think={think} was not read (read: {sorted(set(self.per_row['think']))}).")
        samples = self.subject["think_samples"] if think else None
        return dataclasses.replace(self, identity=self.identity | {"think": think, "think_samples": samples})

    def at_condition(self, condition: str) -> Report:
        """The same report with another condition as its headline. UserError where it was not read."""
        if not self.has_condition(condition):
            read = sorted(set(self.per_row["condition"]))
            raise UserError(f"condition {condition!r} was not read at think={self.identity['think']} (read: {read}).")
        return dataclasses.replace(self, identity=self.identity | {"conditions": [condition]})

    def has_condition(self, condition: str) -> bool:
        """Whether the condition was read at the headline's think budget."""
        if self.identity["think"] is None:
            return False
        at = (pl.col("condition") == condition) & (pl.col("think") == self.identity["think"])
        return bool(self.per_row.select(at.any()).item())

    @property
    def target(self) -> str:
        """The axis's target."""
        return str(self.subject["target"])

    @property
    def intended(self) -> dict[str, int]:
        """Intended foundations with their signs."""
        return dict(self.subject["intended"])

    @property
    def c(self) -> float:
        """Coefficient of the direction; 0 without one."""
        return float(self.subject["c"])

    @cached_property
    def p(self) -> Array:
        """(rows, 7) softmax over the allowed answers."""
        return self.rows.select(f"p_{f}" for f in FOUNDATIONS).to_numpy()

    @cached_property
    def scores(self) -> Array:
        """(rows, 7) log-probabilities of the answers, nats."""
        return self.rows.select(f"score_{f}" for f in FOUNDATIONS).to_numpy()

    @cached_property
    def profile(self) -> dict[str, float]:
        """Foundation -> mean probability over all rows."""
        return dict(zip(FOUNDATIONS, _mean(self.p).tolist(), strict=True))

    @cached_property
    def nats(self) -> dict[str, float]:
        """Foundation -> ln(profile)."""
        with np.errstate(divide="ignore"):
            return {f: float(np.log(value)) for f, value in self.profile.items()}

    @cached_property
    def nats_diag(self) -> dict[str, float]:
        """Foundation -> mean of ln p over its own rows; NaN where it has none."""
        with np.errstate(divide="ignore"):
            logs = np.log(self.p)
        return {f: float(_mean(logs[self.own_rows(f), k])) for k, f in enumerate(FOUNDATIONS)}

    def own_rows(self, foundation: str) -> NDArray[np.bool_]:
        """(rows,) whether a row is labelled with the foundation or carries its cue."""
        labelled = (pl.col("foundation") == foundation) | pl.col("cues").list.contains(foundation)
        return self.rows.select(own=labelled.fill_null(False))["own"].to_numpy()

    @property
    def auth_nats(self) -> float:
        return self.nats["Authority"]

    @property
    def care_nats(self) -> float:
        return self.nats["Care"]

    @property
    def p_ans_any(self) -> float:
        return self._row_mean("p_ans_any")

    @property
    def p_ans_free(self) -> float:
        return self._row_mean("p_ans_free")

    @property
    def json_is_valid(self) -> float:
        return self._row_mean("json_valid")

    @property
    def ppx_json(self) -> float:
        return math.exp(self._row_mean("nll_json"))

    def _row_mean(self, column: str) -> float:
        return float(_mean(self.rows[column].to_numpy()))

    @cached_property
    def order_gap(self) -> float:
        """Total variation between the profiles of the two option orders; NaN where one order was read."""
        if not self.rows.height or self.rows["forward"].is_null().any() or self.rows["reverse"].is_null().any():
            return math.nan
        both = [np.array(self.rows[name].to_list()) for name in ("forward", "reverse")]
        first, second = (_mean(np.exp(x - np.logaddexp.reduce(x, axis=1)[:, None])) for x in both)
        return float(np.abs(first - second).sum() / 2)

    @property
    def n_bad(self) -> int:
        """Rows that are not finite: of the vignettes, or of the questions where they are the instrument."""
        if self.instrument.by_questions:
            return int((~np.isfinite(self.dilemmas["logratio"].to_numpy())).sum())
        return int((~np.isfinite(self.p).all(1)).sum())

    @property
    def n_items(self) -> int:
        """Rows of the instrument: vignettes, or questions."""
        return self.dilemmas.height if self.instrument.by_questions else self.rows.height

    @property
    def coh_text(self) -> float:
        return float(_mean(self.text["readable"].cast(pl.Float64).to_numpy()))

    @property
    def coh_tail(self) -> float:
        """The reading before coh_text's: by the tail alone; NaN where an earlier version made the report."""
        return float(_mean(self.text["readable_tail"].cast(pl.Float64).to_numpy()))

    @property
    def coh_text_base(self) -> float:
        return float(_mean(self.text["base_readable"].cast(pl.Float64).to_numpy()))

    @property
    def coherence(self) -> float:
        """The headline: the least of the instrument's parts. NaN without free text, or where the base has no readable
        text."""
        if math.isnan(self.coh_text) or not self.coh_text_base > 0:
            return math.nan
        share = self.coh_text / self.coh_text_base
        if "p_ans_any" not in self.instrument.parts:
            return share
        return float(np.minimum(self.p_ans_any / self.mass_of_base, share))

    @property
    def mass_of_base(self) -> float:
        """What p_ans_any is held against: 1, or the base's own on the same rows where the instrument is relative."""
        return float(self.subject["p_ans_any_base"]) if self.instrument.relative else 1.0

    def coherence_draws(self, draws: int = 2000, seed: int = 0) -> Array:
        """(draws,) plausible values of coherence: items resampled, shares of readable text from their posterior."""
        if math.isnan(self.coherence):
            return np.full(draws, math.nan)
        mass = self._mass_draws(draws, seed)
        if self.subject["base"]:
            return mass
        ratios = share_ratios(self.text["readable"], self.text["base_readable"], draws, seed + 1, paired=True)
        return np.minimum(mass, ratios)

    def _mass_draws(self, draws: int, seed: int) -> Array:
        """(draws,) of p_ans_any as a part of coherence; infinite draws where it is none, 1 for the base itself."""
        if "p_ans_any" not in self.instrument.parts:
            return np.full(draws, 1.0 if self.subject["base"] else math.inf)
        any_ = self.by_item("p_ans_any")
        return resamples(len(any_), draws, seed) @ any_ / len(any_) / self.mass_of_base

    @cached_property
    def coherence_interval(self) -> tuple[float, float]:
        """95 % interval of coherence."""
        low, high = np.quantile(self.coherence_draws(), [0.025, 0.975])
        return float(low), float(high)

    def by_item(self, value: str | pl.Expr, rows: NDArray[np.bool_] | None = None) -> Array:
        """(items,) a column averaged over an item's conditions, sorted by id: what a bootstrap resamples; rows: only
        those."""
        value = pl.col(value) if isinstance(value, str) else value
        chosen = self.rows if rows is None else self.rows.filter(rows)
        return chosen.group_by("id").agg(value=value.mean()).sort("id")["value"].to_numpy()

    @property
    def capability(self) -> float:
        return self._figures(self.canary)["capability"]

    @property
    def capability_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        found = self._figures(self.canary)
        return found["capability_low"], found["capability_high"]

    @cached_property
    def behaviour(self) -> Behaviour:
        """protect, its log-odds, unreadable, grammatical, slots; measured=False for models that are not embedded."""
        return behaviour_of(self.text)

    @property
    def logratio(self) -> float:
        return self._figures("dilemmas")["logratio"]

    @property
    def headroom(self) -> dict[str, float]:
        """The target's profile and its distance to 0 and to 1; NaN for a target outside the foundations."""
        p = self.profile.get(self.target, math.nan)
        return {"profile": p, "down": p, "up": 1 - p}

    def summary(self) -> dict[str, float]:
        """Every scalar by name, NaN where not measured."""
        b, (coh_low, coh_high) = self.behaviour, self.coherence_interval
        found = {
            **{f"{name}_{f}": getattr(self, name)[f] for name in ("profile", "nats", "nats_diag") for f in FOUNDATIONS},
            "p_ans_any": self.p_ans_any,
            "p_ans_free": self.p_ans_free,
            "json_is_valid": self.json_is_valid,
            "ppx_json": self.ppx_json,
            "order_gap": self.order_gap,
            "n_rows": self.rows.height,
            "n_bad": self.n_bad,
            "coh_text": self.coh_text,
            "coh_text_base": self.coh_text_base,
            "coh_tail": self.coh_tail,
            "n_text": self.text.height,
            "coherence": self.coherence,
            "coherence_low": coh_low,
            "coherence_high": coh_high,
            **{name: self._figures(self.canary)[name] for name in CAPABILITY},
            "protect": b.protect.value,
            "protect_low": b.protect.low,
            "protect_high": b.protect.high,
            "protect_log_odds": b.log_odds,
            "unreadable": b.unreadable,
            "grammatical": b.grammatical,
            "slots": b.slots,
            **self._figures("dilemmas"),
        }
        clash = sorted(set(found) & set(self.further))
        if clash:
            raise UserError(f"a reading gives {clash[0]!r}, which every report has. Give its figure another name.")
        return found | self.further

    def to_frame(self) -> pl.DataFrame:
        """One row: every scalar of `summary`, identity and subject as JSON, and the frames as lists of structs."""
        numbers = {name: [float(value)] for name, value in self.summary().items()}
        plain = pl.DataFrame(
            {
                "c": [self.c],
                "identity": [json.dumps(self.identity, sort_keys=True)],
                "subject": [json.dumps(self.subject, sort_keys=True)],
                **numbers,
            }
        )
        names = dict.fromkeys([*STANDING, *self.parts])
        frames = {"per_row": self.per_row, "text": self.text, **{cell_of(name): self.frame(name) for name in names}}
        nested = [frame.select(pl.struct(pl.all()).implode().alias(name)) for name, frame in frames.items()]
        return pl.concat([plain, *nested], how="horizontal")

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> Report:
        """The report in a frame of one row: what it does not hold is empty, columns that nobody reads are ignored.

        UserError for another number of rows.
        """
        if frame.height != 1 or not {"identity", "subject"} <= set(frame.columns):
            raise UserError(
                f"a report is one row with identity and subject (got {frame.height} rows,"
                f" columns {frame.columns[:6]}). Filter the frame to one report."
            )
        kept = [name for name in READINGS if _holds(frame, cell_of(name))]
        parts = {name: _nested(frame, cell_of(name), reading(name).COLUMNS) for name in kept}
        identity, subject = (json.loads(frame[name][0]) for name in ("identity", "subject"))
        return cls(_nested(frame, "per_row", ROWS), _nested(frame, "text", TEXTS), identity, subject, parts)


def _nested(frame: pl.DataFrame, name: str, columns: dict[str, Any]) -> pl.DataFrame:
    """A frame that lies in a cell; empty where there is none."""
    return pl.DataFrame(frame[name][0].to_list() if _holds(frame, name) else [], schema=columns)


def _holds(frame: pl.DataFrame, name: str) -> bool:
    return name in frame.columns and frame[name][0] is not None


def cell_of(name: str) -> str:
    """The column that a reading's frame lies in; a figure may have the reading's own name."""
    return name if name in STANDING else f"reading.{name}"


def _mean(values: Array) -> Any:
    """Mean over the first axis; NaN over nothing, and wherever a value is NaN."""
    return values.mean(0) if len(values) else np.full(values.shape[1:], math.nan)
