"""Image positions in a template, extra outputs of a processor, and a batch padded on the right."""

from __future__ import annotations

import pytest
import torch

from jepa_vlm.conformance import CHECKS, Subject
from jepa_vlm.conformance.check import run_check

BY_NAME = {check.name: check for check in CHECKS}
TEXT = (
    "tokens are the stock processor's",
    "every R_i survives the chat template",
    "the cut-out trajectory is its golden text",
    "one_pass equals separate",
)
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
TURN = """\
{%- for message in messages -%}
{%- set images = message.content | selectattr('type', 'equalto', 'image') | list | length -%}
{{ '<|im_start|>' + message.role + '\\n' }}
BODY
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
SAID = "{%- for part in message.content if part.type == 'text' -%}{{ part.text }}{%- endfor -%}"
BODIES = {
    "before": f"{{{{- '{IMAGE}' * images -}}}}{SAID}",
    "after": f"{SAID}{{{{- '{IMAGE}' * images -}}}}",
    "around": f"{{{{- '{IMAGE}' if images else '' -}}}}{SAID}{{{{- '{IMAGE}' * (images - 1) -}}}}",
    "inside words of the template": f"{{{{- 'see ' + ('{IMAGE}' * images) + ' and say: ' -}}}}{SAID}",
}


@pytest.mark.parametrize("where", BODIES)
def test_images_may_stand_anywhere_in_a_turn(where):
    subject = Subject.load("tiny-random-qwen3-vl", torch.float64)
    subject.backbone.processor.chat_template = TURN.replace("BODY", BODIES[where])
    for name in TEXT:
        result = run_check(BY_NAME[name], subject)
        assert result.verdict == "pass", (name, result.detail)


@pytest.mark.parametrize("name", ["tiny-random-qwen3-vl", "tiny-random-llava-next", "tiny-random-gemma3"])
def test_right_padding_leaves_a_prompts_states_alone(name):
    subject = Subject.load(name, torch.float64)
    asked = [trajectory for trajectory in subject.trajectories if len(trajectory.images) == 1]
    processor, base = subject.backbone.processor, subject.backbone.base
    talks = []
    for trajectory in asked:
        image = {"type": "image", "image": trajectory.images[0].load()}
        talks.append([{"role": "user", "content": [image, {"type": "text", "text": trajectory.question}]}])
    base.set_attn_implementation("sdpa")

    def states(given, side):
        made = processor.apply_chat_template(
            given,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": side},
        )
        inputs = {k: v.double() if v.is_floating_point() else v for k, v in made.items()}
        with torch.no_grad(), subject.exact():
            return base.base_model(**inputs, use_cache=False).last_hidden_state, inputs["attention_mask"].bool()

    together, mask = states(talks, "right")
    assert not mask.all()  # something was padded
    for i, talk in enumerate(talks):
        alone, _ = states([talk], "right")
        torch.testing.assert_close(together[i][mask[i]], alone[0], rtol=1e-9, atol=1e-9)
