"""The reference engine against forwards written out by hand with stock Hugging Face calls."""

from __future__ import annotations

import torch
import torch.nn.functional as F

import jepa_vlm as jv
from tests.factories import lora_backbone, pearl_objective, random_trajectory


def stock_inputs(backbone: jv.Backbone, text: str, images: list[jv.LazyImage]) -> dict[str, torch.Tensor]:
    pixels = [image.load() for image in images]
    inputs = backbone.processor(text=[text], images=pixels or None, return_tensors="pt")
    return {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}


def test_losses_equal_hand_written_forwards(pure_float64: None) -> None:
    backbone = lora_backbone(torch.float64)
    trajectory = random_trajectory(torch.Generator().manual_seed(3), "by hand", calls=2)
    model = jv.LatentVLM(backbone, pearl_objective(tokens=4, horizon=1), engine="separate")
    raw = model(model.collator()([trajectory])).raw
    views, base, core = model.serialize(trajectory), backbone.base, backbone.base.model

    # L_gen: the conversation through the stock processor and the stock model, labels shifted by hand.
    inputs = stock_inputs(backbone, views["conversation"].text, list(trajectory.all_images))
    assert inputs["input_ids"][0].tolist() == views["conversation"].input_ids.tolist()
    states = core(**inputs, use_cache=False).last_hidden_state[0]
    logits = base.lm_head(states)
    torch.testing.assert_close(logits, base(**inputs, use_cache=False).logits[0])
    labels = views["conversation"].labels
    expected = F.cross_entropy(logits[:-1], labels[1:], ignore_index=-100)
    torch.testing.assert_close(raw["next_token"], expected, rtol=1e-9, atol=0)

    # z_T: the trajectory's own text, cut out, through the stock processor; the last token of the last reasoning.
    alone = stock_inputs(backbone, views["trajectory"].text, list(trajectory.tool_images))
    assert alone["input_ids"][0].tolist() == views["trajectory"].input_ids.tolist()
    target = core(**alone, use_cache=False).last_hidden_state[0]
    end_of_turn = backbone.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert alone["input_ids"][0, -2] == end_of_turn  # then comes one newline
    z_target = target[-3]

    # z_hat: x up to Q's last token, then the four learned inputs, by embeddings.
    x = stock_inputs(backbone, views["question"].text, list(trajectory.images))
    x_ids = x["input_ids"][0][:-2]  # drop the end-of-turn token and the newline
    slots = model.objective.slot_inputs()["latent_prediction"]
    ids = torch.cat([x_ids, torch.full((4,), backbone.tokenizer.pad_token_id)])
    embeddings = torch.cat([base.get_input_embeddings()(x_ids), slots])
    predicted = core(
        input_ids=ids[None],
        inputs_embeds=embeddings[None],
        pixel_values=x["pixel_values"],
        image_grid_thw=x["image_grid_thw"],
        mm_token_type_ids=(ids == base.config.image_token_id).int()[None],
        use_cache=False,
    ).last_hidden_state[0, -1]
    torch.testing.assert_close(raw["latent_prediction"], F.smooth_l1_loss(predicted, z_target), rtol=1e-9, atol=0)

    # L_next: T's part of the conversation; what the decoder is fed next, image features included.
    n_t = len(views["trajectory"])
    h = states[-n_t:]
    fed = base.get_input_embeddings()(alone["input_ids"][0])
    features = torch.cat(core.get_image_features(alone["pixel_values"], alone["image_grid_thw"]).pooler_output)
    fed = fed.masked_scatter((alone["input_ids"][0] == base.config.image_token_id)[:, None], features)
    dynamics = model.objective.terms["next_latent"].head
    pair = torch.cat([h[:-1], fed[1:]], dim=-1)
    hidden = F.gelu(dynamics.second(F.gelu(dynamics.first(dynamics.norm(pair)))))
    guess = h[:-1] + dynamics.third(hidden)
    torch.testing.assert_close(raw["next_latent"], F.smooth_l1_loss(guess, h[1:]), rtol=1e-9, atol=0)


def test_a_frozen_target_is_the_base_without_adapter(pure_float64: None) -> None:
    backbone = lora_backbone(torch.float64)
    trajectory = random_trajectory(torch.Generator().manual_seed(4), "frozen", calls=1)
    encoder = jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="last_token", policy=jv.frozen())
    term = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question()), predictor=jv.IdentityPredictor(), target=encoder
    )
    model = jv.LatentVLM(backbone, term)
    (_, target), *_ = model(model.collator()([trajectory])).latents.values()
    view = model.serialize(trajectory)["trajectory"]
    inputs = stock_inputs(backbone, view.text, list(trajectory.tool_images))
    with torch.no_grad(), backbone.model.disable_adapter():
        expected = backbone.base.model(**inputs, use_cache=False).last_hidden_state[0, view.readouts["last_token"]]
    torch.testing.assert_close(target[0], expected, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        adapted = backbone.base.model(**inputs, use_cache=False).last_hidden_state[0, view.readouts["last_token"]]
    assert (adapted - expected).abs().max() > 1e-3
