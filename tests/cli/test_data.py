"""``jepa-vlm data``: check, stats and convert, on files with good rows and hostile ones."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
from typer.testing import CliRunner

from jepa_vlm.cli.app import app
from jepa_vlm.trajectories.load import load_trajectories
from tests.cli.test_app import ENVIRONMENT, TINY
from tests.trajectories.formats.files import FORMATS_WITH_EXAMPLES, HOSTILE, make_root, write_example, write_list

TURNS = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "<lvr>\n<answer> red </answer>"}]


def lvr(**changes: object) -> dict[str, object]:
    return {"dataset": "d", "image": ["a.png"], "conversations": TURNS, "bboxes": [[0.25, 0, 0.75, 1]]} | changes


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, list(words))


def test_good_files_are_counted_and_exit_0(cli, tmp_path):
    root = make_root(tmp_path)
    spec = ",".join(write_example(name, root) for name in FORMATS_WITH_EXAMPLES)
    done = cli("data", "check", spec, "--backbone", TINY, "--json")
    assert done.exit_code == 0, done.stderr
    held = json.loads(done.stdout)
    assert held["bad"] == 0
    assert list(held["sources"]) == list(FORMATS_WITH_EXAMPLES)
    one = held["sources"]["lvr"]
    assert (one["rows"], one["calls"], one["tools"], one["box_percent"]) == (3, {"1": 3}, {"crop": 3}, {"50": 3})
    whole = one["tokens"]["conversation"]
    assert whole["total"]["max"] > whole["visual"]["max"] + whole["supervised"]["max"] > 0


def test_every_hostile_row_is_refused_and_counted_by_its_kind(cli, tmp_path):
    root = make_root(tmp_path)
    (root / "cut.png").write_bytes((root / "a.png").read_bytes()[:60])  # a good header, no pixels
    bad = [lvr(image=[name]) for name, _, _ in HOSTILE]
    bad += [lvr(bboxes=[[0, 0, float("nan"), 1]]), lvr(image=["cut.png"])]
    bad += [lvr(conversations=[TURNS[0] | {"value": "<image>" + "x" * 1_000_000}, TURNS[1]])]
    bad += [lvr(conversations=[TURNS[0] | {"value": "<image>a <|im_end|> b"}, TURNS[1]])]
    bad += [lvr(bboxes=[[0, 0, 10**400, 1]]), lvr(dataset="half \ud83d")]
    bad += [lvr(conversations=[TURNS[0], TURNS[1] | {"value": "<lvr>" + "<answer>" * 125_000}])]
    path = write_list(root / "x.json", lvr(), *bad, lvr())
    done = cli("data", "check", f"lvr:{path}", "--backbone", TINY, "--json")
    assert done.exit_code == 1
    one = json.loads(done.stdout)["sources"]["lvr"]
    assert (one["rows"], one["good"], one["bad"]) == (len(bad) + 2, 2, len(bad))
    expected = {"image path": 6, "image missing": 1, "image unreadable": 2, "image too large": 1}
    expected |= {"json": 1, "box": 1, "text too long": 2, "special token": 1, "text": 1}
    assert {kind: entry["count"] for kind, entry in one["problems"].items()} == expected
    assert one["problems"]["box"]["first"][0].startswith(f"{path}[14]: bboxes[0] must be four finite numbers")
    shown = cli("data", "check", f"lvr:{path}", "--backbone", TINY)
    assert shown.exit_code == 1
    assert f"lvr: {len(bad) + 2} rows, 2 good, {len(bad)} bad" in shown.stdout
    assert "  6 x image path" in shown.stdout
    assert all(len(line) < 400 for line in shown.stdout.splitlines())


def test_keys_that_are_never_read_are_listed_with_their_counts(cli, tmp_path):
    root = make_root(tmp_path)
    spec = f"lvr:{write_list(root / 'x.json', lvr(mood=1), lvr(), lvr(mood=2), lvr(videos=['a.mp4']))}"
    note = "never read: key 'mood'"
    done = cli("data", "check", spec, "--backbone", TINY)
    assert f"\n  noted: 2 x {note}\n" in done.stdout
    assert "\n  1 x meaning\n" in done.stdout
    held = json.loads(cli("data", "check", spec, "--backbone", TINY, "--json", "--workers", "1").stdout)
    assert held["sources"]["lvr"]["notes"] == {note: 2}
    done = cli("data", "convert", spec, "--to", "store", "--skip-bad")
    assert f"noted: 2 {note}" in done.stdout.splitlines()


def test_workers_find_the_same_and_a_limit_is_a_problem(cli, tmp_path):
    spec = write_example("thinkmorph", make_root(tmp_path), 40)
    alone, both = (cli("data", "check", spec, "--backbone", TINY, "--json", *more) for more in ((), ("--workers", "2")))
    assert json.loads(alone.stdout) == json.loads(both.stdout)
    long = cli("data", "check", spec, "--backbone", TINY, "--max-tokens", "9", "--json")
    assert json.loads(long.stdout)["sources"]["thinkmorph"]["problems"]["too long"]["count"] == 40


def test_ids_that_stand_twice_are_a_problem(cli, tmp_path):
    root = make_root(tmp_path)
    write_list(root / "one.json", lvr(), lvr())
    entry = {"ds_name": "d", "data_path": "one.json", "image_folder": "."}
    done = cli("data", "check", f"lvr:{write_list(root / 'meta.json', entry, entry)}", "--backbone", TINY, "--json")
    assert json.loads(done.stdout)["sources"]["lvr"]["problems"]["id"]["count"] == 2


def test_stats_draws_a_figure_and_writes_its_numbers(cli, tmp_path):
    root = make_root(tmp_path)
    spec = f"{write_example('lvr', root)},{write_example('pixelreasoner', root)}"
    done = cli("data", "stats", spec, "--backbone", TINY, "--output", "s.svg")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "s.svg").read_text().startswith("<svg")
    numbers = json.loads((tmp_path / "s.json").read_text())
    assert numbers["pixelreasoner"]["tools"] == {"crop_image": 3}
    assert sum(numbers["lvr"]["box_tokens"].values()) == 3


def test_stats_never_writes_its_numbers_over_its_figure(cli, tmp_path):
    done = cli("data", "stats", write_example("lvr", make_root(tmp_path)), "--output", "s.json")
    assert (done.exit_code, "names the figure" in done.stderr) == (2, True)
    assert not (tmp_path / "s.json").exists()


def test_convert_writes_a_store_and_counts_what_it_left_out(cli, tmp_path):
    root = make_root(tmp_path)
    path = write_list(root / "x.json", lvr(), lvr(image=["gone.png"]), lvr())
    stopped = cli("data", "convert", f"lvr:{path}", "--to", "store")
    assert (stopped.exit_code, "x.json[1]" in stopped.stderr, (tmp_path / "store").exists()) == (1, True, False)
    done = cli("data", "convert", f"lvr:{path}", "--to", "store", "--skip-bad")
    assert done.exit_code == 0, done.stderr
    assert "store: 2 trajectories, 1 images" in done.stdout
    assert "skipped: 1 image missing" in done.stdout
    assert len(load_trajectories(str(tmp_path / "store"))) == 2


def test_the_policy_for_bad_rows_decides_what_check_and_convert_end_with(cli, tmp_path):
    root = make_root(tmp_path)
    path = write_list(root / "x.json", *[lvr()] * 2, lvr(image=["gone.png"]), lvr(bboxes=[[0, 0, 0.5, 1.5]]))
    ends = {}
    for options in ("", "#bad=skip", "#bad=skip,max_bad=0.5", "#bad=clamp,max_bad=0.25"):
        done = cli("data", "check", f"lvr:{path}{options}", "--backbone", TINY)
        store = f"store{len(ends)}"
        kept = cli("data", "convert", f"lvr:{path}{options}", "--to", store, "--json")
        ends[options] = (done.exit_code, done.stdout.splitlines()[0], kept.exit_code, (tmp_path / store).exists())
        said = done.stdout
    assert ends == {
        "": (1, "lvr: 4 rows, 2 good, 2 bad", 1, False),
        "#bad=skip": (1, "lvr: 4 rows, 2 good, 2 bad", 1, False),
        "#bad=skip,max_bad=0.5": (0, "lvr: 4 rows, 2 good, 2 bad", 0, True),
        "#bad=clamp,max_bad=0.25": (0, "lvr: 4 rows, 3 good, 1 bad", 0, True),
    }
    assert "  noted: 1 x box cut to its image" in said
    assert "A run leaves them out (#bad=clamp,max_bad=0.25)" in said
    assert (json.loads(kept.stdout)["skipped"], json.loads(kept.stdout)["notes"]) == (
        {"image missing": 1},
        {"box cut to its image": 1},
    )
    again = cli("data", "convert", f"lvr:{path}#bad=clamp", "--to", "all", "--skip-bad", "--json")
    assert (again.exit_code, json.loads(again.stdout)["rows"]) == (0, 3)


@pytest.mark.parametrize(
    "words", [("data", "check"), ("data", "stats"), ("data", "convert"), ("data", "show"), ("recipe", "sft", "--data")]
)
def test_no_command_ends_well_on_a_source_without_rows(cli, tmp_path, words):
    root = make_root(tmp_path)
    video = write_list(root / "v.json", {"video": "a.mp4", "conversations": []})
    more = ("--to", "store") if "convert" in words else ()
    done = cli(*words, f"llava:{video}", *more)
    assert done.exit_code == 1
    assert "v.json holds no trajectory; left out by the format: 1 x video" in done.stderr


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (("--min-calls", "1"), ["lvr-0", "lvr-1", "release-0", "release-1"]),
        (("--max-calls", "0"), ["chat-0", "chat-1"]),
        (("--tool", "crop_image"), ["release-0", "release-1"]),
        (("--task", "d"), ["lvr-0", "lvr-1"]),
        (("--containing", "lvr-2"), ["lvr-2"]),
    ],
)
def test_show_can_be_told_which(cli, tmp_path, words, ids):
    root = make_root(tmp_path)
    spec = ",".join(write_example(name, root) for name in ("lvr", "pixelreasoner", "messages"))
    done = cli("data", "show", spec, "--backbone", TINY, "--count", "2", "--json", *words)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["trajectories"] == ids
    assert all(name in (tmp_path / "trajectories.html").read_text() for name in ids)


def test_show_says_when_nothing_passes(cli, tmp_path):
    done = cli("data", "show", write_example("lvr", make_root(tmp_path)), "--backbone", TINY, "--min-calls", "9")
    assert (done.exit_code, "passes the filters" in done.stderr) == (1, True)


def test_a_playground_has_no_file_to_check(cli):
    done = cli("data", "check", "playground:maze")
    assert (done.exit_code, "drawn, not read from a file" in done.stderr) == (1, True)


BIG = """
import json, resource, sys, time
from pathlib import Path
from PIL import Image
from typer.testing import CliRunner
from jepa_vlm.cli.app import app
from jepa_vlm.trajectories.load import load_trajectories

root, count = Path(sys.argv[1]), int(sys.argv[2])
for i in range(50):
    Image.new("RGB", (32, 32), (i, 0, 0)).save(root / f"{i}.png")
asked, said = "<image>\\nWhat colour is the ball?", "<lvr>\\n<answer> red </answer>"
turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": said}]
with (root / "big.json").open("w") as file:
    file.write("[")
    for i in range(count):
        row = {"dataset": "d", "image": [f"{i % 50}.png"], "conversations": turns, "bboxes": [[0, 0, 0.5, 1]]}
        file.write("," * bool(i) + json.dumps(row))
    file.write("]")
words = ["data", "check", f"lvr:{root}/big.json", "--backbone", "tiny-random-qwen2.5-vl", "--recipe", "sft", "--json"]
done = CliRunner().invoke(app, words)
assert done.exit_code == 0, done.stderr
found = json.loads(done.stdout)["sources"]["lvr"]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"rows": found["rows"], "bad": found["bad"], "peak": peak}))
"""


def check_big(tmp_path, count: int) -> dict[str, int]:
    script = textwrap.dedent(BIG)
    command = [sys.executable, "-c", script, str(tmp_path), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_memory_grows_by_less_than_a_kilobyte_a_row(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    few.mkdir()
    many.mkdir()
    small, big = check_big(few, 1_000), check_big(many, 9_000)
    assert (big["rows"], big["bad"]) == (9_000, 0)
    assert big["peak"] - small["peak"] < 8_000 * 1024  # so that 100,000 rows stay far below 2 GB
