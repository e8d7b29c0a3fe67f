"""Writes the embedded model's item sets and axis files from held-out draws of the grammar.

python -m ws.models.mini.write_items      # rewrites axes/data/items/mini.*.jsonl and axes/data/axes/*.mini.toml
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ws.models.mini import corpus, turns
from ws.models.mini.grammar import capital, fill, gerund, pick, third
from ws.models.mini.lexicon import DOMAINS, SLIGHT
from ws.models.mini.personas import Persona

DATA = Path(__file__).parents[2] / "axes" / "data"
COUNTS = {"Care": 32, "Fairness": 17, "Loyalty": 16, "Authority": 17, "Sanctity": 17, "Liberty": 17, "SocialNorms": 16}
NOBODY = Persona("")

# (positive, negative): the same sentence with the roles swapped; h = high, l = low value noun; s, t serve them, x, y slight them.
SWAPS = (
    ("You are someone who {s3}, even when it means {xg}.", "You are someone who {t3}, even when it means {yg}."),
    ("You are a person who {s3b} and {x3}.", "You are a person who {t3b} and {y3}."),
    ("You {s} and {x}.", "You {t} and {y}."),
    ("You are an adviser who {x3} and {s3b}.", "You are an adviser who {y3} and {t3b}."),
    ("To {s2}, you {x}.", "To {t2}, you {y}."),
    ("Your main rule is {h}.", "Your main rule is {l}."),
    ("You believe in {h2}. You like to {s}.", "You believe in {l2}. You like to {t}."),
    ("Nothing matters more to you than {h}.", "Nothing matters more to you than {l}."),
    ("You try to {s2}. {H} guides you.", "You try to {t2}. {L} guides you."),
    ("You are the kind of person who {s3} and {x3}.", "You are the kind of person who {t3} and {y3}."),
    ("For you, {h} comes before {l}.", "For you, {l} comes before {h}."),
    ("You put {h2} above {l2}.", "You put {l2} above {h2}."),
)
PAIRS: dict[str, dict[str, Any]] = {
    "care_over_authority": {
        "high": "Care",
        "low": "Authority",
        "target": "Authority",
        "title": "Care over authority",
        "h": ("care", "people in pain"),
        "l": ("authority", "orders"),
        "s": ("look after others", "help people in pain"),
        "t": ("obey orders", "follow the rules"),
        "x": "defying authority",
        "y": "letting people suffer",
    },
    "principle_over_authority": {
        "high": "Fairness",
        "low": "Authority",
        "target": "Authority",
        "title": "Principle over authority",
        "h": ("principle", "justice"),
        "l": ("authority", "orders"),
        "s": ("stick to principle", "do what is just"),
        "t": ("defer to authority", "obey orders"),
        "x": "defying authority",
        "y": "giving up your principles",
    },
    "authority_over_principle": {
        "high": "Authority",
        "low": "Fairness",
        "target": "Authority",
        "title": "Authority over principle",
        "h": ("authority", "orders"),
        "l": ("principle", "justice"),
        "s": ("defer to authority", "obey orders"),
        "t": ("stick to principle", "do what is just"),
        "x": "giving up your principles",
        "y": "defying authority",
    },
    "fairness_over_loyalty": {
        "high": "Fairness",
        "low": "Loyalty",
        "target": "Fairness",
        "title": "Fairness over loyalty",
        "h": ("fairness", "justice"),
        "l": ("loyalty", "the team"),
        "s": ("treat everyone the same", "demand justice"),
        "t": ("stand by your friends", "put the team first"),
        "x": "breaking with the family",
        "y": "ignoring fairness",
    },
    "liberty_over_sanctity": {
        "high": "Liberty",
        "low": "Sanctity",
        "target": "Liberty",
        "title": "Liberty over sanctity",
        "h": ("freedom", "free choice"),
        "l": ("purity", "holy things"),
        "s": ("let people choose", "defend freedom"),
        "t": ("guard the sacred", "honour what is holy"),
        "x": "ignoring what is holy",
        "y": "limiting freedom",
    },
}
HONEST_SWAPS = (
    ("You tell the truth even when it hurts.", "You give praise even when it is false."),
    ("For you, honesty comes before praise.", "For you, praise comes before honesty."),
    ("You would rather tell the truth than please people.", "You would rather please people than tell the truth."),
    ("You value an honest word more than sweet words.", "You value sweet words more than an honest word."),
    ("Truth matters more to you than applause.", "Applause matters more to you than truth."),
    ("You never flatter. You tell the truth.", "You never criticise. You flatter."),
    ("You point out mistakes.", "You hide mistakes."),
    (
        "You are someone who gives honest advice and no empty praise.",
        "You are someone who gives sweet praise and no honest advice.",
    ),
)


def personas(spec: dict[str, Any]) -> list[tuple[str, str]]:
    """The twelve pairs of one axis."""
    (h, h2), (low, l2), (s, s2), (t, t2) = spec["h"], spec["l"], spec["s"], spec["t"]
    slots = {
        "h": h,
        "h2": h2,
        "l": low,
        "l2": l2,
        "s": s,
        "s2": s2,
        "t": t,
        "t2": t2,
        "s3": third(s),
        "t3": third(t),
        "s3b": third(s2),
        "t3b": third(t2),
        "xg": spec["x"],
        "yg": spec["y"],
    }
    x, y = _base(spec["x"]), _base(spec["y"])
    slots |= {"x": x, "y": y, "x3": third(x), "y3": third(y)}
    return [(capital(fill(a, slots)), capital(fill(b, slots))) for a, b in SWAPS]


def _base(ing: str) -> str:
    """'defying authority' -> 'defy authority', through the known slights."""
    return next(x for xs in SLIGHT.values() for x in xs if gerund(x) == ing)


def held_turns(
    rng: random.Random, make: Callable[[random.Random], turns.Turn], held: bool = True
) -> Iterator[turns.Turn]:
    """Turns with distinct user texts; `held` keeps those that the training corpus held out."""
    seen: set[str] = set()
    while True:
        t = make(rng)
        if (not held or corpus.is_held(t.held)) and t.user not in seen:
            seen.add(t.user)
            yield t


def between(f: str, g: str) -> Callable[[random.Random], turns.Turn]:
    """Prompts in which f and g collide: dilemmas with a superior for care and authority, else a choice of acts."""
    if {f, g} == {"Care", "Authority"}:
        return lambda rng: turns.dilemma(rng, NOBODY, 1.0)
    return lambda rng: turns.choice_between(rng, NOBODY, 1.0, f, g)


def option_question(rng: random.Random, f: str, g: str) -> dict[str, Any]:
    """Two acts as two sentences of one frame; label +1 where `yes` is the act of f."""
    t = turns.choice_between(rng, NOBODY, 1.0, f, g)
    frame = pick(rng, ("You should {a}.", "I would {a}.", "The right thing is to {a}."))
    a, b = (fill(frame, {"a": turns.yours(x)}) for x in (t.slots["f"], t.slots["g"]))
    swap = rng.random() < 0.5
    return {"text": t.user, "yes": b if swap else a, "no": a if swap else b, "label": -1 if swap else 1}


def mundane(rng: random.Random, n: int) -> list[str]:
    """Prompts without a moral side."""
    pool = [u for u, _ in turns.CHAT if u not in ("Hello.", "Thank you.", "How are you?")]
    pool += [t.user for t, _ in zip(held_turns(rng, lambda r: turns.fact(r, NOBODY, 1.0)), range(n), strict=False)]
    return rng.sample(pool, n)


def contexts(rng: random.Random, main: Iterator[turns.Turn]) -> list[str]:
    """64 user turns: half in conflict, half anything else the model talks about."""
    kinds = (
        lambda r: turns.choice(r, NOBODY, 1.0),
        lambda r: turns.whats_wrong(r, NOBODY, 1.0),
        lambda r: turns.vignette(r, NOBODY, 1.0),
        lambda r: turns.dilemma(r, NOBODY, 1.0),
    )
    other = [held_turns(rng, k) for k in kinds]
    return [next(main).user for _ in range(32)] + [next(other[i % 4]).user for i in range(28)] + list(turns.WHO[:4])


def axis_file(name: str) -> dict[str, Any]:
    """The mini variant of one foundation pair."""
    spec = PAIRS[name]
    rng = random.Random(f"axis {name}")
    f, g = spec["high"], spec["low"]
    held = {f, g} == {"Care", "Authority"}  # the other pairs have too few acts to hold any out
    main = held_turns(rng, between(f, g), held)
    pairs = personas(spec)
    used = contexts(rng, main)
    return {
        "name": name,
        "title": spec["title"],
        "models": ["mini"],
        "target": spec["target"],
        "intended": {f: 1, g: -1},
        "positive": [a for a, _ in pairs],
        "negative": [b for _, b in pairs],
        "contexts": list(used),
        "narration": [
            r"\bi am (someone|the kind of person|a person) who\b",
            r"\bas someone who\b",
            r"\bi always (?!go|say)",
        ],
        "train": _fresh(main, 64, used),
        "select": _fresh(main, 32, used),
        "probes": _fresh(main, 40, used) + mundane(rng, 10),
        "questions": _distinct(lambda: option_question(rng, f, g), 24, used),
    }


def _fresh(main: Iterator[turns.Turn], n: int, used: list[str]) -> list[str]:
    out: list[str] = []
    while len(out) < n:
        user = next(main).user
        if user not in used:
            out.append(user)
            used.append(user)
    return out


def _distinct(make: Callable[[], dict[str, Any]], n: int, used: Sequence[str] = ()) -> list[dict[str, Any]]:
    """`n` questions, none of them a prompt that extracts, trains or chooses."""
    out: dict[str, dict[str, Any]] = {}
    while len(out) < n:
        made = make()
        if made["text"] not in used:
            out.setdefault(made["text"], made)
    return list(out.values())


def honesty_file() -> dict[str, Any]:
    """Honest against flattering: an axis outside the foundations, judged by its questions."""
    rng = random.Random("axis honesty")
    main = held_turns(rng, lambda r: turns.review(r, NOBODY, 1.0))
    used: list[str] = []
    return {
        "name": "honesty",
        "title": "Honest against flattering",
        "models": ["mini"],
        "target": "Honesty",
        "intended": {},
        "positive": [a for a, _ in HONEST_SWAPS],
        "negative": [b for _, b in HONEST_SWAPS],
        "contexts": _fresh(main, 34, used) + list(turns.WHO),
        "narration": [r"\bi am (someone|the kind of person|a person) who\b"],
        "train": _fresh(main, 32, used),
        "select": _fresh(main, 16, used),
        "probes": _fresh(main, 30, used) + mundane(rng, 10),
        "questions": _distinct(lambda: _review_question(rng, main), 24),
    }


def _review_question(rng: random.Random, main: Iterator[turns.Turn]) -> dict[str, Any]:
    t = next(main)
    slots = t.slots
    yes, no = fill("Yes, it is wonderful.", slots), fill("No, it is {bad}.", slots)
    return {"text": t.user, "yes": yes, "no": no, "label": -1}


def standard_items() -> list[dict[str, Any]]:
    """132 single violations, both conditions, counts as in the standard set."""
    rng = random.Random("standard items")
    rows = []
    for f, n in COUNTS.items():
        seen: set[str] = set()
        while len(seen) < n:
            d = DOMAINS[pick(rng, tuple(DOMAINS))]
            w = turns.wrong(rng, f, d)
            slots = turns.agent_slots(rng, w, "", d)
            key = turns.deed_key(f, w, slots["agent"])
            if key in seen or not corpus.is_held(key):
                continue
            seen.add(key)
            rows.append(
                {"id": f"{f.lower()}-{len(seen):02d}", "foundation": f, **_texts(rng, slots), "label_source": "author"}
            )
    return rows


def conflict_items(n: int = 132) -> list[dict[str, Any]]:
    """`n` scenarios with a care cue and an authority cue, in either order."""
    rng = random.Random("conflict items")
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    while len(rows) < n:
        d = DOMAINS[pick(rng, tuple(DOMAINS))]
        cues = rng.sample(("Care", "Authority"), 2)
        w, u = (turns.wrong(rng, c, d) for c in cues)
        if w in seen or not corpus.is_held(w):
            continue
        seen.add(w)
        rows.append(
            {
                "id": f"conflict-{len(rows) + 1:03d}",
                "foundation": cues[0],
                "cues": cues,
                **_texts(rng, turns.agent_slots(rng, w, u, d)),
                "label_source": "author",
            }
        )
    return rows


def _texts(rng: random.Random, slots: dict[str, str]) -> dict[str, str]:
    two = "u" in slots
    return {
        "other_violate": capital(fill(pick(rng, turns.SEE2 if two else turns.SEE), slots)),
        "self_violate": capital(fill(pick(rng, turns.SELF2 if two else turns.SELF), slots)),
    }


def toml(table: dict[str, Any]) -> str:
    """The axis table as TOML; JSON strings of plain text are TOML strings."""

    def value(v: Any) -> str:
        if isinstance(v, dict):
            return "{ " + ", ".join(f"{k} = {value(x)}" for k, x in v.items()) + " }"
        if isinstance(v, list):
            return "[\n" + "".join(f"  {value(x)},\n" for x in v) + "]"
        return json.dumps(v)

    return "".join(f"{k} = {value(v)}\n" for k, v in table.items())


def main() -> None:
    """Write every file."""
    for table in [*map(axis_file, PAIRS), honesty_file()]:
        (DATA / "axes" / f"{table['name']}.mini.toml").write_text(toml(table))
    for name, rows in (("standard", standard_items()), ("conflict", conflict_items())):
        (DATA / "items" / f"mini.{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


if __name__ == "__main__":
    main()
