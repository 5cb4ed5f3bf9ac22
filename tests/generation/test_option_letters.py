from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image

from jepa_vlm.adapters import load_backbone
from jepa_vlm.errors import BackboneError
from jepa_vlm.generation import SCORINGS, Plain, answer_letters, answers_by_scoring, option_letters
from jepa_vlm.generation.greedy import prompt_inputs, user_turn
from jepa_vlm.generation.letters import letter_tokens
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import NextToken
from jepa_vlm.trajectories import LazyImage, MultipleChoice, Step, Trajectory


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny-random-qwen2.5-vl", seed=0)


def item(name: str, *, prompt: str = "color ? A red B blue", options=("red", "blue"), sizes=((112, 112),), color="red"):
    images = tuple(LazyImage(pixels=Image.new("RGB", size, color)) for size in sizes)
    return MultipleChoice(id=name, images=images, prompt=prompt, options=options, answer=0)


def inputs_of(backbone, items):
    turns = [[user_turn(one.prompt, [image.load() for image in one.images])] for one in items]
    return prompt_inputs(backbone, turns)


ITEMS = [
    item("short"),
    item(
        "long", prompt="which of the shapes is left of the red square ? A red B blue C green", options=("r", "b", "g")
    ),
    item("two images", sizes=((112, 112), (48, 48)), color="blue"),
    item("small", sizes=((64, 48),), color="green"),
]


@pytest.mark.parametrize("scoring", ["letter-logits", "short", "free"])
def test_batching_changes_no_answer(backbone, scoring):
    alone = [answer_letters(backbone, [one], scoring=scoring)[0] for one in ITEMS]
    assert answer_letters(backbone, ITEMS, scoring=scoring, batch_size=3) == alone
    assert [answer.id for answer in alone] == [one.id for one in ITEMS]


def test_padded_logits_equal_unpadded_ones(pure_float64):
    backbone = load_backbone("tiny-random-qwen2.5-vl", seed=0, dtype="float64")
    with torch.inference_mode():
        padded = backbone.model(**inputs_of(backbone, ITEMS), logits_to_keep=1).logits[:, -1]
        alone = [backbone.model(**inputs_of(backbone, [one])).logits[0, -1] for one in ITEMS]
    torch.testing.assert_close(padded, torch.stack(alone), rtol=1e-9, atol=1e-9)


def test_short_agrees_with_letter_logits_and_only_says_offered_letters(backbone):
    logits = answer_letters(backbone, ITEMS, scoring="letter-logits")
    short = answer_letters(backbone, ITEMS, scoring="short")
    assert [a.letter for a in short] == [a.letter for a in logits]
    assert all(a.letter in one.letters for a, one in zip(short, ITEMS, strict=True))


@pytest.mark.parametrize("scorings", [SCORINGS, SCORINGS[:2], ("free", "letter-logits")])
def test_scorings_share_one_reading_of_the_prompt(backbone, scorings):
    alone = {name: answer_letters(backbone, ITEMS, scoring=name, max_new_tokens=5) for name in scorings}
    tower, read = backbone.adapter.vision(backbone.base), []
    handle = tower.register_forward_hook(lambda *_: read.append(1))
    together = answers_by_scoring(backbone, ITEMS, scorings=scorings, max_new_tokens=5)
    handle.remove()
    assert (together, list(together)) == (alone, list(scorings))
    assert len(read) == 1


def test_letter_logits_takes_the_likeliest_option_letter(backbone, monkeypatch):
    ids = [own[0] for own in letter_tokens(backbone, ("A", "B", "C")).values()]
    monkeypatch.setattr(type(backbone.model), "forward", lambda self, input_ids, **_: SimpleNamespace(logits=logits))
    logits = torch.zeros(2, 1, len(backbone.tokenizer))
    logits[0, 0, ids] = torch.tensor([1.0, 2.0, 9.0])  # C is likeliest, but not offered by an item with two options
    logits[1, 0, ids] = torch.tensor([1.0, 2.0, 9.0])
    assert [a.letter for a in answer_letters(backbone, ITEMS[:2])] == ["B", "C"]


def test_the_checkpoints_own_sampling_settings_play_no_part(backbone):
    before = answer_letters(backbone, ITEMS, scoring="free", max_new_tokens=6)
    settings = backbone.model.generation_config
    own = {name: getattr(settings, name) for name in ("do_sample", "temperature", "top_k", "repetition_penalty")}
    settings.update(do_sample=True, temperature=5.0, top_k=1000, repetition_penalty=9.0)
    try:
        assert answer_letters(backbone, ITEMS, scoring="free", max_new_tokens=6) == before
    finally:
        settings.update(**own)


def test_free_parses_what_was_generated_and_keeps_the_text(backbone, monkeypatch):
    said = backbone.tokenizer.encode("<answer>B</answer>", add_special_tokens=False)

    def generate(self, input_ids, **settings):
        assert settings["max_new_tokens"] == 7
        return torch.cat([input_ids, torch.tensor([said] * len(input_ids))], dim=1)

    monkeypatch.setattr(type(backbone.model), "generate", generate)
    (answer,) = answer_letters(backbone, ITEMS[:1], scoring="free", max_new_tokens=7)
    assert (answer.letter, answer.text) == ("B", "<answer>B</answer>")


def test_modes_are_restored_and_training_goes_on(backbone):
    model = backbone.model
    model.train()
    frozen = model.get_submodule("model.visual").eval()
    try:
        answer_letters(backbone, ITEMS[:2], scoring="short")
        assert model.training
        assert not any(module.training for module in frozen.modules())
        model(**inputs_of(backbone, ITEMS[:2])).logits.sum().backward()
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()


@pytest.mark.parametrize("scoring", ["letter-logits", "short", "free"])
def test_runs_on_half_precision_with_float32_adapters(scoring):
    backbone = load_backbone("tiny-random-qwen2.5-vl", seed=0, dtype="bfloat16")
    config = LoraConfig(r=2, target_modules=r".*language_model\..*q_proj")
    backbone.model = get_peft_model(backbone.model, config, autocast_adapter_dtype=False)
    for name, parameter in backbone.model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    for module in backbone.model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
    assert len(answer_letters(backbone, ITEMS, scoring=scoring, max_new_tokens=3)) == len(ITEMS)


@pytest.fixture(scope="module")
def smolvlm():
    """Behind its "Assistant:", A to D are one token with the blank ahead, and E and F begin with the blank alone."""
    return load_backbone("tiny-random-smolvlm", seed=0)


SIX = item("six", options=tuple("uvwxyz"), sizes=((56, 56),))


def test_letters_that_begin_with_the_same_token_are_refused(smolvlm):
    with pytest.raises(BackboneError, match=r"'E' and 'F' both begin with 'Ġ'; use the scoring 'short'"):
        answer_letters(smolvlm, [SIX])


@pytest.mark.parametrize("scorings", [("short",), ("short", "free")])
@pytest.mark.parametrize("wanted", ["A", "F"])
def test_short_walks_the_tokens_of_a_trained_answer(smolvlm, scorings, wanted):
    untrained, path = (
        smolvlm.tokenizer.encode("ABCD", add_special_tokens=False),
        letter_tokens(smolvlm, "ABCDEF")[wanted],
    )
    assert len(path) == {"A": 1, "F": 2}[wanted]

    def prefer(module, args, out):  # the letters without the blank are likeliest, but may not follow
        for tokens, value in ((slice(None), 0.0), (untrained, 9.0), (list(path), 5.0)):
            out.logits[..., tokens] = value

    handle = smolvlm.model.register_forward_hook(prefer)
    answer = answers_by_scoring(smolvlm, [SIX], scorings=scorings)["short"][0]
    handle.remove()
    assert (answer.letter, answer.text) == (wanted, wanted)


def test_a_turn_that_was_trained_is_answered_under_every_scoring():
    """After training on "Assistant: B" alone, the letter is B whatever the scoring."""
    backbone = load_backbone("tiny-random-smolvlm", seed=0)
    asked = item("asked", sizes=((56, 56),), options=("r", "b", "g"))
    example = Trajectory("asked", asked.images, asked.prompt, (Step("B"),), answer="B")
    model = LatentVLM(backbone, NextToken(), engine="separate")
    optimizer = torch.optim.Adam(backbone.model.lm_head.parameters(), lr=0.05)
    batch = model.collator()([example])
    for _ in range(6):
        optimizer.zero_grad()
        model(batch).total.backward()
        optimizer.step()
    found = answers_by_scoring(backbone, [asked], scorings=SCORINGS, max_new_tokens=2)
    assert {name: answers[0].letter for name, answers in found.items()} == dict.fromkeys(SCORINGS, "B")


@pytest.mark.parametrize("wrong", [{"scoring": "guess"}, {"batch_size": 0}, {"max_new_tokens": 0}])
def test_arguments_out_of_range(backbone, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        answer_letters(backbone, ITEMS, **wrong)


def test_no_items_no_answers(backbone):
    assert answer_letters(backbone, []) == []


def test_an_opening_gets_room_is_counted_and_is_no_part_of_the_answer(monkeypatch):
    backbone = load_backbone("tiny-random-qwen2.5-vl", seed=0, added_tokens=("<|a|>", "<|b|>"))
    opening = Plain(prefix="<|a|><|a|><|b|>", tokens=("<|a|>", "<|b|>"))
    answers = ["<|a|><|a|><|b|>B", "<|a|><|b|>B", "A", "<|a|><|b|><|a|>B"]  # whole; <|b|> alone; none; in any order
    rows = [backbone.tokenizer.encode(text, add_special_tokens=False) for text in answers]
    longest, pad = max(map(len, rows)), backbone.tokenizer.pad_token_id
    limits = []

    def generate(backbone, inputs, tokens, *others):
        limits.append(tokens)
        return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])

    monkeypatch.setattr(option_letters, "generate", generate)
    asked = {"scorings": ("free", "letter-logits"), "max_new_tokens": 5}
    found = answers_by_scoring(backbone, ITEMS, answering=opening, **asked)
    assert [(one.letter, one.text, one.opened) for one in found["free"]] == [
        ("B", "B", 2), ("B", "B", 1), ("A", "A", 0), ("B", "B", 2),
    ]  # fmt: skip
    assert {one.opened for one in found["letter-logits"]} == {None}
    assert {one.opened for one in answers_by_scoring(backbone, ITEMS, **asked)["free"]} == {None}
    assert limits == [8, 5]
