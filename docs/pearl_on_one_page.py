"""Pearl on one page: the loss of the paper (arXiv:2604.08065, section 3) on stock transformers, for Qwen2.5-VL.

A trajectory is a chat: the user shows images and asks, the assistant reasons and calls tools, each tool's image comes
back as a user turn, and the last assistant turn answers. Three forwards of each trajectory make three losses:

- next token: every token that the assistant writes, from all tokens before it;
- latent prediction: K learned [PRED] tokens follow images and question. The state at the last [PRED] token predicts the
  state at the last token of the trajectory. The trajectory is encoded alone and without gradient;
- next latent: from each state of the trajectory and the next input, a small network predicts the next state.

jepa_vlm computes the same numbers in one pass, and for other families of models too; a test compares them.
"""

import torch
import torch.nn.functional as F

IGNORED = -100


def tokens_of(processor, chat, images):
    """Return a chat's tokens and pixels, the labels that are trained, and the length of the question."""
    first_answer = next(i for i, message in enumerate(chat) if message["role"] == "assistant")
    question, shown = chat[:first_answer], sum(part["type"] == "image" for part in chat[first_answer - 1]["content"])
    whole, prompt = (
        processor(text=[processor.apply_chat_template(turns)], images=own, return_tensors="pt")
        for turns, own in ((chat, images), (question, images[:shown]))
    )
    ids, length = whole["input_ids"][0], prompt["input_ids"].shape[1]
    labels, tokenizer = torch.full_like(ids, IGNORED), processor.tokenizer
    opening, end = tokenizer.encode("<|im_start|>assistant\n"), tokenizer.convert_tokens_to_ids("<|im_end|>")
    for at in range(length, len(ids) - len(opening)):
        if ids[at : at + len(opening)].tolist() == opening:
            start = at + len(opening)
            stop = start + ids[start:].tolist().index(end) + 1  # with <|im_end|>: the model learns to stop
            labels[start:stop] = ids[start:stop]
    return whole, labels, length, prompt["image_grid_thw"]


def states(model, ids, grid, pixels, soft_tokens=None):
    """Return the decoder's last hidden states and its inputs; [PRED] tokens have the identifier -1."""
    inputs = model.get_input_embeddings()(ids.clamp(min=0))
    if soft_tokens is not None:
        inputs = inputs.index_copy(0, (ids < 0).nonzero()[:, 0], soft_tokens)
    is_image = ids == model.config.image_token_id
    if is_image.any():
        features = torch.cat(model.model.get_image_features(pixels, grid).pooler_output)
        inputs = inputs.index_copy(0, is_image.nonzero()[:, 0], features)
    places = model.model.get_rope_index(ids[None], mm_token_type_ids=is_image.int()[None], image_grid_thw=grid)[0]
    return model.model.language_model(inputs_embeds=inputs[None], position_ids=places).last_hidden_state[0], inputs


def pearl_loss(model, processor, soft_tokens, next_state, trajectories, weight=0.2):
    """Return the loss of some (chat, images) pairs.

    ``soft_tokens`` are the learned [PRED] inputs, (K, dim); ``next_state(state, next_input)`` is the small network.
    """
    turn_end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    token_loss, prediction_loss, next_loss, tokens, pairs = 0.0, 0.0, 0.0, 0, 0
    for chat, images in trajectories:
        whole, labels, length, shown = tokens_of(processor, chat, images)
        ids, grid, pixels = whole["input_ids"][0], whole["image_grid_thw"], whole["pixel_values"]
        trained = (labels != IGNORED).nonzero()[:, 0]

        hidden, inputs = states(model, ids, grid, pixels)
        logits = model.lm_head(hidden[trained - 1])  # the state before a token predicts it
        token_loss = token_loss + F.cross_entropy(logits, labels[trained], reduction="sum")
        tokens += len(trained)

        end = int((ids[:length] == turn_end).nonzero()[-1])  # of the user's turn
        asked = torch.cat([ids[:end], ids.new_full((len(soft_tokens),), -1), ids[end:length]])
        patches = shown.prod(dim=1).sum()
        predicted = states(model, asked, shown, pixels[:patches], soft_tokens)[0][end + len(soft_tokens) - 1]
        with torch.no_grad():
            alone = states(model, ids[length:], grid[len(shown) :], pixels[patches:])[0]
        target = alone[trained[-1] - 1 - length]  # the answer's last token, before its <|im_end|>
        prediction_loss = prediction_loss + F.smooth_l1_loss(predicted, target)

        trajectory = hidden[length:]
        guessed = next_state(trajectory[:-1], inputs[length + 1 :])
        distances = F.smooth_l1_loss(guessed, trajectory[1:].detach(), reduction="none").mean(dim=-1)
        next_loss, pairs = next_loss + distances.sum(), pairs + len(distances)
    return token_loss / tokens + weight * (prediction_loss / len(trajectories) + next_loss / pairs)
