"""Print the steps of a command of the README, one per line: what CI runs is what the README says.

Usage: python readme_command.py NAME, for the bash block that follows `<!-- command: NAME -->`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def steps(name: str, text: str) -> list[str]:
    """Return the steps, joined by && in the README, of the named command.

    Raises:
        ValueError: If the README has not exactly one such block.
    """
    blocks = re.findall(rf"<!-- command: {re.escape(name)} -->\n+```bash\n(.*?)```", text, re.DOTALL)
    if len(blocks) != 1:
        raise ValueError(f"README.md must have one bash block marked `<!-- command: {name} -->`, found {len(blocks)}.")
    return [step.strip() for step in blocks[0].replace("\\\n", " ").split("&&")]


if __name__ == "__main__":
    sys.stdout.write("\n".join(steps(sys.argv[1], README.read_text(encoding="utf-8"))) + "\n")
