"""What an arm of training is worth on the pretrained tiny backbone: ``python -m benchmarks.learning``.

arms.py        the arms, and what all runs have in common
run.py         one run: train, then answer the same held-out questions as every other run
controls.py    blanked images, another example's trajectory
results.py     all runs put together, with intervals
page.py        the results as Markdown
"""
