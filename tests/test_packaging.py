"""What is installed: the public names, the wheel, the editable install, and what may not be in the repository."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from pathspec import GitIgnoreSpec

import jepa_vlm as jv

PROJECT = Path(__file__).resolve().parents[1]
LONGEST_FILE = 400
PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RECIPES = {path.name for path in (PROJECT / "recipes").glob("*.py")}
FIND_RECIPES = """
import jepa_vlm, pathlib
from jepa_vlm.recipe import list_recipes
assert "torch" not in __import__("sys").modules
print(pathlib.Path(jepa_vlm.__file__).parent)
print(list_recipes()[0].path.parent)
print(*[recipe.path.name for recipe in list_recipes()])
print(jepa_vlm.load_recipe("pearl", tokens=8).published.rank)
"""


def python(code: str, *, path: str, folder: Path) -> list[str]:
    """The lines that a fresh interpreter prints, away from the checkout and its PYTHONPATH."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def tracked() -> list[Path]:
    """Files that are, or would be, in the repository; where git is not, all that .gitignore does not name."""
    if not (PROJECT / ".git").exists() or shutil.which("git") is None:
        ignored = GitIgnoreSpec.from_lines([*(PROJECT / ".gitignore").read_text().splitlines(), ".git/"])
        return [PROJECT / name for name in ignored.match_tree_files(PROJECT, negate=True)]
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return [path for line in listed.stdout.splitlines() if (path := PROJECT / line).is_file()]


@pytest.mark.parametrize("name", jv.__all__)
def test_every_public_name_resolves(name):
    assert getattr(jv, name) is not None


def test_the_lists_of_public_names_agree():
    assert len(set(jv.__all__)) == len(jv.__all__)
    lazy = set(jv._HOMES) | {"__version__"}
    assert set(jv.__all__) == lazy
    assert set(dir(jv)) == lazy
    tree = ast.parse(Path(jv.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        name.asname or name.name for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert typed | {"__version__"} == lazy


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = jv.nonsense


def test_importing_the_package_imports_nothing_heavy(tmp_path):
    code = "import sys, jepa_vlm; print(*{'torch', 'transformers', 'peft', 'numpy', 'PIL'} & set(sys.modules))"
    assert python(code, path=str(PROJECT), folder=tmp_path) == [""]


def test_package_versions_agree():
    assert PROJECT_TABLE["version"] == jv.__version__
    assert jv.__version__ in (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_requirement_is_pinned_to_a_version_that_satisfies_it():
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    groups = [PROJECT_TABLE["dependencies"], *PROJECT_TABLE["optional-dependencies"].values()]
    wanted = [Requirement(text) for group in groups for text in group if not text.startswith("jepa-vlm[")]
    assert {need.name for need in wanted} <= set(pins)
    assert not [str(need) for need in wanted if not need.specifier.contains(pins[need.name])]
    assert all(re.fullmatch(r"[\d.]+", version) for version in pins.values())


def test_no_file_is_too_long():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in tracked() if path.suffix == ".py"}
    assert len(lengths) > 50
    assert not {str(path): length for path, length in lengths.items() if length > LONGEST_FILE}


def test_no_file_names_a_machine_or_a_registry():
    # Put together from pieces, so that this file does not match itself.
    folders = [f"/{name}/" for name in ("work", "root", "farm", "home")]
    patterns = [
        *folders,
        "/tmp/" + "venv",
        "/opt/" + "wheels",
        "/opt/" + "pypi",
        "--index" + "-url",
        "files.python" + "hosted",
    ]
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path.relative_to(PROJECT)}: {pattern}" for pattern in patterns if pattern in text]
    assert not found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel as pip builds it, with the build backend that is installed."""
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling, which the extra `test` installs")
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(PROJECT)], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    held = {name for name in names if ".dist-info/" not in name}
    package = {p for path in tracked() if (p := str(path.relative_to(PROJECT))).startswith("jepa_vlm/")}
    assert held == package | {f"jepa_vlm/_recipes/{name}" for name in RECIPES}
    assert {"jepa_vlm/report/templates/run.html", "jepa_vlm/py.typed"} <= held
    assert [name for name in names if name.endswith("licenses/LICENSE")]


@pytest.mark.slow
def test_the_wheel_finds_its_recipes(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    package, recipes, names, rank = python(FIND_RECIPES, path=str(tmp_path / "site"), folder=tmp_path)
    assert Path(package) == tmp_path / "site" / "jepa_vlm"
    assert Path(recipes) == tmp_path / "site" / "jepa_vlm" / "_recipes"
    assert set(names.split()) == RECIPES
    assert rank == "64"


@pytest.mark.slow
def test_an_editable_install_reads_the_recipes_of_the_checkout(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("an editable install needs hatchling, which the extra `test` installs")
    build = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=PROJECT, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(built).extractall(tmp_path / "site")
    start = f"import site; site.addsitedir({str(tmp_path / 'site')!r})\n"
    package, recipes, names, rank = python(start + FIND_RECIPES, path="", folder=tmp_path)
    assert Path(package) == PROJECT / "jepa_vlm"
    assert Path(recipes) == PROJECT / "recipes"
    assert set(names.split()) == RECIPES
    assert rank == "64"


def test_every_import_is_declared_and_extras_are_imported_late():
    names = {"PIL": "pillow", "huggingface_hub": "huggingface-hub", "sklearn": "scikit-learn"}
    required = {Requirement(text).name for text in PROJECT_TABLE["dependencies"]}
    extras = {
        Requirement(text).name
        for extra in ("data", "eval", "report", "analysis")
        for text in PROJECT_TABLE["optional-dependencies"][extra]
    }
    host = {"lmms_eval", "tqdm"}  # a plug-in is imported by the program that it is for
    for path in sorted((PROJECT / "jepa_vlm").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                root = module.partition(".")[0]
                if root in sys.stdlib_module_names or root == "jepa_vlm":
                    continue
                if root in host and path.name.startswith("lmms_eval_"):
                    continue
                name = names.get(root, root)
                assert name in required | extras, f"{path}: {module} is not declared in pyproject.toml"
                assert name in required or node not in tree.body, (
                    f"{path}: {module} belongs to an extra; import it late"
                )
