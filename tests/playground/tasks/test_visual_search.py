from __future__ import annotations

import pytest

from jepa_vlm.playground import episodes


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_object_alone_is_named_and_the_answer_is_its_other_attribute(split):
    kinds = set()
    for episode, _ in episodes("visual-search", count=200, split=split):
        asked, named = episode.question.split()[1], episode.question.rstrip("?").split()[4]
        matching = [thing for thing in episode.picture.things if named in (thing.color, thing.shape)]
        assert len(matching) == 1
        assert episode.options[episode.answer] == getattr(matching[0], asked)
        (look,) = episode.actions
        assert (look.call.arguments["column"], look.call.arguments["row"]) == matching[0].cell
        assert look.text.endswith(f"at {matching[0].place}.")
        kinds.add(asked)
    assert kinds == {"color", "shape"}
