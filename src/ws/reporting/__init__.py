"""Reporting: a run's stored files as tables, pictures and pages. Only mini_card needs a model.

terminal: what `ws run` and `ws show` print. tables: frames as notebooks show them. charts/: altair charts, one file
each. journal/: the page of a run and its entry in RESEARCH_JOURNAL.md. leaderboard: arms over runs. run_diff: two
runs side by side. mini_card: the embedded model's card, which measures that model.
"""
