"""The step suite: what a training step costs, counted and timed, against stock and released steps.

training_step.py              one step with its phases
variants.py, baselines.py     the steps that are compared
counting.py, timing.py        work and memory of a step, and its time
closed_form.py                the least FLOPs of an exact step
suite.py, records.py          a run of the suite as one record; records read, merged and compared
page.py                       a page of records
"""
