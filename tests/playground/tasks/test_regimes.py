from __future__ import annotations

from collections import Counter

import pytest
from scipy.stats import chisquare

from jepa_vlm.playground import REGIMES, TASKS, episodes, questions, trajectories
from jepa_vlm.playground.tasks import TaskMixture


def test_every_task_of_a_regime_is_equally_likely_and_named():
    counts = Counter(episode.task for episode, _ in episodes("mixture", count=1200))
    assert set(counts) == set(TASKS) - set(REGIMES)
    assert chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("regime", REGIMES)
def test_a_regime_is_a_task_that_draws_the_tasks_it_lists(regime):
    assert TASKS[regime].name == regime
    assert {t.task for t in trajectories(regime, count=60)} == set(REGIMES[regime])
    assert {q.task for q in questions(regime, count=60)} == set(REGIMES[regime])


def test_regimes_have_the_tools_and_calls_that_they_are_named_for():
    def tools_and_calls(regime):
        made = trajectories(regime, count=160, direct_share=0)
        return {step.call.name for t in made for step in t.steps[:-1]}, {t.calls for t in made}

    assert tools_and_calls("one-tool-one-call") == ({"crop"}, {1})
    assert tools_and_calls("many-tools-one-call") == ({"crop", "highlight", "assemble", "draw_path"}, {1})
    assert tools_and_calls("one-tool-many-calls") == ({"crop"}, {1, 2, 3})
    assert tools_and_calls("mixture") == ({"crop", "highlight", "assemble", "draw_path"}, {1, 2, 3})


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one task"):
        TaskMixture(name="none", tasks=())
