"""Recipe < backbone profile < user, and every value knows where it came from."""

from __future__ import annotations

import pytest

import jepa_vlm as jv
from jepa_vlm.adapters import Profile
from jepa_vlm.errors import RecipeError
from jepa_vlm.runs.settings import Asked, Resolved, run_values, training_values


def values(profile=None, **asked):
    recipe = jv.Recipe(objective=jv.NextToken(), learning_rate=1e-5, steps=100, lora=jv.Lora(rank=64, alpha=128))
    return training_values(Asked(recipe="mine", **asked), recipe, profile or Profile())


def test_the_recipe_speaks_where_nobody_else_does():
    assert values()["learning_rate"] == Resolved(1e-5, "recipe")
    assert values()["lora_rank"] == Resolved(64, "recipe")


def test_the_profile_overrules_the_recipe_and_the_user_both():
    profile = Profile(learning_rate=5e-4, lora_rank=16, steps=7)
    assert values(profile)["learning_rate"] == Resolved(5e-4, "backbone profile")
    assert values(profile)["lora_rank"] == Resolved(16, "backbone profile")
    assert values(profile, learning_rate=1e-3)["learning_rate"] == Resolved(1e-3, "user")
    assert values(profile, steps=9)["steps"] == Resolved(9, "user")


def test_a_profile_gives_no_adapter_to_a_recipe_without_one():
    recipe = jv.Recipe(objective=jv.NextToken(), lora=None)
    assert "lora_rank" not in training_values(Asked(recipe="mine"), recipe, Profile(lora_rank=16))


def test_validation_follows_the_steps_unless_said():
    assert values(steps=50)["validate_every"] == Resolved(10, "default")
    assert values(steps=2)["validate_every"] == Resolved(1, "default")
    assert values(steps=50, validate_every=7)["validate_every"] == Resolved(7, "user")


@pytest.mark.parametrize(
    ("gpu", "backbone", "dtype"),
    [(False, None, "float32"), (True, None, "float32"), (True, "qwen2.5-vl-3b", "bfloat16")],
)
def test_the_precision_fits_the_machine(gpu, backbone, dtype):
    assert run_values(Asked(recipe="pearl", backbone=backbone), gpu=gpu)["dtype"] == Resolved(dtype, "default")


def test_parameters_of_the_recipe_are_values_too():
    assert run_values(Asked(recipe="pearl", parameters={"tokens": "8"}), gpu=False)["parameter.tokens"] == Resolved(
        "8", "user"
    )


def test_micro_batches_are_counted_in_one_way():
    assert run_values(Asked(recipe="sft", batch_tokens=4096), gpu=False)["batch_tokens"] == Resolved(4096, "user")
    assert run_values(Asked(recipe="sft"), gpu=False)["batch_tokens"] == Resolved(None, "default")
    with pytest.raises(RecipeError, match=r"--batch-size 4 and --batch-tokens 4096; give one"):
        Asked(recipe="sft", batch_size=4, batch_tokens=4096)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("seed", -1),
        ("max_tokens", 0),
        ("batch_tokens", 0),
        ("too_long", "cut"),
        ("dtype", "float16"),
        ("learning_rate", -1.0),
    ],
)
def test_nonsense_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        Asked(recipe="pearl", **{field: value})
