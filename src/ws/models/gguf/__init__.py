"""A GGUF file as a model: read once through transformers, kept as safetensors, loaded from there ever after.

preparing: the file that a name means, and its copy under out/models/<hash>, checked. header: what a file says of
itself, and what is refused before anything is unpacked. unpacking: weights and tokenizer, through transformers.
pre_tokenizers: the ways in which a text is cut before byte pairs are merged, by the name that llama.cpp gives them.
writing: a small GGUF file for llama.cpp.
"""
