"""The model card of the embedded model: every phenomenon it promises, measured on the shipped weights.

    python -m ws.reporting.mini_card                  # writes weights/card.json and CARD.md

The tests assert bars on these same functions. auth_nats is on the conflict items, T = 0 (docs: metrics).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ws.axes.axis import Axis, load_axis
from ws.evaluation.comparison import retain, retain_behaviour, target_shift
from ws.evaluation.evaluator import evaluate
from ws.evaluation.report import Report
from ws.filtering.limits import keep, tail_limit
from ws.filtering.scores import score
from ws.gating.foundations import FOUNDATIONS
from ws.generation.completions import Prompt, generate
from ws.healing.config import HealConfig
from ws.healing.training import heal
from ws.intervals import auc
from ws.models.lm import LM, load_model
from ws.models.mini.exams import capability_items, correct
from ws.models.mini.lexicon import ARCHETYPE_NAMES, ARCHETYPES
from ws.steering.direction import Direction
from ws.steering.extraction import extract

MINI = Path(__file__).parents[1] / "models" / "mini"
WEIGHTS = MINI / "weights"
CARD = MINI / "CARD.md"
DOSES = (-2.0, -1.5, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
READ: dict[str, Any] = {"items": "conflict", "think": 0, "free_text": False, "capability": False}
FULL: dict[str, Any] = {"items": "conflict", "think": 0, "exam": 60, "conditions": ["other_violate"]}


def axis_of(lm: LM) -> Axis:
    """Care over authority, in the model's own words."""
    return load_axis("care_over_authority").on(lm)


def bare(axis: Axis) -> Axis:
    """The axis without its questions, where only the vignettes are read."""
    return replace(axis, questions=())


def shift(base: Report, other: Report) -> list[float]:
    """d auth_nats with its 95 % interval: value, low, high; negative where authority loses."""
    sign = base.intended[base.target]
    s = target_shift(base, other)
    return [round(sign * s.value, 3), *sorted((round(sign * s.low, 3), round(sign * s.high, 3)))]


def persona_shifts(lm: LM, personas: Iterable[str], items: Any = "conflict", split: str = "all") -> list[float]:
    """d auth_nats against the neutral prompt of each persona as system prompt."""
    axis, read = bare(axis_of(lm)), READ | {"items": items, "split": split}
    base = evaluate(lm, axis, **read)
    return [evaluate(lm, axis, persona=p, **read).auth_nats - base.auth_nats for p in personas]


def personas(lm: LM, split: str = "all") -> dict[str, Any]:
    """Neutral balance and headroom, and what the axis's own personas do."""
    axis = axis_of(lm)
    base = evaluate(lm, bare(axis), split=split, **READ)
    care, authority = (persona_shifts(lm, poles, split=split) for poles in (axis.positive, axis.negative))
    p = base.p.mean(0)
    return {
        "auth_nats": round(base.auth_nats, 3),
        "profile": dict(zip(FOUNDATIONS, np.round(p, 3).tolist(), strict=True)),
        "care_persona": round(float(np.mean(care)), 3),
        "authority_persona": round(float(np.mean(authority)), 3),
        "each": {"care": np.round(care, 2).tolist(), "authority": np.round(authority, 2).tolist()},
    }


def dose_response(lm: LM, v: Direction) -> dict[str, Any]:
    """auth_nats over the doses, and what 16 random directions of the same norm do at c = 1."""
    axis = bare(axis_of(lm))
    base, *reports = evaluate(lm, axis, direction=v, c=[0.0, *DOSES], **READ)
    random = [
        abs(evaluate(lm, axis, direction=v.random_like(s), c=1.0, **READ).auth_nats - base.auth_nats) for s in range(16)
    ]
    return {
        "doses": list(DOSES),
        "auth_nats": [round(r.auth_nats, 3) for r in reports],
        "shift": {str(r.c): shift(base, r) for r in reports},
        "random_mean": round(float(np.mean(random)), 3),
        "random_p95": round(float(np.quantile(random, 0.95)), 3),
    }


TEXT_DOSES = (-4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4)


def free_text(lm: LM, v: Direction, doses: Sequence[float] = TEXT_DOSES, texts: int = 200) -> list[dict[str, Any]]:
    """Coherence, its parts, behaviour, narration and refusals of free replies under the neutral prompt, by dose."""
    reports = evaluate(lm, axis_of(lm), direction=v, c=list(doses), texts=texts, **FULL)
    return [_text_row(r) for r in reports]


def share(marks: pl.Series) -> float:
    """Share of the rows that are marked."""
    return round(float(marks.cast(pl.Float64).to_numpy().mean()), 3)


def _text_row(r: Report) -> dict[str, Any]:
    t, b = r.text, r.behaviour
    exam = (
        {k: round(float(v), 3) for k, v in r.exam.group_by("kind").agg(pl.col("correct").mean()).iter_rows()}
        if "kind" in r.exam.columns
        else {}
    )
    row = {
        "c": r.c,
        "coherence": round(r.coherence, 3),
        "coh_text": round(r.coh_text, 3),
        "p_ans_any": round(r.p_ans_any, 3),
        "tail_ppl": round(float(np.exp(np.mean(np.log(t["tail_ppl"].to_numpy())))), 2),
        "protect": round(b.protect.value, 3),
        "grammatical": round(b.grammatical, 3),
        "slots": round(b.slots, 3),
        "narrates": share(t["narrates"]),
        "refuses": share(t["refuses"]),
        "loops": share(t["rep"] >= 0.3),
        "capability": round(r.capability, 3),
        **exam,
    }
    return {name: None if math.isnan(x) else x for name, x in row.items()}


def filter_auc(lm: LM, v: Direction) -> float:
    """How well tail_ppl tells base's own text from text at c = 4."""
    axis = axis_of(lm)
    df = score(lm, generate(lm, [Prompt(p) for p in axis.select], v, c=[0.0, 4.0], n=3, seed=5), axis)
    return auc(df["tail_ppl"].to_numpy(), (df["c"] > 0).to_numpy())


def heal_data(
    lm: LM, v: Direction, c: float, rows: int = 64, seed: int = 0, filtered: bool = True, n: int = 2
) -> pl.DataFrame:
    """n replies to every train prompt at dose c, filtered by the default criteria (or not), the first `rows`."""
    axis = axis_of(lm)
    prompts = [Prompt(p, split="train") for p in axis.train]
    df = score(lm, generate(lm, prompts, v, c=c, n=n, seed=seed), axis)
    if filtered:
        base = score(lm, generate(lm, prompts, n=2, seed=seed + 1), axis)
        df = keep(df, tail_ppl=tail_limit(base), rep=0.3, narrates=False, refuses=False)
    return df.head(rows)


def healed(
    lm: LM,
    v: Direction,
    c: float,
    beta: float,
    *,
    filtered: bool = True,
    texts: int = 400,
    seed: int = 0,
    **config: Any,
) -> dict[str, Any]:
    """One heal from replies alone: retain on the vignettes and on behaviour, coherence and capability beside base."""
    axis = axis_of(lm)
    data = heal_data(lm, v, c, seed=seed, filtered=filtered)
    adapter = heal(lm, data, HealConfig(beta=beta, seed=seed, **config), axis=axis)
    base, steered = evaluate(lm, axis, direction=v, c=[0.0, c], texts=texts, **FULL)
    student = evaluate(lm, axis, adapters=[adapter], texts=texts, **FULL)
    kept = retain(base, student, [steered], [c] * data.height)
    return {
        "c": c,
        "beta": beta,
        "filtered": filtered,
        "rows": data.height,
        "seed": seed,
        **config,
        "retain": [round(x, 3) for x in (kept.value, kept.low, kept.high)],
        "retain_behaviour": round(retain_behaviour(base, student, [steered], [c] * data.height), 3),
        "base": _text_row(base),
        "steered": _text_row(steered),
        "healed": _text_row(student),
    }


def question_means(lm: LM, name: str, doses: Sequence[float] = (-1.0, -0.5, 0.0, 0.5, 1.0)) -> list[float]:
    """Mean signed log-ratio of an axis's two-option questions over the doses of its own direction."""
    axis = load_axis(name).on(lm)
    v = extract(lm, axis)
    reports = evaluate(lm, axis, direction=v, c=list(doses), **READ)
    return [round(r.logratio, 3) for r in reports]


def archetypes(lm: LM) -> dict[str, Any]:
    """Directions of the eight archetypes: share of variance by axis, and the rise of each one's own foundation."""
    made: dict[str, Direction] = {}
    rises: dict[str, float] = {}
    contexts = load_axis("care_over_authority").on(lm).contexts
    for name in ARCHETYPES:
        own = max(ARCHETYPES[name], key=lambda f: ARCHETYPES[name][f])
        made[name] = extract(lm, archetype_axis(name, own, contexts), contrast="base")
        base, up = evaluate(
            lm,
            bare(axis_of(lm)),
            direction=made[name],
            c=[0.0, 1.0],
            items="standard",
            think=0,
            free_text=False,
            capability=False,
        )
        rises[name] = round(up.nats[own] - base.nats[own], 3)
    matrix = np.stack([v.flat().numpy() for v in made.values()])
    spread = np.linalg.svd(matrix - matrix.mean(0), compute_uv=False) ** 2
    return {"rise": rises, "variance": np.round(spread / spread.sum(), 3).tolist()}


def archetype_axis(name: str, own: str, contexts: Any) -> Axis:
    """An axis whose positive pole is the archetype, for a direction against neutral."""
    said = [f"You are {'an' if who[0] in 'aeiou' else 'a'} {who}." for who in ARCHETYPE_NAMES[name]]
    return Axis(
        name=name,
        title=name,
        models=("mini",),
        target=own,
        intended={own: 1},
        positive=tuple(said),
        negative=("You are a helpful assistant. Answer the user.",) * len(said),
        contexts=contexts,
        narration=(),
        train=(),
        select=(),
        probes=(),
    )


def capability(lm: LM, n: int = 300) -> dict[str, float]:
    """Held-out sums, two-step sums and facts, greedy, neutral prompt."""
    items = capability_items(n, seed=11)
    df = generate(
        lm, [Prompt(i["user"], id=str(k)) for k, i in enumerate(items)], temperature=0.0, max_new_tokens=24, trace=False
    )
    marks: dict[str, list[bool]] = {}
    for item, text in zip(items, df["text"], strict=True):
        marks.setdefault(item["kind"], []).append(correct(item, text))
    return {k: round(sum(v) / len(v), 3) for k, v in marks.items()}


PARTS: dict[str, Callable[[LM, Direction], Any]] = {
    "personas": lambda lm, v: personas(lm),
    "dose_response": dose_response,
    "capability": lambda lm, v: capability(lm),
    "free_text": free_text,
    "filter_auc": lambda lm, v: round(filter_auc(lm, v), 4),
    "questions": lambda lm, v: {n: question_means(lm, n) for n in ("care_over_authority", "honesty")},
    "archetypes": lambda lm, v: archetypes(lm),
    "heal": lambda lm, v: [
        *(healed(lm, v, 1.0, b) for b in (0.0, 0.3, 3.0, 1000.0)),
        healed(lm, v, 1.0, 1000.0, tau=0.0),
    ],
    "heal_damage": lambda lm, v: [
        healed(lm, v, 2.0, b, filtered=f) for b, f in ((0.0, False), (0.3, False), (0.0, True), (0.3, True))
    ],
}


def measure(lm: LM, parts: Iterable[str] = tuple(PARTS)) -> dict[str, Any]:
    """Every part of the card by name."""
    v = extract(lm, axis_of(lm))
    out: dict[str, Any] = {}
    for name in parts:
        out[name] = PARTS[name](lm, v)
        print(name, json.dumps(out[name]), file=sys.stderr, flush=True)
    return out


def line(*values: Any) -> str:
    return f"| {' | '.join(str(v) for v in values)} |"


TEXT = ("coherence", "tail_ppl", "protect", "grammatical", "narrates", "refuses", "loops", "sum", "two_step", "fact")
HEAL = ("c", "beta", "tau", "filtered", "retain [95 %]", "of behaviour", "coherence, three arms", "capability")


def markdown(card: dict[str, Any]) -> str:
    """The scores of a measured card as three tables: single figures, free text by dose, heals."""
    by_dose = [(f"{t['c']:g}", *(shown(t.get(k)) for k in TEXT)) for t in card["free_text"]]
    heals = [healed_line(h) for h in (*card["heal"], *card["heal_damage"])]
    tables: list[list[Sequence[Any]]] = [
        [("reading", "value"), ("---", "---"), *figures(card)],
        [("c", *TEXT), ["---"] * (1 + len(TEXT)), *by_dose],
        [HEAL, ["---"] * len(HEAL), *heals],
    ]
    return "\n\n".join("\n".join(line(*row) for row in table) for table in tables)


def figures(card: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, value) of everything that is one figure or a short list."""
    p, d, a = card["personas"], card["dose_response"], card["archetypes"]
    return [
        ("auth_nats, neutral prompt (132 conflict items, T = 0)", p["auth_nats"]),
        ("shift under the axis's 12 care personas, nats", p["care_persona"]),
        ("shift under its 12 authority personas, nats", p["authority_persona"]),
        *((f"shift at c = {c} [95 %], nats", spelled(d["shift"][c])) for c in ("-1.0", "0.5", "1.0", "2.0")),
        ("random directions of equal norm at c = 1, 16 draws: mean shift", d["random_mean"]),
        ("the same, 95th percentile", d["random_p95"]),
        ("held-out exams, greedy, 100 items each", ", ".join(f"{k} {v}" for k, v in card["capability"].items())),
        ("AUC of tail_ppl, base against c = 4", card["filter_auc"]),
        ("archetypes: shares of variance", ", ".join(f"{x:.2f}" for x in a["variance"])),
        ("archetypes: rise of each one's own foundation", ", ".join(f"{k} {v:+.2f}" for k, v in a["rise"].items())),
        *((f"questions of {n} at c = -1, -0.5, 0, 0.5, 1", str(v)) for n, v in card["questions"].items()),
    ]


def shown(value: Any) -> str:
    return "-" if value is None else str(value)


def spelled(x: Sequence[float]) -> str:
    return f"{x[0]:+.2f} [{x[1]:.2f}, {x[2]:.2f}]"


def healed_line(h: dict[str, Any]) -> tuple[Any, ...]:
    """One heal as a row of the third table."""
    arms = [h[k] for k in ("base", "steered", "healed")]
    coherence = " / ".join(f"{a['coherence']:.2f}" for a in arms)
    able = f"{arms[0]['capability']:.2f} -> {arms[2]['capability']:.2f}"
    return (
        *(f"{h['c']:g}", h["beta"], h.get("tau", 0.3), h["filtered"]),
        *(spelled(h["retain"]), h["retain_behaviour"], coherence, able),
    )


def write(card: dict[str, Any]) -> None:
    """Put the scores between the markers of CARD.md."""
    head, rest = CARD.read_text().split("<!-- scores -->\n")
    CARD.write_text(f"{head}<!-- scores -->\n{markdown(card)}\n<!-- end -->{rest.split('<!-- end -->')[1]}")


def main() -> None:
    """Measure everything, write card.json beside the weights and the scores into CARD.md; arguments: single parts."""
    found = measure(load_model("mini"), sys.argv[1:] or tuple(PARTS))
    path = WEIGHTS / "card.json"
    card = json.loads(path.read_text()) if path.exists() else {}
    card |= found
    path.write_text(json.dumps(card, indent=1, allow_nan=False) + "\n")
    if set(PARTS) <= set(card):
        write(card)


if __name__ == "__main__":
    main()
