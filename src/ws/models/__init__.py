"""Models: a causal LM by its structure, with its chat template, its cache and its recipe.

lm: `ws.load_model` and the LM. loading: from a name to files, device and dtype. architecture: blocks, body and head,
found by structure. chat: turns to token ids. recipe: what differs between models. batching: rows of ids, padded,
shared beginnings once. kv_cache: a cache that grows in place. attachments: what is attached at this moment, private
copies. setting_names: settings whose values are names. adapters/: PEFT adapters. mini/: the embedded model.
"""
