"""Latent feedback: a batch equals its items alone, no steps is plain generation, states are those of training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

import jepa_vlm as jv
from jepa_vlm.errors import BackboneError
from jepa_vlm.generation import answers_by_scoring
from jepa_vlm.generation.answering import Latents
from jepa_vlm.generation.greedy import Inputs, end_ids, generate, inference, prompt_inputs, user_turn
from jepa_vlm.generation.latent_feedback import LatentAnswer, _Machine, generate_latent
from jepa_vlm.generation.letters import tokens_of_items
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.serialization import Serializer
from jepa_vlm.views import IGNORED, LatentConversation, PooledFeatures
from tests.factories import latent_backbone

BORDERS = {"start": "<|latent_start|>", "end": "<|latent_end|>"}


@pytest.fixture(scope="module")
def backbone() -> jv.Backbone:
    return latent_backbone(torch.float64)


def prompts(backbone: jv.Backbone, *which: int) -> Inputs:
    items = jv.playground.questions("mixture", count=max(which) + 1, seed=3)
    return prompt_inputs(backbone, [[user_turn(items[i].prompt, [items[i].images[0].load()])] for i in which])


def run(backbone: jv.Backbone, inputs: Inputs, decoding: Latents, tokens: int = 6) -> list[LatentAnswer]:
    with inference(backbone.model):
        return generate_latent(backbone, inputs, tokens, decoding)


def by_hand(backbone: jv.Backbone, inputs: Inputs, steps: int, tokens: int) -> tuple[list[int], list[Tensor]]:
    """One prompt, no cache: everything anew for each token, states put in by hand; the slow, obvious way."""
    ids = backbone.tokenizer.convert_tokens_to_ids([BORDERS["start"], BORDERS["end"]])
    newline = backbone.tokenizer.encode("\n", add_special_tokens=False)
    base, table = backbone.base, backbone.base.get_input_embeddings()
    new: list[Tensor] = []
    kinds: list[int] = []

    def states() -> Tensor:
        ids = torch.cat([inputs["input_ids"][0], torch.tensor(kinds, dtype=torch.long)])
        rest = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
        rest["mm_token_type_ids"] = (ids == base.config.image_token_id).int()[None]

        def feed(module: Any, args: Any, out: Tensor) -> Tensor:
            return torch.cat([out[0, : len(ids) - len(new)], *(one[None] for one in new)])[None]

        handle = table.register_forward_hook(feed)
        found = base.base_model(input_ids=ids[None], use_cache=False, **rest).last_hidden_state[0, -1]
        handle.remove()
        return found

    def add(token: int, fed: Tensor | None = None) -> None:
        vector = table.weight[token] if fed is None else fed
        kinds.append(token)
        new.append(vector)

    with inference(backbone.model):
        add(ids[0])
        fed = []
        for _ in range(steps):
            fed.append(states())
            add(backbone.tokenizer.pad_token_id, fed[-1])
        for token in (ids[1], *newline):
            add(token)
        words: list[int] = []
        for _ in range(tokens):
            words.append(int(backbone.base.get_output_embeddings()(states()).argmax()))
            add(words[-1])
    return words, fed


def test_equals_the_slow_obvious_way(backbone: jv.Backbone, pure_float64: None) -> None:
    inputs = prompts(backbone, 2)
    (found,) = run(backbone, inputs, Latents(steps=3), tokens=4)
    words, _ = by_hand(backbone, inputs, 3, 4)
    assert found.ids == words[: len(found.ids)]
    assert (found.steps, found.segments) == (3, 1)


def test_a_batch_equals_each_item_alone(backbone: jv.Backbone, pure_float64: None) -> None:
    for decoding in (
        Latents(steps=3),
        Latents(steps=4, leave="end"),
        Latents(steps=2, entry="model"),
    ):
        together = run(backbone, prompts(backbone, 0, 1, 2), decoding)
        for number, own in enumerate(together):
            (alone,) = run(backbone, prompts(backbone, number), decoding)
            assert (own.ids, own.steps, own.segments) == (alone.ids, alone.steps, alone.segments)
            assert own.first_logits is not None
            assert alone.first_logits is not None
            assert torch.allclose(own.first_logits, alone.first_logits, atol=1e-8)


def test_no_steps_is_plain_generation(backbone: jv.Backbone) -> None:
    inputs = prompts(backbone, 0, 1)
    found = run(backbone, inputs, Latents(steps=0))
    with inference(backbone.model):
        plain = generate(backbone, inputs, 6)
    ends = {backbone.tokenizer.pad_token_id}
    for own, ids in zip(found, plain.tolist(), strict=True):
        assert [token for token in own.ids if token not in ends] == [token for token in ids if token not in ends]
        assert (own.steps, own.segments) == (0, 0)


def test_the_fed_states_are_those_of_training(backbone: jv.Backbone, pure_float64: None) -> None:
    """The view's engine and generation feed the same vectors behind the same prompt."""
    (trajectory,) = [t for t in jv.playground.trajectories("visual-search", count=8, seed=0) if t.calls == 1][:1]
    silent = jv.Trajectory(
        trajectory.id,
        trajectory.images,
        trajectory.question,
        (jv.Step("", trajectory.steps[0].call, trajectory.steps[0].image), trajectory.steps[-1]),
        trajectory.answer,
    )
    view = LatentConversation(PooledFeatures(chunks=3), fed="state")
    model = LatentVLM(backbone, jv.LatentReconstruction(view=view, state="at"))
    with torch.no_grad():
        states = model._states(model.collator()([silent]))
    (region,) = states.regions.values()
    assert region.inputs is not None
    inputs = prompt_inputs(backbone, [[user_turn(silent.question, [silent.images[0].load()])]])
    _, fed = by_hand(backbone, inputs, 3, 0)
    assert torch.allclose(torch.stack(fed), region.inputs, atol=1e-9)


def test_controls_change_what_is_fed(backbone: jv.Backbone) -> None:
    inputs = prompts(backbone, 0)
    logits = {}
    for control in ("none", "noise", "dropped"):
        (found,) = run(backbone, inputs, Latents(steps=3, control=control))
        assert found.steps == (0 if control == "dropped" else 3)
        logits[control] = found.first_logits
    assert not torch.allclose(logits["none"], logits["noise"])
    assert not torch.allclose(logits["none"], logits["dropped"])
    (again,) = run(backbone, inputs, Latents(steps=3, control="noise"))
    assert torch.equal(again.first_logits, logits["noise"])


def test_a_model_that_never_writes_start_answers_directly(backbone: jv.Backbone) -> None:
    inputs = prompts(backbone, 0, 1)
    head = backbone.base.get_output_embeddings()
    start = backbone.tokenizer.convert_tokens_to_ids(BORDERS["start"])
    bias = torch.zeros(head.weight.shape[0], dtype=torch.float64)

    def tilt(module: Any, args: Any, out: Tensor) -> Tensor:
        return out + bias

    handle = head.register_forward_hook(tilt)
    try:
        bias[start] = -1e6
        assert [one.segments for one in run(backbone, inputs, Latents(steps=2, entry="model"))] == [0, 0]
        bias[start] = 1e6
        eager = run(backbone, inputs, Latents(steps=2, entry="model"), tokens=4)
        assert [(one.segments, one.steps, one.ids) for one in eager] == [(8, 16, [start] * 4)] * 2  # as often as it may
        bias[start] = 0
        end = backbone.tokenizer.convert_tokens_to_ids(BORDERS["end"])
        bias[end] = 1e6
        assert [one.steps for one in run(backbone, inputs, Latents(steps=5, leave="end"), tokens=1)] == [0, 0]
    finally:
        handle.remove()


def test_words_behind_end_are_the_tokens_that_training_writes_there() -> None:
    """A tokenizer that puts a space before the first word of a text, and of no other stretch of it."""
    pieces = {token: i for i, token in enumerate(["\n", "▁\n", "▁", "red", "▁red"])}
    core = Tokenizer(models.WordLevel(pieces, unk_token="▁"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")
    tokenizer.add_tokens(list(BORDERS.values()), special_tokens=True)
    settings = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=None))
    stand_in = SimpleNamespace(tokenizer=tokenizer, model=settings, latent_head=None)
    machine = _Machine(stand_in, 1, Latents(steps=1, entry="model"), 1, None)
    start, end = tokenizer.convert_tokens_to_ids(list(BORDERS.values()))
    trained = tokenizer.encode(f"{BORDERS['start']}{BORDERS['end']}\n", add_special_tokens=False)
    assert trained == [start, end, pieces["\n"]]
    assert tokenizer.encode("\n", add_special_tokens=False) == [pieces["▁\n"]]
    assert [machine.start, *machine.closing] == trained


def test_a_blank_of_the_template_stands_ahead_of_start_as_in_training() -> None:
    """Training writes a blank and START behind "Assistant:"; a letter is " A" without a look, and "A" behind one."""
    backbone = jv.load_backbone("tiny-random-smolvlm", dtype="float64", added_tokens=tuple(BORDERS.values()))
    item, decoding = jv.playground.questions("visual-search", count=1)[0], Latents(steps=1)
    said = jv.Step("".join(BORDERS.values()) + "\nA")
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    example = jv.Trajectory(item.id, item.images, item.prompt, (said,), answer="A")
    marked = serializer.example(example).conversation(structure=tuple(BORDERS.values()))
    trained = marked.input_ids[marked.labels != IGNORED].tolist()[:-1]
    assert backbone.tokenizer.convert_ids_to_tokens(trained) == ["Ġ", *BORDERS.values(), "Ċ", "A"]
    machine = _Machine(backbone, 1, decoding, 1, None)
    (looked,) = tokens_of_items(backbone, [item], lead=decoding.start + decoding.end + decoding.after)
    (direct,) = tokens_of_items(backbone, [item])
    assert [*machine.rows[0].queue, *machine.closing, *looked["A"]] == trained
    assert direct["A"] == tuple(backbone.tokenizer.encode(" A"))
    found = answers_by_scoring(backbone, [item], scorings=["letter-logits", "short"], answering=decoding)
    assert found["short"][0].letter == found["letter-logits"][0].letter


def scores_for(*likeliest: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(likeliest), 2000).double()


def test_a_row_that_has_ended_takes_no_more_steps_while_the_others_go_on(backbone: jv.Backbone) -> None:
    """``generate`` goes on asking for it; what the model would say then is not its answer."""
    start = backbone.tokenizer.convert_tokens_to_ids(BORDERS["start"])
    end, word = end_ids(backbone)[0], 7
    machine = _Machine(backbone, 2, Latents(steps=1, entry="model"), 5, None)
    machine.states = torch.ones(2, backbone.dim, dtype=torch.float64)
    ids = torch.tensor([[3, end], [3, 4]])  # a prompt may end in any token
    for likeliest in ((end, word), (start, word), (start, word), (word, end)):
        chosen = machine(ids, scores_for(*likeliest)).argmax(dim=1)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
    machine.finish(ids[:, 2:])
    assert ids[:, 2:].tolist() == [[end] * 4, [word, word, word, end]]
    first, second = machine.answers
    assert (first.ids, first.segments, first.steps) == ([end], 0, 0)
    assert (second.ids, second.segments, second.steps) == ([word, word, word, end], 0, 0)


def test_a_checkpoint_that_switches_the_cache_off_does_not_switch_feedback_off(backbone: jv.Backbone) -> None:
    inputs, settings = prompts(backbone, 1), backbone.base.generation_config
    (plain,) = run(backbone, inputs, Latents(steps=3))
    settings.use_cache = False
    try:
        (found,) = run(backbone, inputs, Latents(steps=3))
    finally:
        settings.use_cache = True
    assert plain.first_logits is not None
    assert found.first_logits is not None
    assert torch.equal(found.first_logits, plain.first_logits)


def test_scorings_read_the_words_behind_the_look(backbone: jv.Backbone) -> None:
    items = jv.playground.questions("mixture", count=5, seed=3)
    decoding = Latents(steps=2)
    found = answers_by_scoring(
        backbone, items, scorings=("free", "letter-logits", "short"), batch_size=3, answering=decoding
    )
    alone = answers_by_scoring(backbone, items, scorings=("letter-logits",), batch_size=3, answering=decoding)
    assert [a.letter for a in found["letter-logits"]] == [a.letter for a in alone["letter-logits"]]
    assert [a.letter for a in found["short"]] == [a.letter for a in found["letter-logits"]]
    assert all(a.latent_steps == 2 for a in found["letter-logits"] + found["short"])
    plain = answers_by_scoring(backbone, items, scorings=("letter-logits",), batch_size=3)
    assert all(a.latent_steps is None for a in plain["letter-logits"])


def test_an_answer_without_a_word_is_no_letter(backbone: jv.Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepa_vlm.generation.option_letters.generate_latent", lambda *given: [LatentAnswer()])
    items = jv.playground.questions("mixture", count=1, seed=3)
    with pytest.raises(RuntimeError, match="no letter can be read"):
        answers_by_scoring(backbone, items, scorings=("letter-logits",), answering=Latents(steps=2))


def test_other_families_feed_back_too() -> None:
    for name in ("tiny-random-qwen3-vl", "tiny-random-gemma3", "tiny-random-llava"):
        other = jv.load_backbone(name)
        specials = [t.content for t in other.tokenizer.added_tokens_decoder.values() if t.special]
        ends = {other.tokenizer.pad_token_id, *end_ids(other)}
        borders = [token for token in specials if other.tokenizer.convert_tokens_to_ids(token) not in ends]
        decoding = Latents(steps=2, start=borders[-1], end=borders[-2])
        (found,) = run(other, prompts(other, 0), decoding, tokens=2)
        assert found.steps == 2, name


def test_a_vocabulary_without_the_borders_is_refused() -> None:
    plain = jv.load_backbone("tiny-random-qwen2.5-vl")
    with pytest.raises(BackboneError, match="one token of the vocabulary"):
        run(plain, prompts(plain, 0), Latents(steps=2))
    for wrong in ({"steps": -1}, {"entry": "x"}, {"leave": "x"}, {"control": "x"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Latents(**wrong)
