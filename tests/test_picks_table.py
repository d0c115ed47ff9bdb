"""The table of picks: columns, joining, choosing, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tomopick.errors import DataError
from tomopick.picks import Picks

XYZ = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def both() -> Picks:
    return Picks.join([Picks.of("b", "x", XYZ, [0.2, 0.8]), Picks.of("a", "y", XYZ[:1], 0.5)])


def test_coordinates_scores_and_angles_come_back():
    picks = Picks.of("r", "o", XYZ, [0.25, 0.75], euler=[[0, 10, 20], [30, 40, 50]])
    assert picks.xyz().tolist() == XYZ.tolist()
    assert picks.scores().tolist() == [0.25, 0.75]
    assert picks.euler().tolist() == [[0, 10, 20], [30, 40, 50]]


def test_a_missing_score_is_one_and_unknown_columns_go():
    picks = Picks(pd.DataFrame({"run": ["r"], "object": ["o"], "x": [1], "y": ["2"], "z": [3.5], "note": ["?"]}))
    assert list(picks.table.columns) == ["run", "object", "x", "y", "z", "score"]
    assert picks.scores().tolist() == [1.0]
    assert picks.xyz().tolist() == [[1.0, 2.0, 3.5]]


def test_run_names_that_look_like_numbers_stay_text():
    picks = Picks(pd.DataFrame({"run": [7], "object": ["o"], "x": [1.0], "y": [2.0], "z": [3.0]}))
    assert picks.runs == ["7"]
    assert len(picks.where(run="7")) == 1


def test_picks_are_chosen_by_run_object_and_score():
    picks = both()
    assert picks.runs == ["a", "b"]
    assert picks.objects == ["x", "y"]
    assert picks.where(run="b").scores().tolist() == [0.2, 0.8]
    assert picks.where(name="y").xyz().tolist() == [[1, 2, 3]]
    assert picks.where(min_score=0.5).scores().tolist() == [0.8, 0.5]
    assert len(picks.where(run="a", name="x")) == 0


def test_the_index_counts_from_zero_after_choosing_and_joining():
    assert both().where(min_score=0.5).table.index.tolist() == [0, 1]


def test_angles_stay_only_where_all_have_them():
    turned = Picks.of("r", "o", XYZ, euler=np.zeros((2, 3)))
    assert Picks.join([turned, Picks.empty(), turned]).has_angles
    assert not Picks.join([turned, Picks.of("r", "o", XYZ)]).has_angles


def test_no_picks_are_a_table_too():
    for none in (Picks.empty(), Picks.join([]), Picks.join([Picks.empty()]), both().where(run="?")):
        assert len(none) == 0
        assert none.runs == []
        assert none.xyz().shape == (0, 3)


def test_the_given_table_is_not_changed():
    table = pd.DataFrame({"run": [1], "object": ["o"], "x": ["1"], "y": [2], "z": [3]}, index=[9])
    before = table.copy(deep=True)
    Picks(table)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, "north"])
@pytest.mark.parametrize("column", ["x", "z", "score"])
def test_a_value_that_is_no_number_is_told_with_its_row(column, bad):
    table = both().table.astype({column: object})
    table.loc[1, column] = bad
    with pytest.raises(DataError, match=r"row 2: .* must be finite numbers \(1 rows are not\)"):
        Picks(table)


def test_missing_columns_are_named():
    with pytest.raises(DataError, match="missing: object, z"):
        Picks(pd.DataFrame({"run": ["r"], "x": [1.0], "y": [1.0]}))


def test_angles_come_all_three():
    with pytest.raises(DataError, match="found only rot, psi"):
        Picks(both().table.assign(rot=0.0, psi=0.0))
