"""The suite: what a training step costs, counted and timed, against stock and released ones, and what an answer does.

shapes.py, mixes.py    backbones and data of real sizes, made on the spot
variants.py            the steps that are compared; stock.py and released.py hold the baselines
count.py, timing.py    what a step does, and how long it takes, by phase; idle.py sees a GPU wait
suite.py               all of it as one record, plain JSON
inference.py           what an answer costs, by way of answering
against.py             two records compared
"""
