from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from jepa_vlm.adapters import load_backbone
from jepa_vlm.report import decode_tokens, write_trajectory_page
from jepa_vlm.report.trajectory_page import TokenRun, token_runs
from jepa_vlm.serialization import Serializer
from jepa_vlm.views import Conversation, Question, Request, Slots, TokenizedView, stop_gradient


def view(kinds: str, *, images: str = "") -> TokenizedView:
    """Make a view: t trained, c context, i image, p slot; ``images`` says which image each i belongs to."""
    n = len(kinds)
    image_index = torch.full((n,), -1)
    image_index[torch.tensor([k == "i" for k in kinds])] = torch.tensor([int(i) for i in images], dtype=torch.long)
    return TokenizedView(
        input_ids=torch.arange(n),
        labels=torch.tensor([i if k == "t" else -100 for i, k in enumerate(kinds)]),
        text="",
        images=tuple(dict.fromkeys(int(i) for i in images)),
        slots=torch.tensor([k == "p" for k in kinds]),
        image_tokens=torch.tensor([k == "i" for k in kinds]),
        content=torch.ones(n, dtype=torch.bool),
        trajectory=torch.ones(n, dtype=torch.bool),
        image_rows=torch.full((n,), -1),
        image_index=image_index,
        positions=torch.zeros(1, n),
        readouts={},
    )


def test_images_and_slots_are_collapsed_text_is_not():
    runs = token_runs(view("ciiiicttpp", images="0011"), list("abcdefghij"))
    assert runs == [
        TokenRun("context", "a"),
        TokenRun("image", "image 0 ×2", 2),
        TokenRun("image", "image 1 ×2", 2),
        TokenRun("context", "f"),
        TokenRun("trained", "g"),
        TokenRun("trained", "h"),
        TokenRun("pred", "[PRED] ×2", 2),
    ]


def test_one_image_shown_twice_is_two_runs():
    runs = token_runs(view("iici", images="000"), list("abcd"))
    assert [(run.text, run.count) for run in runs] == [("image 0 ×2", 2), ("c", 1), ("image 0 ×1", 1)]


def test_line_ends_are_shown():
    assert token_runs(view("c"), ["end\n"]) == [TokenRun("context", "end↵", breaks=True)]


def test_texts_and_tokens_must_match():
    with pytest.raises(ValueError, match="3 tokens, 2 texts"):
        token_runs(view("ccc"), ["a", "b"])


def test_the_page_escapes_every_text(tmp_path, page, trajectory, evil):
    path = tmp_path / "page.html"
    shown = view("ctp")
    write_trajectory_page([(trajectory, {f"question {evil}": shown}, {f"question {evil}": [evil, evil, ""]})], path)
    found = page(path)
    found.check_self_contained()
    assert found.text.count("&lt;script&gt;") >= 6  # question, step, observation, task, view name, tokens
    assert found.text.count("<img ") == 2
    assert "3 tokens: 1 trained, 1 context, 0 image, 1 [PRED]" in found.text
    assert "crop({&#34;column&#34;: 2})" in found.text


def test_images_are_shown_where_they_stand_in_the_question(tmp_path, page, trajectory):
    asked = replace(trajectory, question="Is <image> this ?", image_places=(16,))
    shown = page(write_trajectory_page([(asked, {}, {})], tmp_path / "t.html")).text
    assert 'Is &lt;image&gt; this <span class="soft">[image 0]</span>?' in shown


def test_nothing_to_show_is_said(tmp_path, page):
    path = tmp_path / "page.html"
    write_trajectory_page([], path)
    assert "There is no trajectory to show" in page(path).text


def test_a_real_view(tmp_path, page, trajectory):
    from jepa_vlm import playground

    backbone = load_backbone("tiny-random-qwen2.5-vl", seed=0)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    (shown,) = playground.trajectories("visual-search", count=1, direct_share=0.0)
    encodings = [
        Request(Conversation(), policy=stop_gradient()),
        Request(Question(), policy=stop_gradient(), slots=Slots(owner="prediction", count=4)),
    ]
    views = dict(zip(["conversation", "question"], serializer.views(shown, encodings), strict=True))
    tokens = {name: decode_tokens(backbone.tokenizer, one) for name, one in views.items()}
    path = tmp_path / "page.html"
    write_trajectory_page([(shown, views, tokens)], path)
    text = page(path).text
    assert '<span class="token image">image 0 ×49</span>' in text
    assert '<span class="token image">image 1 ×9</span>' in text
    assert '<span class="token pred">[PRED] ×4</span>' in text
    assert f'<span class="token trained">{shown.answer}</span>' in text
