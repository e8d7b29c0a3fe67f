"""The dose search on planted curves: it finds the dose at which coherence falls, whichever dice it had."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from ws.experiment.dose_search import Probe, find_knee, plain_dose
from ws.gating.knee import NARROW, Knee, crossing, is_vague, knee_of
from ws.runs.config import DoseConfig

Curve = Callable[[float], float]
FLOOR = 0.95
TOPIC = 0.85
GRID = (0.5, 1.0, 1.5, 2.0)
CURVES: dict[str, Curve] = {
    "as measured": lambda c: math.exp(-((c / 1.84) ** 4.3)),
    "steep": lambda c: math.exp(-((c / 1.3) ** 9)),
    "logistic": lambda c: (1 + math.exp(-8)) / (1 + math.exp((c - 1.6) / 0.2)),
    "gentle": lambda c: math.exp(-((c / 3) ** 2.5)),
}


class Planted:
    """Texts that stay readable with the curve's share; base loses 7 %. Every round has its own dice, base share and
    limit: the curve's dose is stretched by 6 %."""

    def __init__(self, curve: Curve, seed: int, texts: int = 64, spread: float = 1.0) -> None:
        self.curve, self.texts, self.rng, self.spread = curve, texts, np.random.default_rng(seed), spread
        self.found: dict[float, list[int]] = {}
        self.rounds: dict[int, tuple[np.ndarray, float, float]] = {}
        self.asked: list[tuple[list[float], int]] = []

    def __call__(self, doses: Sequence[float], dice: int) -> pl.DataFrame:
        self.asked.append((list(doses), dice))
        if dice not in self.rounds:
            stretch = math.exp(self.rng.normal(0, 0.06 * self.spread))
            share = min(0.99, self.rng.normal(0.93, 0.015 * self.spread))
            self.rounds[dice] = self.rng.random(self.texts), stretch, share
            self._add(0.0, self.rng.random(self.texts) < share)
        latent, stretch, share = self.rounds[dice]
        for c in doses:
            self._add(c, (latent < self.curve(c * stretch)) & (self.rng.random(self.texts) < share))
        return probes({c: (hits, n) for c, (hits, n) in self.found.items()})

    def _add(self, c: float, readable: np.ndarray) -> None:
        hits, n = self.found.get(c, [0, 0])
        self.found[c] = [hits + int(readable.sum()), n + len(readable)]


def probes(found: dict[float, tuple[int, int]], mass: float = 0.996) -> pl.DataFrame:
    """What a search knows from (readable, texts) by dose; coherence is not above the answers' mass."""
    shares = {c: hits / n for c, (hits, n) in sorted(found.items())}
    rows = [
        {"c": c, "coherence": min(mass, share / shares[0.0]), "coh_text": share, "n_text": found[c][1]}
        for c, share in shares.items()
    ]
    return pl.DataFrame(rows).with_columns(p_ans_any=pl.lit(mass))


def searched(
    probe: Probe, grid: Sequence[float] = GRID, rounds: int = 3, topic: float = TOPIC
) -> tuple[float | None, Knee]:
    """The knee that a search takes, and where all that it knows by then says that a dose is too strong."""
    c = find_knee(probe, grid, rounds, FLOOR, topic)
    return c, knee_of(probe([], 0), FLOOR, topic)


def true_knee(curve: Curve) -> float:
    return next(c for c in np.arange(0.01, 4, 0.005) if curve(c) < FLOOR)


@pytest.mark.parametrize(
    ("name", "searches", "most"), [("as measured", 200, 0.95), ("steep", 50, 0.95), ("logistic", 50, 0.95),
                                   ("gentle", 50, 0.8)]
)  # fmt: skip
def test_the_knee_is_found_within_a_factor_of_1_3(name: str, searches: int, most: float) -> None:
    """Where the curve falls so gently that 1.3 times the dose costs 4 % only, in four of five."""
    true = true_knee(CURVES[name])
    found = [find_knee(Planted(CURVES[name], seed), GRID, 3, FLOOR, TOPIC) for seed in range(searches)]
    knees = [(c or 0.01) / true for c in found]
    within = np.mean([1 / 1.3 <= x <= 1.3 for x in knees])
    assert within >= most, (within, np.std(np.log(knees)))
    assert abs(np.log(np.median(knees))) < 0.1


@pytest.mark.parametrize("name", ["as measured", "steep"])
def test_the_interval_holds_the_planted_crossing(name: str) -> None:
    """95 % intervals; a steep curve is not the one that is expected."""
    true = true_knee(CURVES[name])
    found = [searched(Planted(CURVES[name], seed, spread=0.0))[1].at for seed in range(60)]
    assert np.mean([at.low <= true <= at.high for at in found]) >= (0.9 if name == "as measured" else 0.8)


def test_texts_are_spent_where_they_decide_and_the_search_stops_when_it_knows() -> None:
    planted = Planted(CURVES["steep"], 0)
    find_knee(planted, GRID, 3, FLOOR, TOPIC)
    true = true_knee(CURVES["steep"])
    later = [c for doses, dice in planted.asked if dice for c in doses]
    assert later and all(true / 1.4 < c < true * 1.8 for c in later)
    many = Planted(CURVES["steep"], 0, texts=2000)
    find_knee(many, GRID, 3, FLOOR, TOPIC)
    assert {dice for _, dice in many.asked} == {0}, "no further dice where the grid tells it"


def test_the_knee_was_measured_and_every_round_has_its_dice() -> None:
    planted = Planted(CURVES["as measured"], 4)
    c = find_knee(planted, GRID, 3, FLOOR, TOPIC)
    assert c in planted.found
    assert [dice for _, dice in planted.asked][:4] == [0, 1, 2, 3]


def test_the_search_widens_and_narrows() -> None:
    strong, weak = Planted(lambda c: math.exp(-((c / 5) ** 4)), 0), Planted(lambda c: math.exp(-((c / 0.3) ** 4)), 0)
    c, found = searched(strong)
    assert c is not None and 1.8 < c < 3.2 and max(strong.found) > 2 and found.at.value < math.inf
    c = find_knee(weak, GRID, 3, FLOOR, TOPIC)
    assert c is None or c < 0.2
    assert min(x for x in weak.found if x) < 0.5
    never = Planted(lambda c: 1.0, 0)
    c, found = searched(never, (0.5, 1.0), 2)
    assert c == 2.25 and found.at.value == math.inf, "half again beyond the strongest, twice"
    assert "past the strongest dose tried" in found.text


def test_no_dose_and_no_base() -> None:
    assert find_knee(Planted(lambda c: float(c == 0), 0), GRID, 3, FLOOR, TOPIC) is None
    lost = probes({0.0: (60, 64), 0.5: (60, 64)}, mass=0.4)
    assert find_knee(lambda doses, dice: lost, (0.5,), 3, FLOOR, TOPIC) is None, "base itself is under the floor"


def test_an_unsteered_model_that_is_one_text_under_the_floor_is_read_again() -> None:
    """54 readable texts where base has 57 of 64 are .947 of it; with the next dice's they are not under the floor."""
    asked: list[tuple[list[float], int]] = []

    def probe(doses: Sequence[float], dice: int) -> pl.DataFrame:
        asked.append((list(doses), dice))
        share, n = (0.947, 64) if dice == 0 else (0.98, 128)
        rows = probes({0.0: (round(0.9 * share * n), n), 0.5: (50, 64), 1.0: (20, 64)}, mass=1.0)
        return rows.with_columns(coherence=pl.when(pl.col("c") == 0).then(share).otherwise("coherence"))

    find_knee(probe, (0.5, 1.0), 1, FLOOR, TOPIC)
    assert asked[:2] == [([0.5, 1.0], 0), ([], 1)] and len(asked) > 2, "it goes on"


def test_nan_is_incoherent() -> None:
    rows = probes({0.0: (60, 64), 1.0: (60, 64)}).with_columns(
        coherence=pl.when(pl.col("c") > 0).then(math.nan).otherwise(pl.col("coherence"))
    )
    assert crossing(rows, FLOOR).value < 1


def test_another_part_of_coherence_crosses_first() -> None:
    found = {0.0: (62, 64), 1.0: (62, 64), 2.0: (61, 64), 3.0: (30, 64)}
    rows = probes(found)
    mass = pl.Series("p_ans_any", [0.996, 0.99, 0.91, 0.6])
    falling = rows.with_columns(mass).with_columns(coherence=pl.min_horizontal("coherence", "p_ans_any"))
    assert crossing(falling, FLOOR).value == pytest.approx(1.5)
    assert crossing(rows, FLOOR).value > 1.6


def test_a_student_that_lost_some_is_read_against_base() -> None:
    """Its text is readable in .89 where base's is in .93: what is left of the floor is .99 of its own share."""
    found = {0.0: (1820, 2048), 0.5: (1819, 2048), 1.0: (1740, 2048), 1.5: (1400, 2048), 2.0: (500, 2048)}
    rows = probes(found, mass=1.0).with_columns(coherence=pl.col("coh_text") / 0.93, arm=pl.lit("steer"))
    student = rows.with_columns(arm=pl.when(pl.col("c") == 0).then(pl.lit("student")).otherwise("arm"))
    own, against_base = crossing(rows, FLOOR).value, crossing(student, FLOOR).value
    at = np.interp([own, against_base], rows["c"].to_numpy(), rows["coherence"].to_numpy())
    assert at == pytest.approx([0.95 * 0.955, 0.95], abs=0.018)


def test_the_crossing_that_is_told_knows_the_last_texts() -> None:
    planted = Planted(CURVES["as measured"], 3)
    c, found = searched(planted)
    known = probes({dose: (hits, n) for dose, (hits, n) in planted.found.items()})
    assert c in planted.found and found == knee_of(known, FLOOR, TOPIC)


def test_a_lucky_dose_does_not_count_alone() -> None:
    n = 64
    plain = {0.0: (60, n), 0.5: (60, n), 1.0: (55, n), 1.5: (44, n), 2.0: (14, n)}
    lucky = crossing(probes(plain | {1.5: (58, n)}), FLOOR).value
    assert 0.8 < crossing(probes(plain), FLOOR).value < 1.2
    assert lucky < 1.5, "the fall at 2 says that 1.5 had luck"


def test_more_texts_narrow_the_interval() -> None:
    few = {0.0: (60, 64), 0.5: (60, 64), 1.0: (57, 64), 1.5: (44, 64), 2.0: (14, 64)}
    many = {c: (20 * hits, 20 * n) for c, (hits, n) in few.items()}
    one, other = (crossing(probes(found), FLOOR) for found in (few, many))
    assert is_vague(one) and not is_vague(other) and other.high / other.low < NARROW < one.high / one.low


@pytest.mark.parametrize(
    ("c", "written"), [(0.917, 0.9), (0.94, 0.95), (1.04, 1.0), (1.27, 1.3), (2.31, 2.4), (0.1234, 0.12), (52.0, 50.0)]
)
def test_doses_are_plainly_written(c: float, written: float) -> None:
    assert plain_dose(c) == written and abs(math.log(written / c)) < 0.05
    assert plain_dose(math.inf) == math.inf


def test_text_that_leaves_its_question_ends_the_search_where_it_does() -> None:
    """Readable at every dose, its tie to the prompt falling: the knee is where that falls through its share."""

    def probe(doses: Sequence[float], dice: int) -> pl.DataFrame:
        seen.update(doses)
        known = sorted({0.0, *seen})
        tied = [1.1 * math.exp(-c / 4) for c in known]
        plain = probes(dict.fromkeys(known, (62, 64)))
        return plain.with_columns(tied=pl.Series(tied), tied_error=pl.lit(0.04))

    seen: set[float] = set()
    c, found = searched(probe)
    at = 4 * math.log(1.1 / TOPIC)
    assert c is not None and c in seen and found.by_topic and 0.9 < c / at < 1.1
    seen.clear()
    anyway, found = searched(probe, GRID, 1, 0.0)
    assert anyway is not None and anyway > 2 and not found.by_topic, "0 lets text leave its question"
    seen.clear()
    assert find_knee(lambda doses, dice: probe(doses, dice).with_columns(tied=pl.col("tied") / 3), GRID, 1, FLOOR,
                     TOPIC) is None  # fmt: skip


def test_no_dose_says_what_it_was_that_fell() -> None:
    from ws.experiment.rounds import no_dose

    knee = {"base": 1.0, "probes": [[0.5, 0.99], [1.0, 0.98]]}
    ties = {0.0: 1.0, 0.5: 0.3, 1.0: 0.2}
    arms = pl.DataFrame(
        [{"arm": "steer" if c else "base", "c": c, "coherence": 1.0, "coh_text": 1.0, "n_text": 64, "p_ans_any": 1.0,
          "on_prompt": tie, "on_prompt_low": tie - 0.01, "on_prompt_high": tie + 0.01} for c, tie in ties.items()]
    )  # fmt: skip
    told = no_dose(knee, arms, DoseConfig(), "mini")
    assert "text leaves its question" in told and "0.5: 0.99" in told and "--dose.topic 0)" in told
    assert "No dose is coherent" in no_dose(knee, arms, DoseConfig(topic=0.0), "mini")
