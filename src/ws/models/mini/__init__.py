"""The embedded model: a small transformer trained from scratch on a grammar, and all that it was trained and tested on.

lexicon: the words of its world. grammar: slots, capitals, verb forms. words: the fixed wording of its tasks.
personas: system turns and the foundations they stand for. turns: what is asked and answered. corpus: the seeded
stream of conversations. tokens: its tokenizer. training: `make mini`. write_items: its item sets and axis files.
exams: questions with exact answers. rule_reader: its text read by rule. weights/: what is shipped, with its card.

`models.recipe` names this package for the model "mini"; the library reaches it by that recipe.
"""
