from __future__ import annotations

import subprocess
from pathlib import Path

from jepa_vlm.evaluation import provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_commit_of_a_checkout_and_its_edits(tmp_path, monkeypatch):
    module = tmp_path / "package" / "evaluation" / "provenance.py"
    module.parent.mkdir(parents=True)
    module.write_text("first")
    monkeypatch.setattr(provenance, "__file__", str(module))
    assert provenance.commit() is None
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    assert provenance.commit() == git(tmp_path, "rev-parse", "HEAD")
    module.write_text("second")
    assert provenance.commit() == git(tmp_path, "rev-parse", "HEAD") + "-dirty"


def test_a_package_that_is_not_installed_is_recorded_as_such(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", {"nothing": "no-such-package-at-all"})
    assert provenance.versions()["nothing"] == "not installed"
