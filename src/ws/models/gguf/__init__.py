"""A GGUF file as a model: read once through transformers, kept as safetensors, loaded from there ever after.

file_of finds the file that a name means; prepared makes the copy, under out/models/<hash of the file>, and checks it.
header reads what a file says of itself and refuses what cannot be loaded; pre_tokenizers holds the ways in which a text
is cut before byte pairs are merged, by the name that llama.cpp gives them.
"""
