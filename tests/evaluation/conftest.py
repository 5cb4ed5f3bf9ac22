from __future__ import annotations

import pytest

from tests.evaluations import made_evaluation


@pytest.fixture
def evaluation():
    """Make an evaluation from which items were answered rightly; every right answer is A, a wrong one is B."""
    return made_evaluation
