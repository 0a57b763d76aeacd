"""Wilson's interval against its own definition: the shares that a score test does not reject."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from training.proportion import excluding, wilson


@pytest.mark.parametrize(("share", "n"), [(0.72, 68), (0.9, 2375), (0.0, 30), (1.0, 30)])
def test_the_ends_are_where_the_score_test_just_rejects(share, n):
    z = stats.norm.ppf(0.975)
    low, high = wilson(share, n)
    k = round(share * n) / n
    for end in (low, high):
        if 0 < end < 1:
            assert abs(k - end) == pytest.approx(z * np.sqrt(end * (1 - end) / n))
    assert 0 <= low <= k <= high <= 1


def test_honest_shares_are_excluded_once_in_twenty(rng):
    drawn = [(float(k) / 500, 500) for k in rng.binomial(500, 0.9, size=1000)]
    # 50 of 1,000 expected, SD 7; 4 SD and the steps of whole numbers.
    assert excluding(0.9, drawn) == pytest.approx(50, abs=30)
    assert excluding(0.5, drawn) == 1000


@pytest.fixture
def rng():
    return np.random.default_rng(2)
