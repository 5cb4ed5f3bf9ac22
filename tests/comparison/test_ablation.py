from __future__ import annotations

from jepa_vlm.comparison import Trained, ablations

FULL = {"next_token": "1 * NextToken()", "prediction": "0.2 * Prediction()", "dynamics": "0.2 * Dynamics()"}


def without(*names):
    return {name: term for name, term in FULL.items() if name not in names}


def test_arms_that_leave_terms_out_are_found_whatever_they_are_called():
    arms = [
        Trained("sft", without("prediction", "dynamics"), {"rank": 64}),
        Trained("pearl", FULL, {"rank": 64}),
        Trained("no-dynamics", without("dynamics"), {"rank": 64}),
    ]
    assert ablations(arms) == [
        {
            "full": "pearl",
            "rows": [
                {"arm": "no-dynamics", "without": ["dynamics"]},
                {"arm": "sft", "without": ["prediction", "dynamics"]},
            ],
        }
    ]


def test_another_weight_another_value_or_no_record_is_no_ablation():
    other = {**without("dynamics"), "prediction": "0.5 * Prediction()"}
    arms = [Trained("pearl", FULL, {"rank": 64}), Trained("heavier", other, {"rank": 64})]
    arms += [Trained("wider", without("dynamics"), {"rank": 128}), Trained("unknown", {}, {"rank": 64})]
    assert ablations(arms) == []
