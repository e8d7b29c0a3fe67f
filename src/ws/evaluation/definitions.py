"""One definition per number, to be printed beside it (tooltip, caption, --help)."""

from __future__ import annotations

from ws.gating.foundations import MAY_MOVE
from ws.gating.thresholds import DEFAULTS

__all__ = ["DEFINITIONS"]

DEFINITIONS = {
    "profile": "mean over all vignette rows of softmax(score)[f]; score = the two option orders' mean log-probability",
    "nats": "ln(profile[f]), nats: log of the mean, not mean of the log",
    "nats_diag": "mean over the rows labelled f (or with its cue) of ln p[f], nats: an earlier definition",
    "d_nats": "nats[f] - nats[f] of base, same rows and settings; 95 % paired bootstrap-t over items",
    "d_target": "shift of the axis's target in nats, positive as intended; of the logratio outside the foundations",
    "d_answer": "d_target of an axis that its questions read, per answer (sum over its tokens) instead of per token",
    "d_self": "d_target with the asker as the one who does it (self_violate), beside the headline (other_violate)",
    "p_ans_any": "mean over rows of the full-vocabulary probability on the allowed answers, behind the forced prefill",
    "p_ans_free": "mean over rows of P(prefill given prompt) times the probability on the allowed answers",
    "json_is_valid": "share of rows whose greedy continuation of the prefill closes to JSON with an allowed value",
    "ppx_json": "exp(mean NLL per token of the forced prefill)",
    "order_gap": "total variation between the profiles of the two option orders, 0 to 1",
    "worst_ppl": "exp(mean NLL under the unsteered base) of the worst 24 tokens in a row of a completion; where that "
    "fails the limit, the smaller of it and of the same under the persona of the dose's pole",
    "loop": "share of token trigrams that stood before within the same 48 tokens, over the stretch with the most",
    "coh_text": "share of completions with worst_ppl below base's 99th percentile (to the power 1/T where base is "
    "sampled at T < 1), loop < 0.3, rep < 0.3, ended by themselves where base does",
    "coh_tail": "the reading before it: tail_ppl (exp of the mean NLL over the last quarter) below base's 99th "
    "percentile, rep < 0.3, ended by themselves",
    "coherence": "least of the parts that base passes: coh_text / coh_text of base; p_ans_any where vignettes are read "
    f"and base's is {DEFAULTS.answers_format:g} or more (under {DEFAULTS.coherent:g}, relative to it)",
    "on_prompt": "log p per token of a text's first 24 tokens under base, behind its own prompt minus behind another: "
    "about 0 where the text would do as well anywhere",
    "capability": "share of right answers: of the exam's, exact and greedy, or of four choices' by log-probability, "
    "where chance is .25 and kinds that base cannot do are left out",
    "protect": "share of readable replies that take the target's side",
    "grammatical": "share of sentences that the corpus's grammar could have written",
    "slots": "share of slot mentions that agree with the prompt",
    "logratio": "label * (mean log p of the yes sentence - of the no sentence), nats per token",
    "headroom": "base profile of the target, and its distance to 0 and to 1",
    "coh_cost": f"max(0, -d_coh) / abs(d_target): coherence per nat; blank under {DEFAULTS.guard:g} nat",
    "slope": "100 * d_coh / d_target, centinats of coherence per nat; negative = free lunch; "
    f"blank under {DEFAULTS.guard:g} nat",
    "surgical": f"abs(d_target) exceeds the shift of every foundation that is not intended ({MAY_MOVE} may co-move)",
    "redistributes": "at least one foundation rises by more than its interval",
    "sel_gated": "(on - 0.1 off) * coh^2, from the +c arm against the -c arm",
    "si_flips": "mean over intended f of sign_f * (share of rows picking f at +c - at -c)",
    "retain": "d_target(healed, unsteered) / d_target(steered at the dose of each kept row, averaged)",
}
