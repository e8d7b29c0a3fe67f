"""The filter step: which completions are coherent, and which enact the trait rather than talk about it.

phrases: regular expressions of narration and of refusal. scores: `ws.score`, what each completion's text and
log-probabilities say. limits: `ws.keep` and `ws.reasons`, thresholds as views of the scored frame.

A threshold removes nothing from the frame: it marks rows with the reason for which they are dropped.
"""
