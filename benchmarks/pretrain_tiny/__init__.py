"""Pretraining of the bundled default model ``tiny-qwen2.5-vl`` on the playground's lessons."""
