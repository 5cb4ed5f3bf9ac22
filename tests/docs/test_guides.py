"""The guides are followed to the letter in a copy of the project: files written, edits made, checks run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
COPIED = ("jepa_vlm", "tests", "recipes", "docs", "pyproject.toml")
BLOCK = re.compile(r'```(python|diff|toml) title="([^"]+)"\n(.*?)```', re.DOTALL)
CHECK = re.compile(r"```bash\n(pytest [^\n]+)\n```")
INSTALL = re.compile(r"```bash\npip install ([^\n]+)\n```")
OFFLINE = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet")


def apply_edit(text: str, edit: str) -> str:
    """Add and remove lines where a diff without line numbers shows them: below the line above or above the first."""
    lines, at = text.splitlines(), -1
    for row in edit.splitlines():
        mark, line = row[0], row[1:]
        if mark == "+":
            at = lines.index(_first_shown(edit)) if at < 0 else at
            lines.insert(at, line)
        else:
            at = lines.index(line, max(at, 0))
            if mark == "-":
                del lines[at]
                continue
        at += 1
    return "\n".join(lines) + "\n"


def _first_shown(edit: str) -> str:
    return next(row[1:] for row in edit.splitlines() if row[0] != "+")


def test_an_edit_goes_where_it_shows():
    text = "a\nb\nc\nd\n"
    assert apply_edit(text, " b\n+x\n") == "a\nb\nx\nc\nd\n"
    assert apply_edit(text, "+x\n+y\n c\n+z\n") == "a\nb\nx\ny\nc\nz\nd\n"
    assert apply_edit(text, " a\n+x\n d\n+y\n") == "a\nx\nb\nc\nd\ny\n"
    assert apply_edit(text, "-b\n+x\n+y\n") == "a\nx\ny\nc\nd\n"
    with pytest.raises(ValueError, match="is not in list"):
        apply_edit(text, " q\n+x\n")


@pytest.mark.slow
@pytest.mark.parametrize("guide", ["adding_a_loss", "adding_a_format", "adding_an_adapter"])
def test_a_guide_can_be_followed(guide, tmp_path):
    text = (PROJECT / "docs" / f"{guide}.md").read_text(encoding="utf-8")
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    blocks, checks = BLOCK.findall(text), CHECK.findall(text)
    assert len(blocks) >= 3
    assert len(checks) == 1
    for kind, name, body in blocks:
        path = tmp_path / name
        if kind != "diff":
            assert not path.exists(), f"{name} exists already; the guide needs another example"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, encoding="utf-8")
        else:
            path.write_text(apply_edit(path.read_text(encoding="utf-8"), body), encoding="utf-8")
    command = [sys.executable, "-m", *shlex.split(checks[0])]
    site = tmp_path / "site"
    for package in INSTALL.findall(text):
        install = [sys.executable, "-m", "pip", "install", *OFFLINE, "--target", str(site), package]
        subprocess.run(install, cwd=tmp_path, check=True)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{site}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
