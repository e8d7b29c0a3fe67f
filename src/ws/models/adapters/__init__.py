"""Adapters: what a heal leaves behind, a plain PEFT folder that is put on a model and taken off again.

families: one entry per family, the PEFT config and the weight that it makes. adapter: the Adapter, loaded, saved,
checked against a model. peft_layers: PEFT's own layers in a model. attaching: adapters on a model for the length of a
block.

A new family is an entry of `FAMILIES`.
"""
