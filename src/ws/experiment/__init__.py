"""The experiment: one round stage by stage, rounds in a row, and what they are compared with.

inputs: checks what a run reads, before anything is loaded. identity: what its numbers depend on. context: what every
round needs. progress: what a run says while it works. dose_search: the grid, and more texts where they decide the
knee. probes: what a search has measured. pipeline: one heal, from the filter to the report. controls: random
directions, personas, other trainings. rounds: the stages of one round. loop: `ws.run`, rounds in a row. workers: the
stages of a round side by side, in processes. train_variant: a stored run's texts trained at another beta. examples:
the runs that ship.
"""
