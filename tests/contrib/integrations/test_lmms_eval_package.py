"""lmms-eval itself, as released: its own Qwen2.5-VL on an exported folder, and the plug-in. Ran with 0.7.3."""

from __future__ import annotations

import base64
import io
import json

import pytest

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed; docs/integrations.md says how")

from lmms_eval import evaluator
from lmms_eval.models import get_model
from lmms_eval.tasks import TaskManager

from jepa_vlm import load_backbone, playground
from jepa_vlm.generation.answering import ANSWERINGS, Answering

TASK = """
task: local_search
dataset_path: json
dataset_kwargs: {data_files: {test: ITEMS}}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.to_visual
doc_to_text: !function utils.to_text
doc_to_target: answer
process_results: !function utils.process_results
generation_kwargs: {max_new_tokens: 4, temperature: 0, do_sample: false}
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
UTILS = """
import base64, io
from PIL import Image


def to_visual(doc):
    return [Image.open(io.BytesIO(base64.b64decode(doc["image"]))).convert("RGB")]


def to_text(doc, lmms_eval_specific_kwargs=None):
    return doc["prompt"]


def process_results(doc, results):
    return {"acc": float(results[0].strip()[:1].upper() == doc["answer"])}
"""
ITEMS = playground.questions("visual-search", count=3)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    rows = []
    for item in ITEMS:
        held = io.BytesIO()
        item.images[0].load().save(held, "PNG")
        picture = base64.b64encode(held.getvalue()).decode()
        rows.append({"prompt": item.prompt, "answer": item.letters[item.answer], "image": picture})
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "utils.py").write_text(UTILS)
    (folder / "local_search.yaml").write_text(TASK.replace("ITEMS", str(folder / "items.jsonl")))
    return TaskManager(include_path=str(folder), include_defaults=False)


def answers(model, arguments, tasks):
    """What lmms-eval's samples hold, in the items' order, and the accuracy that it computed."""
    found = evaluator.simple_evaluate(
        model=model,
        model_args=arguments,
        tasks=["local_search"],
        task_manager=tasks,
        batch_size=2,
        device="cpu",
        log_samples=True,
    )
    samples = sorted(found["samples"]["local_search"], key=lambda one: one["doc_id"])
    held = [sample["resps"] for sample in samples]
    return [_flat(one) for one in held], found["results"]["local_search"]["acc,none"]


def _flat(held):
    while not isinstance(held, str):
        held = held[0]
    return held


def test_the_entry_point_is_found():
    assert get_model("jepa_vlm").__module__ == "jepa_vlm.contrib.integrations.lmms_eval_model"


def test_the_plug_in_gives_the_librarys_own_answers(exported, tasks):
    said, accuracy = answers("jepa_vlm", f"pretrained={exported}", tasks)
    assert said == ANSWERINGS["plain"].texts(load_backbone(str(exported)), ITEMS, max_new_tokens=4)
    right = [text.strip()[:1].upper() == item.letters[item.answer] for text, item in zip(said, ITEMS, strict=True)]
    assert accuracy == pytest.approx(sum(right) / len(right))


def test_the_plug_in_answers_as_the_folder_says(exported, tasks, monkeypatch):
    asked = []

    class Scripted(Answering):
        name = "scripted"

        def texts(self, backbone, items, *, max_new_tokens):
            asked.append(([item.prompt for item in items], max_new_tokens))
            return [item.letters[item.answer] for item in ITEMS if item.prompt in asked[-1][0]]

    monkeypatch.setitem(ANSWERINGS._filed, "scripted", Scripted())
    (exported / "inference.json").write_text('{"inference": "scripted"}')
    try:
        said, accuracy = answers("jepa_vlm", f"pretrained={exported}", tasks)
    finally:
        (exported / "inference.json").unlink()
    assert said == [item.letters[item.answer] for item in ITEMS]
    assert accuracy == 1
    assert [len(prompts) for prompts, _ in asked] == [2, 1]
    assert {limit for _, limit in asked} == {4}


def test_its_own_model_runs_the_folder_without_this_package(exported, tasks):
    said, accuracy = answers(
        "qwen2_5_vl", f"pretrained={exported},min_pixels=256,max_pixels=50176,device_map=cpu", tasks
    )
    assert len(said) == len(ITEMS)
    assert all(said)
    assert 0 <= accuracy <= 1
