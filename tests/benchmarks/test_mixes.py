from __future__ import annotations

import pytest

from benchmarks.mixes import MIXES, SPREAD, make_trajectories, view_lengths
from jepa_vlm.adapters.image_tokens import region_rows


@pytest.mark.parametrize("scale", [1.0, 1 / 3])
@pytest.mark.parametrize("mix", list(MIXES))
def test_lengths_are_the_mixs_to_the_token(mix, scale, serializer):
    trajectories = make_trajectories(mix, serializer=serializer, count=4, scale=scale)
    lengths = [view_lengths(serializer, trajectory) for trajectory in trajectories]
    for side, mean in enumerate((scale * MIXES[mix].context, scale * MIXES[mix].trajectory)):
        found = [pair[side] for pair in lengths]
        assert sum(found) == round(4 * mean)
        assert len(set(found)) == 4
        assert all(abs(length - mean) <= SPREAD * mean + 1 for length in found)


def test_tool_images_are_as_many_as_the_mix_says(serializer):
    calls = [t.calls for t in make_trajectories("pixelreasoner", serializer=serializer, count=6)]
    assert calls == [1, 2, 3, 1, 2, 3]


def test_the_seed_alone_decides_a_mix(serializer):
    first, second, third = (make_trajectories("lvr", serializer=serializer, count=3, seed=seed) for seed in (0, 0, 1))
    assert [t.question for t in first] == [t.question for t in second] != [t.question for t in third]
    assert first[0].images[0].load().tobytes() == second[0].images[0].load().tobytes()


def test_images_take_about_their_share_of_the_tokens(serializer):
    (trajectory,) = make_trajectories("lvr", serializer=serializer, count=1)
    seen, shown = (image.length for image in serializer.images(trajectory))
    assert seen / MIXES["lvr"].context == pytest.approx(MIXES["lvr"].seen, abs=0.05)
    assert shown / MIXES["lvr"].trajectory == pytest.approx(MIXES["lvr"].shown, abs=0.05)


@pytest.mark.parametrize("scale", [1.0, 1 / 3])
@pytest.mark.parametrize("mix", list(MIXES))
def test_a_call_looks_at_a_region_of_about_its_pictures_tokens(mix, scale, serializer):
    for trajectory in make_trajectories(mix, serializer=serializer, count=4, scale=scale):
        image, *pictures = serializer.images(trajectory)
        for step, picture in zip(trajectory.steps, pictures, strict=False):
            touched = len(region_rows(step.call.box, trajectory.images[0].size, image))
            rows, columns = (extent // 2 for extent in image.grid[1:])
            wanted = min(picture.length, image.length)
            assert wanted <= touched + rows + columns
            assert touched <= wanted + rows + columns
            assert step.spoken == step.text


def test_impossible_lengths_are_refused(serializer):
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        make_trajectories("lvr", serializer=serializer, count=0)
    with pytest.raises(ValueError, match="use a larger scale"):
        make_trajectories("lvr", serializer=serializer, count=1, scale=0.05)
