"""Every prompt, letter for letter: a change of one is a new version of its protocol."""

from __future__ import annotations

import pytest

from jepa_vlm.errors import UnknownNameError
from jepa_vlm.evaluation import PROTOCOLS, load_benchmark, load_protocol
from tests.suites import write_blink, write_mmvp, write_vstar

INSTRUCTION = "Answer with the option's letter from the given choices directly."
IN_TAGS = "Answer with the option's letter from the given choices directly between <answer></answer> tags."
BOXED = "Answer with the correct option's letter directly within \\boxed{}."

VSTAR = "What is the material of the glove?\n(A) rubber\n(B) cotton\n(C) kevlar\n(D) leather"
MMVP = "Is the door of truck 1 open, or closed?\nOptions:\nA. Open B. Closed"
BLINK = "How many dogs are there?\nOptions:\nA. zero\nB. one\nC. two\nD. three\n"

LVR = {"vstar": f"{VSTAR}\n{INSTRUCTION}", "mmvp": f"{MMVP}\n{INSTRUCTION}", "blink": f"{BLINK}\n{INSTRUCTION}"}
GOLDEN = {
    "pearl-paper": LVR,
    "lvr": LVR,
    "pearl-released": {"vstar": f"{VSTAR}\n{INSTRUCTION}", "mmvp": MMVP, "blink": f"{BLINK}\n{INSTRUCTION}"},
    "pearl-released:instruct": LVR,
    "pearl-released:instruct_no_prefix": LVR,
    "pearl-released:thinkmorph": {
        "vstar": f"{VSTAR}\n{IN_TAGS}",
        "mmvp": f"{MMVP}\n{IN_TAGS}",
        "blink": f"{BLINK}\n{IN_TAGS}",
    },
    "pearl-released:boxed": {"vstar": f"{VSTAR}\n{BOXED}", "mmvp": f"{MMVP}\n{BOXED}", "blink": f"{BLINK}\n{BOXED}"},
    "lmms-eval": {
        "vstar": f"What is the material of the glove?\nA. rubber\nB. cotton\nC. kevlar\nD. leather\n{INSTRUCTION}",
        "mmvp": f"Is the door of truck 1 open, or closed?\nA. Open\nB. Closed\n{INSTRUCTION}",
        "blink": "Note: You only need to respond with A, B, C, D without providing any additional information.\n"
        "How many dogs are there?\nSelect from the following choices.\n(A) zero\n(B) one\n(C) two\n(D) three\n",
    },
    "vlmevalkit": {
        "vstar": "Question: What is the material of the glove?\nOptions:\nA. rubber\nB. cotton\nC. kevlar\nD. leather\n"
        "Please select the correct answer from the options above. \n",
        "mmvp": "Question: Is the door of truck 1 open, or closed?\nOptions:\nA. Open\nB. Closed\n"
        "Please select the correct answer from the options above. \n",
        "blink": "Question: How many dogs are there?\nOptions:\nA. zero\nB. one\nC. two\nD. three\n"
        "Please select the correct answer from the options above. \n",
    },
}
GOLDEN["pixel-reasoner"] = {
    "vstar": "What is the material of the glove?\nchoices:\nA: rubber\nB: cotton\nC: kevlar\nD: leather",
    "mmvp": "Is the door of truck 1 open, or closed?\nchoices:\nA: Open\nB: Closed",
    "blink": "How many dogs are there?\nchoices:\nA: zero\nB: one\nC: two\nD: three",
}
# scoring, most new tokens by benchmark, prefix, system, pixels
SETTINGS = {
    "pearl-paper": ("short", (4, 4, 4), "", "", None),
    "lvr": ("free", (512, 512, 512), "", "", None),
    "pearl-released": ("free", (4, 4, 4), "<answer>", "", None),
    "pearl-released:instruct": ("free", (4, 4, 4), "<answer>", "", None),
    "pearl-released:instruct_no_prefix": ("free", (4, 4, 4), "", "", None),
    "pearl-released:thinkmorph": ("free", (4, 4, 4), "<answer>", "", None),
    "pearl-released:boxed": ("free", (4, 4, 4), "", "", None),
    "lmms-eval": ("free", (16, 16, 1024), "", "You are a helpful assistant.", (200_704, 1_605_632)),
    "pixel-reasoner": ("tools", (512, 512, 512), "", "", (401_408, 4_014_080)),
    "vlmevalkit": ("free", (2048, 2048, 2048), "", "", (1_003_520, 12_845_056)),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("suites")
    return {
        "vstar": write_vstar(root / "vstar"),
        "mmvp": write_mmvp(root / "mmvp"),
        "blink": write_blink(root / "blink"),
    }


@pytest.mark.parametrize("benchmark", ["vstar", "mmvp", "blink"])
@pytest.mark.parametrize("protocol", GOLDEN)
def test_each_protocol_writes_its_golden_prompt(places, protocol, benchmark):
    asked = load_benchmark(f"{benchmark}:{places[benchmark]}", protocol=protocol)
    assert asked[0].prompt == GOLDEN[protocol][benchmark]
    for item in asked:
        assert item.prompt.count("Answer with") <= 1  # the text of V* brings an instruction; it never gets a second


NAMES = {"pearl-released": "pearl-released:default-1", "pixel-reasoner": "pixel-reasoner-2"}


@pytest.mark.parametrize("protocol", SETTINGS)
def test_each_protocol_has_its_published_settings(protocol):
    rules = [load_protocol(protocol, benchmark=benchmark) for benchmark in ("vstar", "mmvp", "blink")]
    scoring, tokens, prefix, system, pixels = SETTINGS[protocol]
    assert tuple(one.max_new_tokens for one in rules) == tokens
    for one in rules:
        assert (one.scoring, one.prefix, one.system, one.pixels) == (scoring, prefix, system, pixels)
        assert one.name == NAMES.get(protocol, f"{protocol}-1")


def test_every_protocol_has_a_golden_prompt():
    assert {name.partition(":")[0] for name in GOLDEN} == set(PROTOCOLS)
    assert GOLDEN.keys() == SETTINGS.keys()


def test_a_copy_of_vstar_without_the_instruction_gets_it_once(tmp_path):
    folder = write_vstar(tmp_path)
    path = folder / "test_questions.jsonl"
    path.write_text(path.read_text().replace(f"\\n{INSTRUCTION}", ""))
    asked = load_benchmark(f"vstar:{folder}", protocol="lvr")
    assert asked[0].prompt == LVR["vstar"]


def test_unknown_protocols_and_presets_get_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'pearl-paper'"):
        load_protocol("pearl-papr", benchmark="vstar")
    with pytest.raises(UnknownNameError, match="Did you mean 'boxed'"):
        load_protocol("pearl-released:boxd", benchmark="vstar")
    for name in ("pearl-paper", "lvr", "lmms-eval", "vlmevalkit", "pixel-reasoner"):
        with pytest.raises(UnknownNameError, match=f"No preset of {name} named 'x'"):
            load_protocol(f"{name}:x", benchmark="vstar")
