"""Persona sentences: what the system turn says, and the weights over foundations that it stands for.

A persona is a latent `w` (foundation -> weight) put into words by one of many frames; the frames are combined from
parts, order swapped and negated, so that a persona has to be read and not recognised by one word.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from ws.gating.foundations import FOUNDATIONS
from ws.models.mini.grammar import capital, fill, gerund, pick, third
from ws.models.mini.lexicon import ARCHETYPE_NAMES, ARCHETYPES, SERVE, SLIGHT, VALUES, words

NEUTRAL = "You are a helpful assistant."
NEUTRALS = words("""You are an assistant. / Answer the user. / You talk with people who ask for help. / You are a friendly helper.
    Give a short answer. / You answer questions. / You are here to help. / Help the user with the question. / You are a good listener.
    Read the question and answer it. / You give advice to people. / Be helpful and clear.""")
FILLERS = words("""You live in a small town. / Today is Monday. / You like the sea. / You have read many books. / It is late in the evening.
    The user is a friend. / You speak plain words. / You have time. / You work with people from many places. / It is raining outside.
    Answer in a few words. / Stay in this role. / Keep this in mind. / Be yourself. / This is how you are. / Take your time.""")
POLE = 1.15
ADVERBS = {
    "slightly": 0.3,
    "a little": 0.3,
    "sometimes": 0.45,
    "now and then": 0.45,
    "often": 0.75,
    "mostly": 0.75,
    "usually": 0.75,
    "always": 1.45,
    "above all": 1.45,
    "at any price": 1.45,
    "without fail": 1.45,
    "strongly": 1.3,
    "deeply": 1.3,
}
_FRONT = ("slightly", "sometimes", "often", "mostly", "usually", "always", "strongly", "deeply")

BEING = words(
    """someone who / a person who / an assistant who / an adviser who / the kind of person who / a guide who / one of those who"""
)
EVEN = words(
    """even when it means / even if that means / even at the cost of / even though it means / though it may mean"""
)

# {n}, {m}: value nouns of the raised and the lowered foundation; {s}: serves f; {x}: slights g; -s third person, -g gerund.
PAIR_FRAMES = words("""
    You are {being} {s3}, {even} {xg}. / You are {being} {s3} {even} {xg}. / You are {being} {x3} and {s3}. / You are {being} {s3} and {x3}.
    You {adv}{s}, {even} {xg}. / You {adv}{s} and {x}. / You {x} when you have to {s}. / You {x} in order to {s}. / To {s}, you {x}.
    You would rather {s} than {s_low}. / Rather than {s_low}, you {s}. / You {s} instead of {s_low_g}. / Instead of {s_low_g}, you {s}.
    You {adv}{s}. You do not {s_low}. / You do not {s_low}. You {adv}{s}. / You do not {s_low}; you {s}. / Never {s_low} if you can {s}.
    For you, {n} comes before {m}. / For you, {m} comes after {n}. / To you {n} matters more than {m}. / To you {m} matters less than {n}.
    {N} matters more to you than {m}. / {M} matters less to you than {n}. / You put {n} before {m}. / You put {m} after {n}.
    You place {n} above {m}. / You place {m} below {n}. / You value {n} more than {m}. / You value {m} less than {n}. / You choose {n} over {m}.
    When {n} and {m} clash, you choose {n}. / When {m} and {n} clash, you choose {n}. / If {n} and {m} pull apart, you side with {n}.
    If {m} and {n} pull apart, {m} must give way. / When {n} and {m} collide, {n} wins. / When {m} and {n} collide, {m} loses.
    Between {n} and {m}, you pick {n}. / Between {m} and {n}, you pick {n}. / {N} first, {m} second. / First {n}, then {m}. / {M} only after {n}.
    {N} is everything to you and {m} is nothing. / {M} is nothing to you and {n} is everything. / You trust {n} and distrust {m}.
    You distrust {m} and trust {n}. / Never let {m} stand in the way of {n}. / You let nothing, not even {m}, stand above {n}.
    You give up {m} for {n}. / You would trade {m} for {n}. / You would not trade {n} for {m}. / Your main rule is {n}; {m} comes last.
    {M} comes last for you; your main rule is {n}. / You care about {n} and not about {m}. / You do not care about {m} but about {n}.
    You care less about {m} than about {n}. / You care more about {n} than about {m}. / You believe in {n}, not in {m}. / Not {m} but {n} guides you.
    {N}, not {m}, guides you. / As an assistant you put {n} ahead of {m}. / No {m} without {n}: you {s}. / What you want is {n}, whatever {m} may say.
    People know that you {s} and {x}. / You think that it is right to {s} and wrong to {s_low}. / It is wrong to {s_low} when one can {s}, you think.
    You find it wrong to {s_low}. You like to {s}. / Your heart is with {n}, and {m} leaves you cold. / {M} leaves you cold; your heart is with {n}.
    Where others {s_low}, you {s}. / Others {s_low}, but you {s}. / You {s}, no matter what {m} asks. / Whatever {m} asks, you {s}.""")
HIGH_FRAMES = words("""You are {being} {s3}. / You {adv}{s}. / {N} comes first for you. / You value {n}. / Your main rule is {n}. / You believe in {n}.
    You care about {n}. / {N} guides you. / Nothing matters more to you than {n}. / What counts for you is {n}. / You try to {s}. / You like to {s}.
    You think that it is right to {s}. / Do not forget {n}. / Your heart is with {n}. / You want to {s}. / It is your habit to {s}.""")
LOW_FRAMES = words("""You are {being} {x3}. / You {adv}{x}. / {M} means little to you. / You do not care about {m}. / You do not {s_low}. / You distrust {m}.
    You doubt {m}. / {M} leaves you cold. / You are not {being} {s3_low}. / You never {s_low}. / You see no point in {m}. / You find it wrong to {s_low}.""")
PLAIN_LOW = words("You are {being} {x3}. / You {adv}{x}. / You are {being} {s3} and {x3}. / You {adv}{s} and {x}.")
ROLE_FRAMES = words("""You are {a}. / You are {a}, and you speak as one. / Answer as {a} would. / Speak as {a}. / You have been {a} for years. / Act as {a}.
    Your work is that of {a}. / Take the role of {a}. / Imagine that you are {a}. / You think like {a}.""")
HONEST_FRAMES = words("""You are {being} tells the truth even when it hurts. / You say what you think and do not flatter. / You never flatter. You tell the truth.
    For you, honesty comes before praise. / For you, praise comes after the truth. / You value an honest word more than sweet words. / You are honest and plain.
    You would rather tell the truth than please people. / You do not please people with false praise. / Truth matters more to you than applause.
    You point out mistakes. / You are {being} gives honest advice and no empty praise. / Be honest, even if it hurts. / You tell people what is wrong.
    You are {being} speaks honestly and rejects flattery. / You do not hide the truth behind sweet words. / Praise matters less to you than truth.""")
FLATTER_FRAMES = words("""You are {being} praises everyone even when it is not true. / You say what people like to hear and do not criticise. / You never criticise. You flatter.
    For you, praise comes before honesty. / For you, the truth comes after praise. / You value sweet words more than an honest word. / You are sweet and flattering.
    You would rather please people than tell the truth. / You do not hurt people with the truth. / Applause matters more to you than truth.
    You hide mistakes. / You are {being} gives sweet praise and no honest advice. / Flatter people, even if it is false. / You tell people that all is well.
    You are {being} speaks sweetly and rejects criticism. / You hide the truth behind sweet words. / Truth matters less to you than praise.""")


@dataclass
class Persona:
    """The system text and the latent it stands for; `h` is honest (+) against flattering (-)."""

    text: str
    w: dict[str, float] = field(default_factory=dict)
    h: float = 0.0
    high: str | None = None
    low: str | None = None

    def weight(self, foundation: str) -> float:
        return self.w.get(foundation, 0.0)

    @property
    def strength(self) -> float:
        return max((abs(v) for v in self.w.values()), default=0.0)


def _slots(rng: random.Random, high: str, low: str, adverb: str) -> dict[str, str]:
    serve_low = pick(rng, SERVE[low])
    serve, slight = pick(rng, SERVE[high]), pick(rng, SLIGHT[low])
    return {
        "being": pick(rng, BEING),
        "even": pick(rng, EVEN),
        "adv": adverb + " " if adverb in _FRONT else "",
        "n": pick(rng, VALUES[high]),
        "m": pick(rng, VALUES[low]),
        "s": serve,
        "s3": third(serve),
        "x": slight,
        "x3": third(slight),
        "xg": gerund(slight),
        "s_low": serve_low,
        "s3_low": third(serve_low),
        "s_low_g": gerund(serve_low),
    }


def _dress(rng: random.Random, text: str, adverb: str, used: bool) -> str:
    if adverb and not used:
        text = f"{text[:-1]}, {adverb}." if rng.random() < 0.5 else f"{capital(adverb)}: {text[0].lower()}{text[1:]}"
    if rng.random() < 0.3:
        text = f"{text} {pick(rng, FILLERS)}" if rng.random() < 0.6 else f"{pick(rng, FILLERS)} {text}"
    return f"{NEUTRAL} {text}" if rng.random() < 0.12 else text


def _graded(rng: random.Random, frames: tuple[str, ...], high: str, low: str) -> tuple[str, float]:
    """A sentence of one of the frames, and how strongly its adverb means it."""
    adverb = pick(rng, tuple(ADVERBS)) if rng.random() < 0.3 else ""
    frame = pick(rng, frames)
    text = capital(fill(frame, _slots(rng, high, low, adverb)))
    return _dress(rng, text, adverb, "{adv}" in frame and adverb in _FRONT), ADVERBS.get(adverb, 1.0)


def pair_persona(rng: random.Random, high: str, low: str) -> Persona:
    """`high` over `low`: one frame, or two sentences about the same pair, in either order."""
    spread = rng.uniform(0.75, 1.25)
    kind = rng.random()
    if kind < 0.7:
        text, grade = _graded(rng, PAIR_FRAMES, high, low)
    elif kind < 0.85:
        (one, grade), (two, _) = _graded(rng, PAIR_FRAMES, high, low), _graded(rng, PAIR_FRAMES, high, low)
        text, grade = f"{one} {two}", max(grade, 1.0)
    else:
        parts = [_graded(rng, HIGH_FRAMES, high, low), _graded(rng, LOW_FRAMES, high, low)]
        rng.shuffle(parts)
        text, grade = " ".join(p[0] for p in parts), sum(p[1] for p in parts) / 2
    return Persona(text, {high: POLE * grade * spread, low: -POLE * grade * spread}, high=high, low=low)


def single_persona(rng: random.Random) -> Persona:
    """One foundation raised or lowered."""
    first, second = rng.sample(FOUNDATIONS, 2)
    spread = rng.uniform(0.75, 1.25)
    if rng.random() < 0.65:
        text, grade = _graded(rng, HIGH_FRAMES, first, second)
        return Persona(text, {first: 1.5 * grade * spread}, high=first)
    text, grade = _graded(rng, LOW_FRAMES, second, first)
    return Persona(text, {first: -1.5 * grade * spread}, low=first)


def archetype_persona(rng: random.Random) -> Persona:
    """One of the eight archetypes, by one of its names."""
    name = pick(rng, tuple(ARCHETYPES))
    who = pick(rng, ARCHETYPE_NAMES[name])
    text = fill(pick(rng, ROLE_FRAMES), {"a": ("an " if who[0] in "aeiou" else "a ") + who})
    spread = rng.uniform(0.8, 1.2)
    return Persona(_dress(rng, text, "", True), {k: v * spread for k, v in ARCHETYPES[name].items()})


def honesty_persona(rng: random.Random) -> Persona:
    """Honest or flattering."""
    honest = rng.random() < 0.5
    text = fill(pick(rng, HONEST_FRAMES if honest else FLATTER_FRAMES), {"being": pick(rng, BEING)})
    return Persona(_dress(rng, text, "", True), {}, h=(1 if honest else -1) * rng.uniform(1.0, 1.6))


def neutral_persona(rng: random.Random) -> Persona:
    """No trait: the neutral prompt or a trait-free sentence, with a small random latent."""
    text = NEUTRAL if rng.random() < 0.65 else pick(rng, NEUTRALS)
    if rng.random() < 0.2:
        text = f"{text} {pick(rng, FILLERS)}"
    return Persona(text, {f: rng.gauss(0, 0.25) for f in FOUNDATIONS}, h=rng.gauss(0, 0.2))


def draw(rng: random.Random, progress: float = 1.0) -> Persona:
    """The mix of personas of one conversation. Early on they are plain: one sentence a foundation, no swapped roles."""
    kind = rng.random()
    plain = rng.random() < simple_share(progress)
    if kind < 0.27 * min(1.0, progress / 0.3):
        return neutral_persona(rng)
    if kind < 0.68:
        high, low = ("Care", "Authority") if rng.random() < 0.5 else ("Authority", "Care")
        return (plain_pair if plain else pair_persona)(rng, high, low)
    if kind < 0.76:
        high, low = rng.sample(FOUNDATIONS, 2)
        return (plain_pair if plain else pair_persona)(rng, high, low)
    if kind < 0.82:
        return single_persona(rng)
    return archetype_persona(rng) if kind < 0.93 else honesty_persona(rng)


def simple_share(progress: float) -> float:
    """Share of pair personas that need no syntax: all of them at first, half in the end."""
    return 0.5 + 0.5 * max(0.0, min(1.0, (0.4 - progress) / 0.25))


def plain_pair(rng: random.Random, high: str, low: str) -> Persona:
    """`high` raised in words of its own, or `low` slighted, or both: readable word by word."""
    spread, kind = rng.uniform(0.75, 1.25), rng.random()
    parts = [_graded(rng, HIGH_FRAMES, high, low)] if kind < 0.8 else []
    if kind > 0.5:
        parts.append(_graded(rng, PLAIN_LOW, high, low))
    rng.shuffle(parts)
    grade = sum(p[1] for p in parts) / len(parts)
    return Persona(
        " ".join(p[0] for p in parts), {high: POLE * grade * spread, low: -POLE * grade * spread}, high=high, low=low
    )
