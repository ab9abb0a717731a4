"""The challenge's ranks, by hand and on its published scores; stability and tests."""

import numpy as np
import pytest
from scipy import stats

from vsuda_cli.errors import VsudaError
from vsuda_cli.images import ranking


def test_equal_teams_share_the_better_rank():
    values = np.array([[0.9, 0.8, 0.9, 0.1]])
    assert ranking.min_ranks(values, more_is_better=True).tolist() == [[1, 3, 1, 4]]
    assert ranking.min_ranks(values, more_is_better=False).tolist() == [[3, 2, 3, 1]]


def test_mean_over_metrics_then_over_cases():
    dice = np.array([[0.9, 0.8], [0.5, 0.6], [0.7, 0.6]])
    distance = np.array([[0.3, 0.2], [np.nan, np.nan], [0.2, 0.2]])
    scores = {"VS_Dice": dice, "VS_ASSD": distance}
    assert ranking.case_ranks(scores).tolist() == [[1.5, 1.5], [2, 1], [1, 1.5]]
    assert ranking.mean_ranks(scores).tolist() == pytest.approx([1.5, 4 / 3])


@pytest.mark.parametrize(
    ("metric", "winner"), [("Dice", 1), ("SurfaceDice", 1), ("ASSD", 0), ("HD95", 0)]
)
def test_overlaps_should_be_large_and_distances_small(metric, winner):
    ranks = ranking.mean_ranks({f"VS_{metric}": np.array([[0.2, 0.7]])})
    assert int(np.argmin(ranks)) == winner


def test_cases_without_any_value_are_left_out():
    distance = np.array([[np.nan, np.nan], [1.0, 2.0]])
    assert ranking.mean_ranks({"VS_ASSD": distance}).tolist() == [1, 2]
    with pytest.raises(VsudaError, match="no case"):
        ranking.mean_ranks({"VS_ASSD": distance[:1]})


def test_thirds_that_add_up_alike_are_equal():
    scores = {
        "VS_ASSD": np.array([[3.0, 1, 2], [3, 1, 2], [3, 2, 1]]),
        "VS_HD95": np.array([[1.0, 2, 3], [2, 3, 1], [1, 2, 3]]),
        "VS_Dice": np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.1, 0.3, 0.2]]),
    }
    per_case = ranking.case_ranks(scores)
    assert np.rint(per_case * 3).tolist() == [[7, 5, 6], [8, 6, 4], [7, 5, 6]]
    means = ranking.mean_ranks(scores)
    assert means[1] == means[2] < means[0]
    # In thirds as in whole numbers: in many resamples the two tie.
    whole = ranking.bootstrap(np.rint(per_case * 3), 50, seed=0)
    found = ranking.bootstrap(per_case, 50, seed=0)
    assert np.array_equal(found.places, whole.places)
    assert (found.tau_mean, found.tau_low) == (whole.tau_mean, whole.tau_low)


def test_wilcoxon_ranks_equal_differences_alike():
    steps = np.array([[4, 3], [5, 6], [9, 8], [6, 5], [8, 7], [3, 5], [7, 9], [10, 7]])
    found = ranking.wilcoxon_holm(steps / 3)
    assert found[0, 1] == ranking.wilcoxon_holm(steps.astype(float))[0, 1]


def test_names_of_columns():
    assert ranking.metric_of("intra_meatal_VS_ASSD") == "ASSD"
    assert ranking.structure_of("intra_meatal_VS_ASSD") == "intra_meatal_VS"


def test_bootstrap_tells_clear_from_close():
    rng = np.random.default_rng(0)
    per_case = np.stack([np.full(60, 1.0), rng.normal(2, 1, 60), rng.normal(2, 1, 60)], axis=1)
    found = ranking.bootstrap(per_case, 200, seed=1)
    assert found.places[0].tolist() == [1, 1]
    assert found.places[1].tolist() == found.places[2].tolist() == [2, 3]
    assert 1 / 3 <= found.tau_low <= found.tau_mean < 1
    again = ranking.bootstrap(per_case, 200, seed=1)
    assert np.array_equal(found.places, again.places)
    assert ranking.bootstrap(per_case, 200, seed=2).tau_mean != found.tau_mean


def test_resamples_in_which_all_tie_say_nothing():
    per_case = np.array([[1, 2]] * 4 + [[2, 1]] * 2, dtype=float)
    found = ranking.bootstrap(per_case, 500, seed=0)
    assert 0 < found.tau_mean < 1
    assert -1 <= found.tau_low <= 0
    alike = ranking.bootstrap(np.ones((4, 3)), 10, seed=0)
    assert (alike.tau_mean, alike.tau_low) == (0, 0)
    # Equal teams share the best place.
    assert (alike.places == 1).all()


def test_holm_by_hand():
    assert ranking.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert ranking.holm([0.5, 0.9]) == [1.0, 1.0]


def test_wilcoxon_is_scipys_corrected():
    rng = np.random.default_rng(3)
    table = np.stack([rng.normal(m, 1, 40) for m in (1.0, 1.2, 2.0)] + [rng.normal(1, 1, 40)], 1)
    table[:, 3] = table[:, 0]
    found = ranking.wilcoxon_holm(table)
    raw = [
        1.0 if (a, b) == (0, 3) else stats.wilcoxon(table[:, a], table[:, b]).pvalue
        for a in range(4)
        for b in range(a + 1, 4)
    ]
    assert found[np.triu_indices(4, 1)].tolist() == pytest.approx(ranking.holm(raw))
    assert np.isnan(found.diagonal()).all()
    assert found[0, 3] == 1
