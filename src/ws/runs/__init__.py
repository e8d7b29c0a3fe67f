"""Runs: the configuration of a run, its stages, its folder, and what is read back from it.

config: one tree of dataclasses. recipes: whole configurations. stages: the stages of a round, one table. environment:
versions, device, commit. writer: the folder, filled stage by stage under a lock. artifacts: one file of a stage, by
suffix. reader: the folder read back. arms: reports to the table of arms. evidence_rows: the rows and samples that
gates name. verdicts: `ws.judge`. round_tables: rounds as frames. heal_variants: trainings at other betas beside a
run. summary: a run in a few numbers. ledger: out/results.tsv.
"""
