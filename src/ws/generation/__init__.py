"""Generation: what a model writes under a dose, and what that cost in probability.

sampling: the dice, noise as a function of seed, prompt, sample and step. rollout: a row and its history.
decode_batch: the rows that share a cache, token by token. decoding: `ws.decode`, the loop over batches. tracing:
`ws.trace`, log-probabilities under steering and under the base. completions: `ws.generate`, all of it as a frame.
"""
