"""Charts and contours stand where their numbers say."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from massmatch.pictures import chosen, outline, window
from massmatch.reports.charts import HEIGHT, WIDTH, Interval, axis, boxes, dots, forest, panel, percent, ranks

VALUES = st.lists(st.floats(-1e4, 1e4).map(lambda v: round(v, 3)), min_size=1, max_size=8)


@given(VALUES, st.booleans(), st.booleans())
def test_an_axis_holds_all_values_and_its_ticks_rise_on_it(values, is_percent, tight):
    line = axis(values, percent=is_percent, tight=tight)
    assert line.low <= min(values) + 1e-9
    assert line.high >= max(values) - 1e-9
    at = [line.at(value) for value, _ in line.ticks]
    assert at == sorted(at)
    assert len({text for _, text in line.ticks}) == len(line.ticks)
    for value, text in line.ticks:
        assert float(text.replace("−", "-")) == pytest.approx(value * (100 if is_percent else 1), abs=1e-6)


def test_values_beyond_an_axis_stay_on_its_ends():
    line = axis([0, 1])
    assert (line.at(-5), line.at(0.5), line.at(7)) == (0, 50, 100)


def test_an_axis_of_nothing_goes_from_0_to_1():
    assert axis([math.nan]).low == 0
    assert axis([]).high == 1


def test_a_box_has_the_quartiles_of_its_values():
    (row,) = boxes({"a": [0.0, 0.1, 0.2, 0.3, 1.0, math.nan]}).rows
    marks = {mark.kind: mark for mark in row.marks}
    assert (marks["bar"].low, marks["bar"].high) == (10, 30)
    assert marks["tick"].low == 20
    assert marks["diamond"].low == 32
    assert row.text == "median 20.0, mean 32.0 (n = 5, 1 undefined)"
    assert boxes({"a": [math.nan]}).rows[0].text == "no value"


def test_differences_stand_about_the_line_at_0():
    chart = forest(
        [Interval("a", -0.02, -0.04, 0.0, False, ""), Interval("b", 0.04, 0.02, 0.06, True, "")], percent=True
    )
    one, other = (row.marks for row in chart.rows)
    assert one[1].low < chart.zero < other[1].low
    assert one[0].high == chart.zero
    assert (one[1].kind, other[1].kind) == ("ring", "dot")


def test_a_dot_stands_for_each_run_and_a_stroke_for_their_mean():
    (row,) = dots({"a": {"one": 0.2, "two": 0.4, "lost": math.nan}}, {"a": "text"}).rows
    assert [mark.kind for mark in row.marks] == ["line", "dot", "dot", "tick"]
    assert row.marks[-1].low == pytest.approx((row.marks[1].low + row.marks[2].low) / 2)
    assert row.marks[1].says == "one: 20.0"


def test_a_curve_is_broken_where_a_value_is_undefined():
    line = axis([0, 4])
    drawn = panel("t", [("thin", "run", [0, 1, 2, 3], [1, math.nan, 3, 4])], line, line, labels=("x", "y"), says="")
    first, second = drawn.curves[0].pieces
    assert first.split()[0] == first.split()[1]  # a single point, drawn as a short dash
    assert len(second.split()) == 2
    xs, ys = zip(*(map(float, point.split(",")) for point in second.split()), strict=True)
    assert 0 < xs[0] < xs[1] < WIDTH
    assert HEIGHT > ys[0] > ys[1] > 0  # up is more


def test_ranks_run_from_the_best_on_the_left_and_join_what_cannot_be_told_apart():
    drawn = ranks({"c": 2.6, "a": 1.2, "b": 2.2}, [("b", "c")], 0.9)
    assert [mark.name for mark in drawn.marks] == ["a", "b", "c"]
    assert drawn.marks[0].x < drawn.marks[1].x < drawn.marks[2].x
    ((start, end, _),) = drawn.bars
    assert start < drawn.marks[1].x < drawn.marks[2].x < end
    assert start > drawn.marks[0].x
    assert len({mark.y for mark in drawn.marks if not mark.right}) == 2
    assert "Not told apart: b, c." in drawn.says
    per_rank = (drawn.marks[2].x - drawn.marks[1].x) / 0.4
    assert drawn.critical[1] - drawn.critical[0] == pytest.approx(0.9 * per_rank, abs=0.5)


def test_percent_has_a_real_minus_and_a_dash_for_nothing():
    assert percent(-0.123) == "−12.3"
    assert percent(math.nan) == "–"


MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def filled(path, shape):
    """The mask inside a path: going right, each upright edge changes from out to in or back."""
    change = np.zeros((shape[0], shape[1] + 1), int)
    for col, row, length in re.findall(r"M(\d+) (\d+)v(\d+)", path):
        change[int(row) : int(row) + int(length), int(col)] += 1
    return change.cumsum(axis=1)[:, :-1] % 2 == 1


def turned(path):
    """The same path for the transposed mask."""
    swapped = re.sub(r"M(\d+) (\d+)([hv])(\d+)", r"M\2 \1\3\4", path)
    return swapped.translate(str.maketrans("hv", "vh"))


@given(MASKS)
def test_an_outline_encloses_the_mask_pixel_by_pixel(mask):
    path = outline(mask)
    np.testing.assert_array_equal(filled(path, mask.shape), mask)
    np.testing.assert_array_equal(filled(turned(path), mask.T.shape), mask.T)


@given(MASKS, st.data())
def test_a_window_is_a_square_that_holds_every_mask(mask, data):
    other = data.draw(arrays(bool, mask.shape))
    near = window([mask, other], mask.shape)
    rows, cols = np.nonzero(mask | other)
    assert near.side <= max(mask.shape)
    if len(rows):
        assert near.row <= rows.min()
        assert rows.max() < near.row + near.side
        assert near.col <= cols.min()
        assert cols.max() < near.col + near.side


def test_a_window_shows_a_small_mass_large_with_a_margin():
    mask = np.zeros((100, 80), bool)
    mask[50:58, 40:44] = True
    near = window([mask], mask.shape)
    assert (near.side, near.row, near.col) == (20, 44, 32)


def rows(dsc, *, fp=0, size=10, normal=()):
    ids = [f"i{n}" for n in range(len(dsc))]
    table = pd.DataFrame({"id": ids, "dsc": dsc, "fp": fp, "fn": size, "tp": 0})
    empty = table["id"].isin(normal)
    return table.assign(truth_empty=empty, missed=(table["dsc"] == 0) & ~empty)


def test_images_are_chosen_by_rule():
    size = [9, 9, 9, 9, 9, 99, 0]
    one = rows([0.9, 0.5, 0.6, 0.1, 0.0, 0.0, 1.0], size=size, normal=["i6"])
    other = rows([0.8, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0], size=size, normal=["i6"], fp=[0, 0, 0, 0, 0, 0, 7])
    found = dict(chosen({"a": one, "b": other}, 1))
    assert found["best"] == "i0"  # the highest mean
    assert found["median"] == "i2"  # the third of six
    assert found["worst"] == "i3"  # the lowest of those that anyone found
    assert found["missed"] == "i5"  # both missed i4 and i5, and i5 is larger
    assert found["normal"] == "i6"
    assert "apart" not in found  # i0, i2 and i3, the only ones with a spread, are taken


def test_the_choice_does_not_depend_on_the_order_of_the_rows():
    table = rows([0.9, 0.9, 0.5, 0.5, 0.1, 0.1])
    assert chosen({"a": table}, 2) == chosen({"a": table[::-1]}, 2)
