"""The key of a backbone changes with everything that its base's states depend on, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.adapters.digests import state_digests, weights_digest
from tests.factories import lora_backbone

NAME = "tiny-random-qwen2.5-vl"


def changed_by(change: Callable[[jv.Backbone], None]) -> set[str]:
    plain, other = jv.load_backbone(NAME), jv.load_backbone(NAME)
    change(other)
    one, two = state_digests(plain), state_digests(other)
    assert one.keys() == two.keys()
    return {name for name in one if one[name] != two[name]}


def one_bit(backbone: jv.Backbone) -> None:
    weight = backbone.base.model.visual.patch_embed.proj.weight
    with torch.no_grad():
        weight.view(torch.int32).view(-1)[0] ^= 1


def other_template(backbone: jv.Backbone) -> None:
    backbone.processor.chat_template = backbone.processor.chat_template.replace("helpful", "terse")


def more_tokens(backbone: jv.Backbone) -> None:
    backbone.processor.image_processor.size = {"longest_edge": 100_352, "shortest_edge": 256}


def other_colours(backbone: jv.Backbone) -> None:
    backbone.processor.image_processor.image_mean = [0.5, 0.5, 0.5]


def other_words(backbone: jv.Backbone) -> None:
    backbone.tokenizer.add_tokens(["ringlet"])


def other_rotation(backbone: jv.Backbone) -> None:
    backbone.base.config.text_config.rope_parameters["rope_theta"] = 5e3


def use(backbone: jv.Backbone) -> None:
    """Everything that a run does to a backbone without changing what its base computes."""
    backbone.tokenizer(["one", "one two"], padding=True, truncation=True, max_length=2)
    backbone.base.config.use_cache = False
    backbone.base.config._name_or_path = "elsewhere"
    jv.LatentVLM(backbone, jv.NextToken(), engine="separate")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (one_bit, {"weights"}),
        (other_template, {"chat template"}),
        (more_tokens, {"visual tokens"}),
        (other_colours, {"image processor"}),
        (other_words, {"tokenizer"}),
        (other_rotation, {"architecture"}),
        (lambda backbone: backbone.base.to(torch.bfloat16), {"weights", "dtype"}),
        (use, set()),
    ],
)
def test_each_part_of_a_model_digest_has_its_name(change: Callable[[jv.Backbone], None], names: set[str]) -> None:
    assert changed_by(change) == names


def test_an_adapter_does_not_change_the_digest_of_the_base() -> None:
    assert (
        state_digests(lora_backbone()) == state_digests(lora_backbone(rank=2)) == state_digests(jv.load_backbone(NAME))
    )


def test_a_digest_on_the_meta_device_covers_names_shapes_and_types() -> None:
    def digest(outputs: int, dtype: torch.dtype = torch.float32) -> str:
        return weights_digest(torch.nn.Linear(2, outputs, device="meta", dtype=dtype))

    assert digest(3) == digest(3)
    assert len({digest(3), digest(4), digest(3, torch.bfloat16)}) == 3
    assert digest(3) != weights_digest(torch.nn.Linear(2, 3))
