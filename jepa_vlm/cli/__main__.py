"""``python -m jepa_vlm.cli``, which torchrun can start."""

from jepa_vlm.cli import main

main()
