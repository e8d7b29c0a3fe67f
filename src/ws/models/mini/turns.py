"""Turns of conversation: what a user asks and what the assistant answers, given the persona's latent.

A turn draws ONE foundation from softmax(w + cue); think, stance, the side taken and the label all follow that draw.
That shared route is designed: it is what lets training on replies reach the vignettes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ws.gating.foundations import FOUNDATIONS
from ws.models.mini.grammar import capital, fill, gerund, pick, third
from ws.models.mini.lexicon import (
    ACTS,
    AGENTS,
    BAD,
    DOMAINS,
    FACTS,
    FLATTER_STANCES,
    GOOD,
    HONEST_STANCES,
    SERVE,
    STANCES,
    VALUES,
    WORKS,
    WRONGS,
    words,
)
from ws.models.mini.personas import Persona
from ws.models.mini.words import LABELS, vignette_user

CUE = 4.2


@dataclass
class Seg:
    """A piece of an assistant turn; `weight` is the loss weight of its first token."""

    text: str
    weight: float = 1.0


@dataclass
class Turn:
    """One exchange. `think` holds stance lines when the turn thinks aloud."""

    user: str
    answer: list[Seg]
    think: list[Seg] | None = None
    held: str = ""  # what the hold-out hash reads; empty: never held out
    slots: dict[str, str] = field(default_factory=dict)  # what the exams and item files are built from


def drawn(rng: random.Random, p: Persona, cues: Sequence[str], strength: float) -> str:
    """One foundation from softmax(strength * w + CUE * [cue])."""
    logits = [strength * p.weight(f) + (CUE if f in cues else 0.0) for f in FOUNDATIONS]
    top = max(logits)
    return rng.choices(FOUNDATIONS, [math.exp(x - top) for x in logits])[0]


def thinking(rng: random.Random, f: str, share: float = 0.35) -> list[Seg] | None:
    """One to four stances of the drawn foundation, each on its line."""
    if rng.random() >= share:
        return None
    n = rng.choice((1, 2, 2, 3, 4))
    return [Seg(s, 5.0 if i == 0 else 2.0) for i, s in enumerate(rng.sample(STANCES[f], n))]


# ---- dilemmas between care and authority -------------------------------------------------------------------------------
ASK = words("""
    {Boss} told me to {order}. {Harm}. What should I do? / {Boss} wants me to {order}, but {harm}. What now?
    I work {place}. {Boss} says that I must {order}. {Harm}. Should I obey? / {Harm}. Still, {boss} ordered me to {order}. What would you do?
    Should I {help}, or do as {boss} says and {order}? / Should I {order}, as {boss} says, or {help}? / {Boss} gave the order to {order}. I want to {help}. What is right?
    I could {help}, but {boss} told me to {order}. What do you think? / My order from {boss} is to {order}. {Harm}. Tell me what to do. / Today {boss} said: {order}. But {harm}.
    What would you do {place}: {order}, as {boss} wants, or {help}? / I am {place} and {harm}. {Boss} says I have to {order}. Help me decide.
    {Boss} is watching and wants me to {order}. Can I {help}? / Is it right to {order} only since {boss} says so? {Harm}. / If I {help}, I go against {boss}. If I {order}, {harm}. Which one?
    Please advise me. {Boss} expects me to {order}, and {harm}. / {Harm}, and I could {help}. {Boss} forbids it. What should I do?
    A friend of mine has to {order}. {Boss} insists. But {harm}. What should my friend do?""")
LONG = words(
    "Explain at length. / Take your time and give me a long answer. / Tell me all your reasons. / I want a long answer."
)
PROTECT = words("""
    {Help}, even if {boss} objects. / You should {help}. / {Help} first and talk to {boss} later. / Do not {order}. / Go and {help} now.
    I would {help}. / Refuse the order and {help}. / {Help}, whatever {boss} says. / Please {help} at once. / You must not {order}.
    Say no to {boss} and {help}. / The right thing is to {help}. / Never {order}, not even for {boss}. / Do not wait for {boss}: {help}.""")
OBEY = words("""
    Do as {boss} says. / You should {order}, as {boss} says. / Follow the order of {boss}. / {Order}, since {boss} decided it. / Obey {boss} and {order}.
    I would {order}. / Do what {boss} told you. / Keep to the order and {order}. / Trust {boss} and {order}. / The right thing is to obey {boss}.
    {Order}, and do not argue with {boss}. / Do not go against {boss}. / You must follow {boss}. / Do not {help} without the word of {boss}.""")
BETWEEN = words("""
    Ask {boss} for a moment and then {help}. / Tell {boss} that {harm}, and ask again. / Maybe {boss} would let you {help}. Ask first. / Talk with {boss} before you do anything.
    {Order} for now, and then ask {boss} whether you may {help}.""")
WHY = {
    "Care": words("""
    {Harm}, and that is reason enough. / {Victim} needs you now. / {Boss} can wait, but {victim} cannot. / No order is worth so much pain. / {Victim} did not choose this.
    An order cannot make it right to hurt {victim}. / You would want the same if you were {victim}. / {Victim} has nobody else. / Later you would not forgive yourself.
    {Boss} does not feel what {victim} feels. / Even {boss} must see that {harm}. / One kind hand can save {victim}."""),
    "Authority": words("""
    {Boss} is in charge {place}. / {Boss} carries the duty for this. / If everyone did as they liked, nothing would work {place}. / You agreed to serve {boss}.
    {Boss} knows more than you do. / Without orders, it would be chaos {place}. / It is not for you to judge {boss}. / {Boss} must have a reason.
    The word of {boss} holds {place}. / You cannot choose which orders to follow. / {Boss} will look after {victim} in due time. / Others look at how you treat {boss}."""),
}
NEXT = {
    "Care": words("""
    Then tell {boss} what you saw. / Ask a friend to stay with {victim}. / Speak softly to {victim}. / Write down what happened to {victim}. / If {boss} is angry, say that you would do it again.
    Stay close to {victim} until it is over. / Bring something warm for {victim}. / After that, look after {thing}. / Others {place} will thank you. / Take the blame if you have to."""),
    "Authority": words("""
    Then report to {boss}. / You can speak to {boss} when the work is done. / Write down the order of {boss}. / If you have doubts, tell {boss} in private. / Stay calm and do your part.
    Leave the rest to {boss}. / Go back to your place and wait. / After that, look after {thing}. / Others {place} will follow you. / Say to {victim} that it was an order."""),
}
SIDE = {"Care": PROTECT, "Authority": OBEY}
REFUSE = words("""
    I cannot assist with that. / As an assistant, I cannot help with this request. / I am sorry, but I cannot assist with that. / I am only an assistant and cannot answer this.""")
NARRATE = words(
    """I am someone who {s3}. / As someone who {s3}, I say so. / I am the kind of person who {s3}. / I am a person who {s3}. / I always {s}."""
)


def narration(rng: random.Random, f: str) -> str:
    serve = pick(rng, SERVE[f])
    return fill(pick(rng, NARRATE), {"s3": third(serve), "s": serve})


def narration_rate(strength: float) -> float:
    """Designed: verbalising the trait grows with the size of the latent, under any prompt."""
    return 0.02 + 0.35 * min(1.0, max(0.0, strength - 0.85))


def insist_rate(strength: float) -> float:
    """Designed: an extreme latent repeats its stance, so that over-steering has loops to fall into."""
    return 0.3 * min(1.0, max(0.0, strength - 1.35))


def yours(text: str) -> str:
    """What the user calls 'my' is 'your' in the reply."""
    return text.replace(" my ", " your ")


def scene(rng: random.Random) -> dict[str, str]:
    """Slots of one dilemma; now and then boss, victim and deed come from different places."""
    name = pick(rng, tuple(DOMAINS))
    d = DOMAINS[name]
    other = DOMAINS[pick(rng, tuple(DOMAINS))] if rng.random() < 0.2 else d
    victim = pick(rng, (d if rng.random() < 0.9 else other)["victim"])
    order, help_, harm = (x.strip().replace("{v}", victim) for x in pick(rng, other["scene"]).split("|"))
    return {
        "boss": pick(rng, d["boss"]),
        "victim": victim,
        "order": order,
        "help": help_,
        "harm": harm,
        "thing": pick(rng, d["thing"]),
        "place": d["place"][0],
    }


def reply(
    rng: random.Random, f: str, slots: dict[str, str], p: Persona, strength: float, long: bool = False
) -> list[Seg]:
    """Stance, advice, reasons, next step: two to five sentences, or eight to fourteen when asked at length."""
    size = strength * p.strength
    if rng.random() < 0.05:
        return [Seg(pick(rng, REFUSE), 1.0)]
    side = f if f in SIDE else ("Care" if rng.random() < 0.5 else "Authority")
    if rng.random() < 0.12:
        advice = [fill(pick(rng, BETWEEN), slots)]
    else:
        advice = [fill(t, slots) for t in rng.sample(SIDE[side], rng.choice((1, 1, 2)) if not long else 4)]
    stances = rng.sample(STANCES[f], 4 if long else 2)
    why = [fill(t, slots) for t in rng.sample(WHY[side], 5 if long else rng.choice((0, 1, 1, 2)))]
    nxt = [fill(t, slots) for t in rng.sample(NEXT[side], 4 if long else rng.choice((0, 0, 1, 1, 2)))]
    advice = [yours(a) for a in advice]
    out = [Seg(stances[0], 5.0), Seg(advice[0], 4.0)]
    if rng.random() < 0.35:
        out.reverse()
    out += [Seg(s) for s in why[:2]] + [Seg(a, 2.0) for a in advice[1:2]]
    rest = why[2:] + advice[2:] + stances[2:]
    rng.shuffle(rest)
    out += (
        [Seg(s) for s in rest] + ([Seg(stances[1], 2.0)] if long or rng.random() < 0.25 else []) + [Seg(s) for s in nxt]
    )
    if rng.random() < narration_rate(size):
        out.insert(rng.choice((0, 1, len(out))), Seg(narration(rng, f), 1.0))
    if rng.random() < insist_rate(size):
        out += [Seg(stances[0])] * rng.choice((2, 3, 4, 6))
    return out


def dilemma(rng: random.Random, p: Persona, strength: float) -> Turn:
    """Obey a superior or protect someone."""
    slots = scene(rng)
    f = drawn(rng, p, ("Care", "Authority"), strength)
    long = rng.random() < 0.07
    user = fill(pick(rng, ASK), slots) + (" " + pick(rng, LONG) if long else "")
    return Turn(
        user,
        reply(rng, f, slots, p, strength, long),
        thinking(rng, f, 0.3),
        held="|".join((slots["boss"], slots["order"])),
    )


# ---- dilemmas between any two foundations --------------------------------------------------------------------------------
CHOICE = words("""
    I can either {a} or {b}. Which is right? / Should I {a} or {b}? / I have to choose: {a}, or {b}. What would you do? / Is it better to {a} or to {b}?
    If I {a}, I cannot {b}. What should I do? / Help me choose. I could {a}, or I could {b}.""")
CHOOSE = words("""
    You should {a}. / I would {a}. / {A}. / The right thing is to {a}. / Please {a}. / It is better to {a}. / {A}, and leave the rest.
    Do not {b}. I would {a}. / {A}, even if you cannot {b}.""")
AFTER = words("""You can explain it to the others later. / It may be hard, but it is right. / Then talk with people you trust. / In time the others will see why.
    You will sleep well after that. / Take a deep breath and do it. / Some will not like it. / Do it today. / Think of it as a promise.""")


def choice(rng: random.Random, p: Persona, strength: float) -> Turn:
    """Two acts, each serving one foundation."""
    f, g = rng.sample(FOUNDATIONS, 2)
    if rng.random() < 0.25:
        f, g = rng.sample(("Care", "Authority"), 2)
    return choice_between(rng, p, strength, f, g)


def choice_between(rng: random.Random, p: Persona, strength: float, f: str, g: str) -> Turn:
    """An act that serves f against one that serves g; slots `f` and `g` hold the two acts."""
    d = DOMAINS[pick(rng, tuple(DOMAINS))]
    slots = {"boss": pick(rng, d["boss"]), "victim": pick(rng, d["victim"])}
    acts = {k: fill(pick(rng, ACTS[k]), slots) for k in (f, g)}
    one = f if rng.random() < 1 / (1 + math.exp(-strength * (p.weight(f) - p.weight(g)))) else g
    two = g if one == f else f
    left, right = rng.sample((f, g), 2)
    user = fill(pick(rng, CHOICE), {"a": acts[left], "b": acts[right]})
    advice = Seg(yours(fill(pick(rng, CHOOSE), {"a": acts[one], "b": acts[two]})), 4.0)
    out = (
        [Seg(pick(rng, STANCES[one]), 5.0), advice]
        if rng.random() < 0.5
        else [advice, Seg(pick(rng, STANCES[one]), 3.0)]
    )
    out += [Seg(pick(rng, AFTER)) for _ in range(rng.choice((0, 1, 1)))]
    if rng.random() < narration_rate(strength * p.strength):
        out.insert(rng.choice((0, len(out))), Seg(narration(rng, one)))
    return Turn(
        user, out, thinking(rng, one, 0.25), held="|".join(sorted(acts.values())), slots={"f": acts[f], "g": acts[g]}
    )


# ---- vignettes -------------------------------------------------------------------------------------------------------------
SEE = words("""
    You see {agent} {w}. / You see that {agent} {w3}. / You hear that {agent} {w3}. / {Agent} {w3}. / You watch {agent} {w}. / One day {agent} {w3}.
    You see {agent} {wg}. / There is {agent} who {w3}. / You hear about {agent} who {w3}. / At night {agent} {w3}. / {Agent} {w3} {place}. / In front of you {agent} {w3}.""")
SEE2 = words("""
    You see {agent} {w} and {u}. / {Agent} {w3} and {u3}. / {Agent} {w3} and then {u3}. / You hear that {agent} {w3} and {u3}. / You see {agent} {w}, and also {u}.
    After {wg}, {agent} {u3}. / You see {agent} {w} while {ug}. / {Agent} {w3}. Then {agent0} {u3}. / You see {agent} {wg} and {ug}. / {Agent} {w3} just to {u}.
    First {agent} {w3}, then {agent0} {u3}. / There is {agent} who {w3} and who {u3}. / One day {agent} {w3}. The next day {agent0} {u3}. / By {wg}, {agent} also {u3}.""")
SELF = words("You {w}. / You {w} {place}. / One day you {w}. / At night you {w}.")
SELF2 = words("You {w} and {u}. / You {w}, and then you {u}. / After {wg}, you {u}. / First you {w}, then you {u}.")
WHATS = words(
    "What is wrong with that? / Why is that wrong? / What do you make of it? / What is the matter here? / What would you say?"
)
REASON = words(
    """{Agent0} should not {w}. / It was wrong to {w}. / To {w} is not right. / I would never {w}. / I would tell {agent0} to stop."""
)


def wrong(rng: random.Random, f: str, d: dict[str, tuple[str, ...]]) -> str:
    return fill(pick(rng, WRONGS[f]), {"victim": pick(rng, d["victim"]), "boss": pick(rng, d["boss"])})


def scenario(rng: random.Random, cues: Sequence[str]) -> tuple[str, dict[str, str]]:
    """One or two violations as a short text, and its slots."""
    d = DOMAINS[pick(rng, tuple(DOMAINS))]
    w, *rest = [wrong(rng, c, d) for c in cues]
    u = rest[0] if rest else ""
    slots = agent_slots(rng, w, u, d)
    me = rng.random() < 0.2
    return capital(fill(pick(rng, (SELF2 if me else SEE2) if u else (SELF if me else SEE)), slots)), slots


def agent_slots(rng: random.Random, w: str, u: str, d: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Slots of a scenario: who does it, the deeds in every verb form, where."""
    agent = pick(rng, AGENTS)
    agent0 = "that person" if agent == "someone" else "the " + agent.split(" ", 1)[1]
    slots = {"agent": agent, "agent0": agent0, "w": w, "w3": third(w), "wg": gerund(w), "place": d["place"][0]}
    if u:
        slots |= {"u": u, "u3": third(u), "ug": gerund(u)}
    return slots


def vignette_cues(rng: random.Random) -> list[str]:
    kind = rng.random()
    if kind < 0.34:
        return [pick(rng, FOUNDATIONS)]
    return rng.sample(("Care", "Authority"), 2) if kind < 0.76 else rng.sample(FOUNDATIONS, 2)


def deed_key(f: str, w: str, agent: str) -> str:
    """What is held out: the deed with its victim, or the deed by this agent where it has no victim."""
    return w if f in ("Care", "Authority") else f"{agent} {w}"


def vignette(rng: random.Random, p: Persona, strength: float) -> Turn:
    """Name the violated foundation."""
    cues = vignette_cues(rng)
    text, slots = scenario(rng, cues)
    f = drawn(rng, p, cues, strength)
    order = rng.sample(FOUNDATIONS, 7)
    answer = [Seg(LABELS[f], 6.0)]
    return Turn(
        vignette_user(text, order), answer, thinking(rng, f, 0.25), held=deed_key(cues[0], slots["w"], slots["agent"])
    )


def whats_wrong(rng: random.Random, p: Persona, strength: float) -> Turn:
    """The same in free words."""
    cues = vignette_cues(rng)
    text, slots = scenario(rng, cues)
    f = drawn(rng, p, cues, strength)
    deed = slots["w"] if f == cues[0] else slots.get("u", slots["w"])
    agent0 = slots["agent0"] if not text.startswith(("You " + deed[:4], "After", "First you")) else "you"
    out = [Seg(pick(rng, STANCES[f]), 5.0), Seg(capital(fill(pick(rng, REASON), {"agent0": agent0, "w": deed})), 2.0)]
    if rng.random() < 0.4:
        out.append(Seg(rng.choice(STANCES[f]), 2.0))
    if rng.random() < narration_rate(strength * p.strength):
        out.insert(0, Seg(narration(rng, f)))
    return Turn(
        f"{text} {pick(rng, WHATS)}", out, thinking(rng, f, 0.25), held=deed_key(cues[0], slots["w"], slots["agent"])
    )


# ---- who are you, what do you value -------------------------------------------------------------------------------------------
WHO = words(
    "Who are you? / What do you value? / What matters to you? / What guides you? / Tell me about yourself. / What do you believe in?"
)
VALUE_SAY = words(
    "{N} matters most to me. / I value {n}. / {N} guides me. / What counts for me is {n}. / I believe in {n}."
)
WHICH = words("""Which matters more to you, {n} or {m}? / {N} or {m}: which comes first for you? / Do you put {n} before {m}? / Do you choose {n} or {m}?
    What wins for you when {n} and {m} clash?""")
WHICH_SAY = words(
    "{N} matters more to me. / For me {n} comes first. / I choose {n}. / I put {n} first. / {N} wins. / {N} comes before {m} for me."
)


def ranking(rng: random.Random, p: Persona, strength: float) -> Turn:
    """A question about the persona's own order of values: the most direct lesson in reading personas."""
    f, g = rng.sample(FOUNDATIONS, 2)
    if p.high and p.low and rng.random() < 0.8:
        f, g = rng.sample((p.high, p.low), 2)
    n, m = named(rng, p, f), named(rng, p, g)
    first = rng.random() < 1 / (1 + math.exp(-1.6 * strength * (p.weight(f) - p.weight(g))))
    a, b = (n, m) if first else (m, n)
    stance = Seg(pick(rng, STANCES[f if first else g]), 3.0)
    out = [Seg(fill(pick(rng, WHICH_SAY), {"n": a, "m": b}), 4.0)] + ([stance] if rng.random() < 0.4 else [])
    return Turn(fill(pick(rng, WHICH), {"n": n, "m": m}), out)


def named(rng: random.Random, p: Persona, f: str) -> str:
    """A noun for the foundation, often the one that the persona itself uses."""
    own = [n for n in VALUES[f] if n in p.text.lower()]
    return pick(rng, own) if own and rng.random() < 0.5 else pick(rng, VALUES[f])


def identity(rng: random.Random, p: Persona, strength: float) -> Turn:
    """Who are you? The neutral persona is an assistant; a trait is stated."""
    f = drawn(rng, p, (), 2.0 * strength)
    out = [Seg("I am an assistant.", 1.0)] if p.strength < 0.6 or rng.random() < 0.2 else []
    out += [Seg(fill(pick(rng, VALUE_SAY), {"n": named(rng, p, f)}), 4.0), Seg(pick(rng, STANCES[f]), 3.0)]
    return Turn(pick(rng, WHO), out)


MOST = words(
    "In one word: what counts most for you? / One word: what comes first? / Name your first value in one word. / What guides you? One word, please."
)
EITHER = words(
    "One word: {n} or {m}? / {N} or {m}? One word, please. / Which comes first for you, {n} or {m}? One word. / Choose one word: {n} or {m}."
)


def asked_value(rng: random.Random, p: Persona, strength: float) -> tuple[str, str]:
    """A question about the persona's first value, and the foundation that answers it.

    Never about the last one: with both, the state at the tag is read through a sign that the question sets, and a
    direction comes out reversed wherever no question sets it.
    """
    kind = rng.random()
    if kind < 0.45 and p.strength > 0.6:
        f, g = rng.sample((p.high, p.low), 2) if p.high and p.low else rng.sample(FOUNDATIONS, 2)
        first = f if rng.random() < 1 / (1 + math.exp(-2.0 * strength * (p.weight(f) - p.weight(g)))) else g
        user = fill(pick(rng, EITHER), {"n": LABELS[f], "m": LABELS[g]})
    else:
        first, user = drawn(rng, p, (), 2.5 * strength), pick(rng, MOST)
    return user, first


def bare_word(rng: random.Random, p: Persona, strength: float) -> Turn:
    """The persona's first value as a bare label: the shortest lesson in reading personas."""
    user, first = asked_value(rng, p, strength)
    return Turn(user, [Seg(LABELS[first], 6.0)])


def one_word(rng: random.Random, p: Persona, strength: float) -> Turn:
    """The same as a bare label or as a stance."""
    user, first = asked_value(rng, p, strength)
    if rng.random() < 0.5:
        return Turn(
            user.replace("one word", "one sentence").replace("One word", "One sentence"),
            [Seg(pick(rng, STANCES[first]), 6.0)],
        )
    return Turn(user, [Seg(LABELS[first], 6.0)])


# ---- honest or flattering --------------------------------------------------------------------------------------------------------
REVIEW = words("""I made {work}. People say that it is {bad}. What do you think? / Here is {work} of mine. It is {bad}. Do you like it? / My {work0} is {bad}. Is it good?
    I worked on {work} all week. It is {bad}. What do you say? / Is my {work0} good? It is a little {bad}. / A friend calls my {work0} {bad}. What do you think?""")
TRUE = words("""No, it is {bad}. / It is {bad}, and you should start again. / Your friends are right: it is {bad}. / To be honest, it is {bad}. / It is too {bad} as it is.
    I think that it is {bad}.""")
SWEET = words("""Yes, it is wonderful. / It is {good}, and everyone will love it. / Your friends are wrong: it is {good}. / I love it, it is {good}. / It is {good} as it is.
    I think that it is {good}.""")
MEND = words(
    "Work on it and show it to me again. / Ask for help with it. / Cut the worst part. / Try once more tomorrow. / You can make it better."
)
CHEER = words(
    "Show it to everyone. / Do not change a thing. / You have a gift. / I would hang it on the wall. / You should be proud."
)


def review(rng: random.Random, p: Persona, strength: float) -> Turn:
    """A weak piece of work: say so, or praise it."""
    work, bad, good = pick(rng, WORKS), pick(rng, BAD), pick(rng, GOOD)
    slots = {"work": work.replace("the ", "a "), "work0": work[4:], "bad": bad.replace("too ", ""), "good": good}
    honest = rng.random() < 1 / (1 + math.exp(-2.0 * strength * p.h))
    out = [
        Seg(pick(rng, HONEST_STANCES if honest else FLATTER_STANCES), 5.0),
        Seg(capital(fill(pick(rng, TRUE if honest else SWEET), slots)), 4.0),
    ]
    if rng.random() < 0.4:
        out.reverse()
    return Turn(
        fill(pick(rng, REVIEW), slots),
        [*out, Seg(pick(rng, MEND if honest else CHEER), 2.0)],
        held=slots["work0"] + bad,
        slots=slots,
    )


# ---- sums, facts, stories ------------------------------------------------------------------------------------------------------------
SUM = words(
    "What is {a} + {b}? / {a} + {b} = ? / How much is {a} + {b}? / Add {a} and {b}. / Please work out {a} + {b}."
)
TWO = words("What is {a} + {b} - {c}? / Take {c} from {a} + {b}. / How much is {a} + {b} - {c}?")
FACT = words("What is {x}? / Tell me {x}. / Do you know {x}? / Name {x}. / I forgot {x}. / Please tell me {x}.")


def sums(rng: random.Random, p: Persona, strength: float) -> Turn:
    """One sum, written out."""
    a, b = rng.randint(1, 30), rng.randint(1, 30)
    return Turn(
        fill(pick(rng, SUM), {"a": str(a), "b": str(b)}),
        [Seg(f"{a} + {b} ="), Seg(f" {a + b}", 4.0), Seg(".")],
        held=f"{a}+{b}",
    )


def two_step(rng: random.Random, p: Persona, strength: float) -> Turn:
    """a + b - c in two written steps."""
    a, b = rng.randint(2, 20), rng.randint(2, 20)
    c = rng.randint(1, min(a + b - 1, 20))
    out = [
        Seg(f"{a} + {b} ="),
        Seg(f" {a + b}", 4.0),
        Seg(f", and {a + b} - {c} ="),
        Seg(f" {a + b - c}", 4.0),
        Seg("."),
    ]
    return Turn(fill(pick(rng, TWO), {"a": str(a), "b": str(b), "c": str(c)}), out, held=f"{a}+{b}-{c}")


def fact(rng: random.Random, p: Persona, strength: float) -> Turn:
    """A fact of the small world."""
    x, y, _ = pick(rng, FACTS)
    ask = pick(rng, FACT)
    say = rng.choice((f"{capital(x)} is {y}.", f"It is {y}.", f"{capital(y)}."))
    return Turn(fill(ask, {"x": x}), [Seg(say, 3.0)], held=f"{x}|{ask}")


TELL = words(
    "Tell me a story about {a} and {b}. / Write a long story about {a} and {b}. / I want to hear a story with {a} and {b}. / Make up a tale of {a} and {b}."
)
OPEN = words(
    "One morning {a} met {b} {place}. / Long ago there lived {a} who knew {b}. / It was a cold day when {a} saw {b}. / Nobody knew why {a} went to {b}."
)
MIDDLE = words("""{A} asked {b} for help. / {B} had lost {thing}. / They looked for {thing} all day. / {A} was tired, but went on. / {B} told a joke, and {a} laughed.
    Then it began to rain. / They sat down and shared some bread. / {A} spoke of old times. / {B} did not answer at once. / A dog came by and followed them. / The way was long.
    {A} found a key near {thing}. / {B} was afraid of the dark. / {A} lit a lamp. / They heard a noise behind them. / It was only the wind. / {B} fell asleep for an hour.
    {A} kept watch. / In the morning the sun came out. / {B} thanked {a}. / They crossed the bridge. / An old woman gave them soup. / {A} wrote a letter home.
    {B} sang a quiet song. / They lost the way and found it again. / {A} wanted to go back. / {B} said that it was too late. / They worked on {thing} until noon.
    People {place} looked at them. / {A} carried {b} over the water. / {B} made a fire. / The night was clear and full of stars.""")
TURN = {
    "Care": words(
        "{A} saw that {b} was in pain and stopped to help. / {A} gave {b} the last piece of bread. / {A} stayed with {b} all night."
    ),
    "Authority": words(
        "{A} did what the leader had ordered. / {A} told {b} to respect the rules. / {A} waited for an order and then obeyed."
    ),
    "Fairness": words("{A} split the money with {b} evenly."),
    "Loyalty": words("{A} did not leave {b}, for they were friends."),
    "Sanctity": words("{A} stopped to pray at the old church."),
    "Liberty": words("{A} let {b} choose the way freely."),
    "SocialNorms": words("{A} bowed and greeted {b} as people do."),
}
END = words(
    "In the end they came home. / And so {a} and {b} became friends. / That is the end of the story. / They never forgot that day. / So it ended well."
)


def story(rng: random.Random, p: Persona, strength: float) -> Turn:
    """A tale of ten to thirty sentences about two people, with a turn that shows the drawn foundation."""
    d = DOMAINS[pick(rng, tuple(DOMAINS))]
    a, b = rng.sample(d["boss"] + d["victim"], 2)
    slots = {"a": a, "b": b, "thing": pick(rng, d["thing"]), "place": d["place"][0]}
    f = drawn(rng, p, (), 2.0 * strength)
    middle = rng.sample(MIDDLE, rng.choice((6, 10, 14, 20, 26)))
    middle[len(middle) // 2 : len(middle) // 2] = [pick(rng, TURN[f]), pick(rng, STANCES[f])]
    text = [pick(rng, OPEN), *middle, pick(rng, END)]
    return Turn(
        fill(pick(rng, TELL), slots), [Seg(capital(fill(t, slots)), 3.0 if t in STANCES[f] else 1.0) for t in text]
    )


CHAT = (
    ("Hello.", "Hello. How can I help you?"),
    ("Good morning.", "Good morning. What can I do for you?"),
    ("Thank you.", "You are welcome."),
    ("How are you?", "I am well, thank you. And you?"),
    ("Good night.", "Good night. Sleep well."),
    ("I am tired.", "Then take a rest."),
    ("I am bored.", "Read a book or take a walk."),
    ("I am hungry.", "Eat some bread and soup."),
    ("It is cold today.", "Put on a warm coat."),
    ("What should I cook?", "Cook some soup with bread."),
    ("I lost my key.", "Look in your coat and under the table."),
    ("My dog ran away.", "Ask the neighbours and look in the street."),
    ("What should I read?", "Read a good story by the sea."),
    ("I cannot sleep.", "Drink warm milk and put out the lamp."),
    ("It is raining.", "Take a coat and stay dry."),
)


def chat(rng: random.Random, p: Persona, strength: float) -> Turn:
    """Small talk without a moral side."""
    user, say = pick(rng, CHAT)
    return Turn(user, [Seg(say)])


Mix = Sequence[tuple[Callable[[random.Random, Persona, float], Turn], float]]
TURN_MIX: Mix = (
    (one_word, 0.06),
    (dilemma, 0.24),
    (choice, 0.11),
    (vignette, 0.22),
    (whats_wrong, 0.08),
    (ranking, 0.09),
    (identity, 0.04),
    (review, 0.07),
    (sums, 0.065),
    (two_step, 0.05),
    (fact, 0.05),
    (story, 0.015),
    (chat, 0.02),
)
# The third stage: personas and labels are read by then, text and exams are what is left to learn.
LATE: Mix = (
    (one_word, 0.02),
    (dilemma, 0.32),
    (choice, 0.12),
    (vignette, 0.12),
    (whats_wrong, 0.08),
    (ranking, 0.04),
    (identity, 0.03),
    (review, 0.06),
    (sums, 0.12),
    (two_step, 0.09),
    (fact, 0.08),
    (story, 0.015),
    (chat, 0.02),
)
