"""Pretraining of the embedded backbone ``tiny-qwen2.5-vl`` on the playground's lessons."""
