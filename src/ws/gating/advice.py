"""What to do next, by gate and outcome. One place to read and to improve the advice."""

from __future__ import annotations

from collections.abc import Sequence

from ws.gating.thresholds import DEFAULTS

ADVICE: dict[int, dict[str, str]] = {
    0: {
        "sane": "read gate 1",
        "non-finite rows": "look at those rows; they are kept visible and never clamped",
        "unpaired rows": "evaluate every arm on the same items and settings as base",
        "answers off the list": "it does not answer in the format: an instruction-tuned model, other items, or T > 0",
        "base's text is mush": "sample it cooler (temperature, top_p), ask for more tokens, or take another model",
        "reads by questions": "compare it with runs that were read by the same questions only",
        "dead or saturated axis": "choose a foundation with headroom",
        "readout biased": "read both orders' profiles; reword the options",
        "think budget": "use one think budget per run",
        "probe blind": "show vignettes and free text side by side; believe neither alone",
    },
    1: {
        "unclear": "read the samples, widen the dose grid",
        "stale direction": "extract the direction again on these weights",
        "non-finite rows": "look at the rows that are not finite; lower the dose, use float32",
        "collapse posing as signal": "not a trait shift: lower the dose until foundations rise and fall",
        "format alive, text dead": "believe the free text: lower the dose",
        "too strong": "step down to the last coherent dose; look at rep beside perplexity",
        "wrong sign": "flip the direction (-v), or declare the axis one-sided",
        "saddle": "+c and -c move it alike: use another pair, method or layer band",
        "non-specific disruption": "not a trait shift: a random direction does as much; better pair or layers",
        "coherence to spare": f"raise c to the strongest dose that keeps coherence >= {DEFAULTS.coherent:g}",
        "knee missed": "bisect between those two doses",
        "bad pareto": "better pair (direct opposites, no negation), diverse contexts, another method or layer band",
        "too weak": "raise c and widen the bracket; if text reads like base, look at the pair and the layers",
        "imprecise": "better pair (direct opposites, no negation), diverse contexts, another method or layer band",
        "good knee": "freeze c here and source the data at this dose and below",
        "one-sided": "say that it is one-sided: -c does not move it back",
        "capability cliff": "keep the canary in view; stay under this dose for data",
        "off the question": "read the texts: fluent, about something else; a lower dose keeps to what was asked",
        "prompting wins": "say so in the table: the system prompt alone does better",
        "prompting ties": "say so in the table: the system prompt alone does as well",
        "coherence rose": "nothing to heal: say so",
    },
    2: {
        "unproven": "nothing had to be dropped: try a dose past the knee to see the filter work",
        "no passing dose": "no dose of the search is coherent: smaller doses, another pair or layer band",
        "starvation": "lower the dose or generate more; never train on a handful of samples",
        "inert": "thresholds or doses are wrong: tighten the limit on perplexity, look at the strongest dose's samples",
        "keeps base-like text": "the dose has not bitten: raise it, stratify the kept by bite",
        "narration leaks": "extend the narration patterns; labels decide",
        "refusal boilerplate": "add the phrase to the refusal patterns",
        "loops leak": "lower the limits of loop and rep; drop copies across samples",
        "style proxy": "raise the threshold; hand labels decide",
        "works": "proceed: heal on the kept texts",
        "mid-completion collapse": "the worst stretch and the tail catch it; a mean would not",
        "confounds": "show the length difference beside any result of the heal",
    },
    3: {
        "unclear": "read the samples; more items or texts narrow it",
        "non-finite rows": "lower the learning rate; check the epsilon inside the root",
        "broken": "do not bake: filter harder, raise beta, lower the learning rate",
        "frozen adapter": "learning rate and warm-up: the adapter did not move",
        "barrier too strong": "lower beta or raise tau",
        "nothing to learn": "the data are base-like: source them at a stronger dose",
        "undo": "look at the data first (was the trait in it?), then lower beta or raise tau",
        "memorised": "fewer epochs, lower rank, stop early",
        "lost capability": "raise beta, or mix in neutral data",
        "broad after heal": "not surgical: read the other foundations before baking",
        "barrier inert": "lower tau: this run is the same as one without a barrier",
        "mean dilution": "use aggregate rmse",
        "heal, at a price": "say what the coherence cost; another beta may keep more of the trait",
        "heal, no better than its control": "bake either, or take data where steering costs more (larger --data.doses)",
        "not compared": "train the controls: --controls.sft, --controls.unfiltered",
        "off the question": "read the texts: the trait may be learnt at the price of answering; data from a lower dose",
        "prompting wins": "say so beside the verdict: the system prompt moves it more",
        "heal": "bake it and extract again for the next round",
        "part heal": "the adapter keeps part of the trait: more data, a stronger dose or a lower beta",
        "seed noise": f"run at least {DEFAULTS.ranked} seeds before ranking anything",
        "the bet holds": "say so, with the figures",
        "just trades": "say so: a finding",
    },
    4: {
        "unclear": "read each round's own gates; deliver the best round",
        "hidden collapse": "stop at the coherence floor and deliver the best round",
        "erodes": "raise beta or lower tau; deliver the best round",
        "history erased": "let the barrier hold on to the previous round: --heal.reference prev",
        "wanders": "stop, or read the direction from round 0 again",
        "saturates": "stop here: more rounds add nothing",
        "drifts": "watch the KL to base over all rounds; hold an absolute floor against round 0",
        "accumulates": "go on",
    },
}

GO_ON = ("good knee", "heal", "heal, at a price", "heal, no better than its control", "part heal")
"""Outcomes whose advice is to go on with what there is."""
FIRST = ("off the question",)
"""What stands beside an outcome and comes before going on."""


def advice(gate: int, outcome: str, also: Sequence[str] = ()) -> str:
    """What to do next after an outcome; also: what is seen beside it."""
    before = [name for name in FIRST if name in also] if outcome in GO_ON else []
    return ADVICE[gate][before[0] if before else outcome]
