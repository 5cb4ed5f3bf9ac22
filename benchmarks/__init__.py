"""Measurements that run from the checkout; the wheel does not contain them.

step/            what a training step costs: ``python -m benchmarks.step``
inference/       what an answer costs: ``python -m benchmarks.inference``
learning/        recipes compared on the playground over several seeds
pretrain_tiny/   the pretraining of the bundled model
results/         records of the step suite, with a page of their tables
"""
