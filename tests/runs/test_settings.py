"""Default < published < backbone profile < recipe < user, and every value says where it came from."""

from __future__ import annotations

from dataclasses import fields

import pytest

import jepa_vlm as jv
from jepa_vlm.adapters import Profile
from jepa_vlm.errors import RecipeError, UnknownNameError
from jepa_vlm.runs.settings import Resolved, RunSettings, options_of, overruled, run_values, training_values

PROFILE = Profile(learning_rate=5e-4, lora_rank=16, lora_alpha=48, batch_size=8, steps=7)
STATED = {"learning_rate": 1e-5, "steps": 100, "lora": jv.Lora(rank=64)}
PUBLISHED = {"lora": jv.Lora(dropout=0.1), "published": jv.Published(learning_rate=1e-5, steps=100, rank=64)}


def values(profile=None, *, stated=STATED, **asked):
    recipe = jv.Recipe(objective=jv.NextToken(), **stated)
    return training_values(RunSettings(**asked), recipe, profile or Profile())


def test_what_a_recipe_states_holds_on_every_backbone():
    for profile in (None, PROFILE):
        found = values(profile)
        assert (found["learning_rate"], found["steps"]) == (Resolved(1e-5, "recipe"), Resolved(100, "recipe"))
        assert (found["lora_rank"], found["lora_alpha"]) == (Resolved(64, "recipe"), Resolved(128, "default"))
    assert values(PROFILE)["learning_rate"].over == Resolved(5e-4, "backbone profile")


def test_the_profile_fills_what_a_recipe_leaves_open():
    assert values(PROFILE)["batch_size"] == Resolved(8, "backbone profile")
    assert values()["batch_size"] == Resolved(4, "default")
    found = values(PROFILE, stated={})
    assert (found["lora_rank"], found["lora_alpha"]) == (
        Resolved(16, "backbone profile"),
        Resolved(48, "backbone profile"),
    )
    assert overruled(found, "tiny") == []


def test_the_profile_comes_before_published_values_and_says_so():
    found = values(PROFILE, stated=PUBLISHED)
    assert found["learning_rate"] == Resolved(5e-4, "backbone profile")
    assert (found["lora_rank"].value, found["lora_dropout"].value) == (16, 0.1)
    assert overruled(found, "tiny") == [
        "steps 7 from the profile of tiny, in place of the recipe's 100",
        "learning_rate 0.0005 from the profile of tiny, in place of the recipe's 1e-05",
        "lora_rank 16 from the profile of tiny, in place of the recipe's 64",
    ]
    alone = values(stated=PUBLISHED)
    assert (alone["learning_rate"], alone["lora_alpha"].value) == (Resolved(1e-5, "recipe"), 128)
    assert overruled(alone, "real") == []


def test_the_user_comes_before_all():
    found = values(PROFILE, stated=PUBLISHED, learning_rate=1e-3, steps=7)
    assert (found["learning_rate"], found["steps"]) == (Resolved(1e-3, "user"), Resolved(7, "user"))
    assert overruled(found, "tiny")[:2] == [
        "steps 7 from the user, in place of the recipe's 100",
        "learning_rate 0.001 from the user, in place of the profile's 0.0005",
    ]


def test_a_profile_gives_no_adapter_to_a_recipe_without_one():
    recipe = jv.Recipe(objective=jv.NextToken(), lora=None)
    assert "lora_rank" not in training_values(RunSettings(), recipe, Profile(lora_rank=16))


def test_validation_follows_the_steps_unless_said():
    assert values(steps=50)["validate_every"] == Resolved(10, "default")
    assert values(steps=2)["validate_every"] == Resolved(1, "default")
    assert values(steps=50, validate_every=7)["validate_every"] == Resolved(7, "user")


@pytest.mark.parametrize(
    ("gpu", "backbone", "dtype"),
    [(False, None, "float32"), (True, None, "float32"), (True, "qwen2.5-vl-3b", "bfloat16")],
)
def test_the_precision_fits_the_machine(gpu, backbone, dtype):
    assert run_values("pearl", RunSettings(backbone=backbone), gpu=gpu)["dtype"] == Resolved(dtype, "default")


def test_parameters_of_the_recipe_are_values_too():
    assert run_values("pearl", RunSettings(parameters={"tokens": "8"}), gpu=False)["parameter.tokens"] == Resolved(
        "8", "user"
    )


def test_micro_batches_are_counted_in_one_way():
    assert run_values("sft", RunSettings(batch_tokens=4096), gpu=False)["batch_tokens"] == Resolved(4096, "user")
    assert run_values("sft", RunSettings(), gpu=False)["batch_tokens"] == Resolved(None, "default")
    with pytest.raises(RecipeError, match=r"--batch-size 4 and --batch-tokens 4096; give one"):
        RunSettings(batch_size=4, batch_tokens=4096)


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
        RunSettings(**{field: value})


def test_a_misspelt_setting_of_a_run_names_the_closest_one():
    with pytest.raises(UnknownNameError, match=r"No setting named 'stpes'\. Did you mean 'steps'"):
        jv.train("pearl", stpes=3)


def test_every_setting_says_what_it_sets_and_is_recorded_resolved():
    options = options_of(RunSettings)
    assert options.keys() == {item.name for item in fields(RunSettings)} - {"command"}
    assert all(own.help.endswith(".") for _, own in options.values())
    recorded = {name for name, (_, own) in options.items() if own.recorded}
    recipe = jv.Recipe(objective=jv.NextToken())
    found = run_values("sft", RunSettings(), gpu=False) | training_values(RunSettings(), recipe, Profile())
    assert recorded <= found.keys()
