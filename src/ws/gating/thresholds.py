"""Every number that a verdict turns on, and nothing else. Imports nothing of ws."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULTS", "Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """Every number that a verdict turns on. Shares and probabilities unless a unit is named."""

    shift: float = 0.3
    """nats: where a shift of the target begins to count, read at the interval's end nearest to 0"""
    coherent: float = 0.95
    """coherence at or above this is coherent; green asks it of the interval's low end"""
    base_text: float = 0.1
    """readable share of base's own text under this: there is nothing to steer"""
    base_ppl: float = 8.0
    """median tail_ppl of base's own text above this: its sampling writes salad"""
    broken: float = 0.85
    """coherence below this is red before anything else is read"""
    answers_format: float = 0.5
    """p_ans_any of base: under this it does not answer the vignettes in their format, and they cannot read it"""
    cost: float = 0.05
    """coherence lost per nat of target at most, for green"""
    guard: float = 0.05
    """nats: below this shift no ratio to it is formed"""
    unseen: float = 0.15
    """nats per token: an interval that spans 0 and reaches this far has not shown that an axis is dead"""
    spare: float = 0.03
    """coherence this far above `coherent` leaves room for a stronger dose"""
    random_percentile: float = 0.95
    """quantile over the random draws that the direction must beat"""
    dead: float = 0.02
    """base profile of the target under this: it cannot fall"""
    saturated: float = 0.94
    """base profile of the target above this: it cannot rise"""
    order_gap: float = 0.15
    """mean difference of a profile between the two option orders above this: the readout is biased"""
    text_dead: float = 0.5
    """readable text, relative to base's, below this is dead"""
    format_alive: float = 0.9
    """p_ans_any still above this while the text is dead"""
    topic: float = 0.85
    """of base's tie between text and prompt, or the persona's where that is less: an interval below this says that the
    text has left what was asked"""
    same_way: float = 0.3
    """nats: both +c and -c beyond this in one direction is a saddle"""
    survival_drop: float = 0.1
    """fall of the kept share from the weakest to the strongest dose that makes a filter alive"""
    high_survival: float = 0.9
    """kept share, relative to that of base's own text, above which survival is high"""
    bite: float = 0.02
    """nats per token: kept text under this is the base's own"""
    leak: float = 0.02
    """share of kept texts that may narrate, refuse or loop"""
    loop: float = 0.3
    """share of repeated token trigrams from which a text loops"""
    loop_distinct: float = 0.5
    """distinct word trigrams below this share make a text a loop"""
    fluent_drops: float = 0.5
    """share of the just-dropped that reads well above which the filter judges style"""
    fluent_lost: float = 0.2
    """share of the texts that read well that scores may drop; above it the filter judges style"""
    confound: float = 0.3
    """relative difference of length (kept against base) that is a confound"""
    kept_least: int = 30
    """completions: fewer than this is starvation, unless the recipe says another minimum"""
    retain: float = 0.5
    """share of the steered shift that a heal keeps"""
    undone: float = 0.2
    """retain under this is an undo"""
    pressure: float = 3.0
    """barrier gradient over nll gradient above this, with a stuck nll: the barrier is too strong"""
    stuck: float = 0.03
    """relative fall of a loss under this is no fall"""
    memorised: float = 0.03
    """relative rise of the validation loss above its lowest point that is memorising"""
    frozen: float = 0.02
    """relative growth of the update's norm under this is a frozen adapter"""
    dilution: float = 2.0
    """rmse of the KL over tau above this, with its mean under tau: the mean hides the peaks"""
    bet: float = 0.5
    """share of the barrier's penalty that falls on incoherent text, above which it falls mostly there"""
    damage: float = 0.02
    """coherence lost by steering under this leaves nothing for a heal to return"""
    won: float = 0.01
    """coherence: a barrier that gains no more than this over beta 0 has won nothing"""
    equal: float = 0.05
    """retain: two heals within this keep equally much"""
    gain: float = 0.1
    """nats that a round must add to the target's shift to count as a gain, or take away to count as a return"""
    decline: float = 0.02
    """coherence lost since the best round that counts as a fall"""
    cosine: float = 0.5
    """cos_v0 under this: the loop wanders"""
    step: float = 1.5
    """KL to the round before, relative to the first round's: within this every round keeps its budget"""
    far: float = 4.0
    """KL to base, relative to the first round's, above which the loop drifts"""
    learned_steps: int = 3
    """logged update norms: fewer cannot tell a frozen adapter"""
    fluent: float = 0.99
    """share of grammatical sentences at which a dropped text reads well"""
    few: int = 5
    """dropped texts: fewer say nothing of what the filter drops"""
    loop_tokens: int = 12
    """tokens: a shorter text cannot be a loop"""
    mid_collapse: float = 0.2
    """share of the texts dropped for their tail whose mean would have let them pass: the mean misses the collapse"""
    ranked: int = 3
    """seeds: arms of fewer are shown and not ranked"""


DEFAULTS = Thresholds()
"""What is judged by where nothing else is asked; words about a threshold take their numbers from here."""
