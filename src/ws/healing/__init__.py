"""The heal step: an adapter trained on kept completions, so that it carries the trait without the steering.

config: the settings of a heal. dataset: texts to rows of token ids, and their split. target_modules: which weights
are trained. divergences: the barriers, KL per position and how it becomes one number. barrier: that KL beside the
loss. trainable: the adapter in training. training_step: one optimiser step over the references. training: `ws.heal`,
the loop and its curve. baking: `ws.bake` and `ws.export`, adapters merged into weights.
"""
