from __future__ import annotations

import huggingface_hub
import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation import load_benchmark
from jepa_vlm.evaluation.benchmarks import split_specs
from tests.suites import write_vstar

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_hub_data_set_is_fetched_at_its_commit_and_read_as_a_folder(tmp_path, monkeypatch):
    asked = {}

    def fetch(repo_id, **options):
        asked.update(options, repo_id=repo_id)
        return str(write_vstar(tmp_path))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert len(load_benchmark(f"vstar:craigwu/vstar_bench#revision={COMMIT}")) == 5
    assert (asked["repo_id"], asked["repo_type"], asked["revision"]) == ("craigwu/vstar_bench", "dataset", COMMIT)
    assert "test_questions.jsonl" in asked["allow_patterns"]


def test_an_unreachable_hub_is_one_message_for_a_benchmark(monkeypatch):
    def fetch(repo_id, **_):
        raise OSError("no route to host\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    with pytest.raises(DataError, match=r"at 0123456789ab: no route to host Check the id"):
        load_benchmark(f"vstar:craigwu/vstar_bench#revision={COMMIT}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vstar", r"vstar needs the place of its files: vstar:FOLDER, or vstar:craigwu/vstar_bench#revision=COMMIT"),
        ("mmvp:nowhere", r"Folder nowhere does not exist; .* pin its commit: mmvp:OWNER/NAME#revision=COMMIT"),
        ("blink:BLINK-Benchmark/BLINK#revision=main", "commit of 40 hex digits, .* got 'main'"),
        ("vstar:nowhere#labels=corrected", "vstar takes the options revision; got labels"),
    ],
)
def test_benchmark_locations_that_cannot_exist_are_refused(spec, message):
    with pytest.raises(DataError, match=message):
        load_benchmark(spec)


def test_a_list_of_benchmark_specs_is_split_at_commas():
    given = "vstar:/a,b/c,mmvp:/d#labels=corrected,blink:/e,playground:maze#direct=1,size=5-7,playground"
    assert split_specs(given) == [
        "vstar:/a,b/c",
        "mmvp:/d#labels=corrected",
        "blink:/e",
        "playground:maze#direct=1,size=5-7",
        "playground",
    ]


def test_a_count_draws_items_of_a_benchmark_by_seed(tmp_path):
    folder = write_vstar(tmp_path, direct=20, relative=20)
    drawn = load_benchmark(f"vstar:{folder}", count=10, seed=1)
    assert len({item.id for item in drawn}) == 10
    assert [i.id for i in drawn] == [i.id for i in load_benchmark(f"vstar:{folder}", count=10, seed=1)]
    assert [i.id for i in drawn] != [i.id for i in load_benchmark(f"vstar:{folder}", count=10, seed=2)]
    assert {item.task for item in drawn} == {"direct_attributes", "relative_position"}
