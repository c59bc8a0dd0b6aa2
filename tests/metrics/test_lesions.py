"""Masses found and false pieces, on drawn masks and by hand; candidates of maps of probabilities."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massmatch.metrics import CANDIDATE, image_metrics, lesion_candidates, lesion_counts, summary
from shapes import EMPTY, digits, drawn, square

NOTHING = EMPTY.astype(np.uint8)


def test_lesions_by_hand():
    instances = square((5, 5)).astype(np.uint8) + 2 * square((40, 40)) + 3 * square((5, 40))
    prediction = square((5, 5)) | square((45, 45)) | square((30, 10), 3) | square((5, 45), 3)
    # found well; a quarter (IoU 25 / 175 = 0.14, its centre inside); 9 of 100 pixels of the third; one on nothing
    assert lesion_counts(prediction, instances) == {
        "masses": 3,
        "masses_found": 1,
        "masses_found_iou10": 2,
        "masses_found_iou50": 1,
        "masses_found_centre": 2,
        "pieces": 4,
        "pieces_false": 1,
        "pieces_false_iou10": 2,
        "pieces_false_iou20": 3,
        "pieces_false_iou50": 3,
        "pieces_false_centre": 2,
    }


def test_without_prediction_or_mass_all_counts_are_defined():
    assert set(lesion_counts(EMPTY, NOTHING).values()) == {0}
    missed, false = lesion_counts(EMPTY, square((5, 5)) * np.uint8(7)), lesion_counts(square((5, 5)), NOTHING)
    assert (missed["masses"], missed["masses_found_iou10"], missed["pieces"], missed["pieces_false_centre"]) == (
        1,
        0,
        0,
        0,
    )
    assert (false["masses"], false["pieces"], false["pieces_false"], false["pieces_false_iou50"]) == (0, 1, 1, 1)


def test_a_second_piece_on_a_found_mass_is_neither_hit_nor_false():
    of = lesion_counts(drawn("####.##.."), digits("111111100"))
    assert (of["masses_found_iou50"], of["pieces"], of["pieces_false_iou50"]) == (1, 2, 0)


def test_a_piece_on_a_mass_that_nothing_found_is_false():
    of = lesion_counts(drawn("#.#......"), digits("111111111"))
    assert (of["masses_found_iou10"], of["pieces_false_iou10"]) == (1, 0)
    assert (of["masses_found_iou50"], of["pieces_false_iou50"], of["pieces_false"]) == (0, 2, 0)


def test_one_piece_finds_one_mass_even_where_it_covers_two():
    touching = digits("1122")
    of = lesion_counts(drawn("####"), touching)
    assert (of["masses"], of["masses_found_iou50"], of["pieces_false_iou50"]) == (2, 1, 0)


def test_matching_finds_as_many_masses_as_it_can():
    # the first piece fits the first mass best, but it alone can find the second; a greedy match would find one mass
    instances, prediction = digits("1111222"), drawn("#.#####")
    of = lesion_counts(prediction, instances)
    assert of["masses_found_iou10"] == 2


def test_of_two_masses_that_one_piece_may_find_it_finds_the_one_that_it_fits_best():
    # the second piece has an IoU of 10 / 15 with the first mass and 3 / 13 with the other; the first piece, 1 / 12
    of = lesion_counts(drawn("#.#############"), digits("111111111111222"))
    assert (of["masses_found_iou10"], of["pieces_false_iou10"]) == (1, 0)  # the first piece lies on a found mass


def test_the_centre_of_a_ring_is_in_the_mass_that_it_goes_round():
    ring = drawn("#####", "#...#", "#...#", "#...#", "#####")
    inside = digits("00000", "00000", "00100", "00000", "00000")
    of = lesion_counts(ring, inside)
    assert (of["masses_found_centre"], of["pieces_false_centre"]) == (1, 0)
    assert (of["masses_found_iou10"], of["pieces_false"]) == (0, 1)


def test_pieces_hold_together_over_corners():
    assert lesion_counts(drawn("#.", ".#"), digits("00", "00"))["pieces"] == 1


def slow_counts(prediction, instances, least):
    """Every piece by flood fill, every pairing tried in turn."""
    left, pieces = {tuple(p) for p in np.argwhere(prediction)}, []
    while left:
        piece, front = set(), [left.pop()]
        while front:
            row, col = front.pop()
            piece.add((row, col))
            near = {(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            front += near
        pieces.append(piece)
    masses = [{tuple(p) for p in np.argwhere(instances == label)} for label in np.unique(instances[instances > 0])]
    hits = [[len(p & m) / len(p | m) >= least for m in masses] for p in pieces]

    def most(n, free):
        if n == len(pieces):
            return 0
        return max([most(n + 1, free), *(1 + most(n + 1, free - {m}) for m in free if hits[n][m])])

    return len(pieces), most(0, frozenset(range(len(masses)))), sum(not any(p & m for m in masses) for p in pieces)


@given(seed=st.integers(0, 10_000))
def test_lesions_equal_every_pairing_tried(seed):
    rng = np.random.default_rng(seed)
    prediction, instances = rng.random((7, 9)) < 0.3, np.repeat(rng.integers(0, 3, (7, 3)), 3, axis=1).astype(np.uint8)
    of = lesion_counts(prediction, instances)
    for least, name in ((0.1, "masses_found_iou10"), (0.2, "masses_found"), (0.5, "masses_found_iou50")):
        assert (of["pieces"], of[name], of["pieces_false"]) == slow_counts(prediction, instances, least)


def test_false_pieces_are_counted_per_image_and_per_image_without_mass():
    pairs = [
        (square((5, 5)), NOTHING),
        (square((5, 5)) | square((40, 40)), square((5, 5)) * np.uint8(1)),
        (EMPTY, NOTHING),
    ]
    rows = pd.DataFrame([{**image_metrics(p, y > 0), **lesion_counts(p, y)} for p, y in pairs])
    line = summary(rows)
    assert (line["masses"], line["masses_found"], line["pieces_false"]) == (1, 1, 2)
    assert line["pieces_false_per_image"] == pytest.approx(2 / 3)
    assert line["pieces_false_per_normal"] == pytest.approx(1 / 2)


def test_candidates_by_hand():
    probability = np.array([[0.9, 0.8, 0.0, 0.3, 0.2, 0.0, 0.05]])
    found = lesion_candidates(probability, digits("1100222"))
    assert found.to_dict("list") == {
        "candidate": [1, 2],
        "score": [0.9, 0.3],
        "area_px": [2, 2],
        "row": [0.0, 0.0],
        "col": [0.5, 3.5],
        "mass": [1, 2],
        "iou": [1.0, 1 / 4],
        "mass_at_centre": [1, 2],  # 3.5 goes to the even pixel, 4
    }


def test_a_faint_bridge_joins_no_candidates():
    found = lesion_candidates(np.array([[0.9, 0.2, 0.2, 0.6, 0.2]]), digits("00000"))
    assert found["score"].tolist() == [0.9, 0.6]
    assert found["area_px"].tolist() == [1, 1]


def test_a_faint_peak_has_its_own_shape_and_a_strong_one_no_halo():
    faint, strong = lesion_candidates(np.array([[0.12, 0.16, 0.2, 0.11, 0.05]]), digits("01100")), None
    assert (faint["area_px"].tolist(), faint["iou"].tolist()) == ([4], [0.5])
    strong = lesion_candidates(np.array([[0.4, 0.8, 1.0, 0.5, 0.2]]), digits("01100"))
    assert (strong["area_px"].tolist(), strong["iou"].tolist()) == ([2], [1.0])


@given(seed=st.integers(0, 10_000))
def test_where_the_network_is_certain_the_candidates_are_the_pieces_of_the_mask(seed):
    rng = np.random.default_rng(seed)
    mask, instances = rng.random((8, 9)) < 0.3, (rng.random((8, 9)) < 0.3).astype(np.uint8)
    found, of = lesion_candidates(mask.astype(np.float32), instances), lesion_counts(mask, instances)
    assert (len(found), (found["mass"] == 0).sum()) == (of["pieces"], of["pieces_false"])
    assert found["area_px"].sum() == mask.sum()


def test_candidates_of_nothing_keep_their_columns():
    for instances in (NOTHING, square((5, 5)).astype(np.uint8)):
        found = lesion_candidates(np.zeros((64, 64), np.float32), instances)
        assert found.dtypes.astype(str).to_dict() == CANDIDATE
        assert len(found) == 0
