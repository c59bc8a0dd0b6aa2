"""Figure 1 of the paper, drawn, and what each of the 24 variants makes of its three claims.

Plain BCE cannot tell the two pictures of a pair apart. The table says, variant by variant, whether the SM loss can in
this drawing, whose masses are aligned with the grid; at other places it may be otherwise (docs/figure_1.md). Its rows
were found with `algorithm_1` (the last test finds them again), never with the loss under test.
"""

import pytest

from algorithm_1 import VARIANTS, algorithm_1_of_batch
from drawing import draw, sure
from massmatch.losses import BCE, LOSSES

ONE_MASS = draw("""
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .

    . . . .  # # # #  . . . .  . . . .
    . . . .  # # # #  . . . .  . . . .
    . . . .  # # # #  . . . .  . . . .
    . . . .  # # # #  . . . .  . . . .

    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .

    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    """)
FOUR_PIECES = draw("""
    . . . .  . . . .  . . . .  . . . .
    . . . .  . # # .  . . . .  . . . .
    . . . .  . # # .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .

    . . . .  . . . .  . . . .  . . . .
    . # # .  . . . .  . # # .  . . . .
    . # # .  . . . .  . # # .  . . . .
    . . . .  . . . .  . . . .  . . . .

    . . . .  . . . .  . . . .  . . . .
    . . . .  . # # .  . . . .  . . . .
    . . . .  . # # .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .

    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    """)
NEXT_TO_IT = draw("""
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .

    . . . .  . . . .  # # # #  . . . .
    . . . .  . . . .  # # # #  . . . .
    . . . .  . . . .  # # # #  . . . .
    . . . .  . . . .  # # # #  . . . .

    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .

    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    """)
FAR_FROM_IT = draw("""
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .

    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .

    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .
    . . . .  . . . .  . . . .  . . . .

    . . . .  . . . .  . . . .  # # # #
    . . . .  . . . .  . . . .  # # # #
    . . . .  . . . .  . . . .  # # # #
    . . . .  . . . .  . . . .  # # # #
    """)
SMALL = draw("""
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .

    . . . . . . . .  # # # # . . . .
    . . . . . . . .  # # # # . . . .
    . . . . . . . .  # # # # . . . .
    . . . . . . . .  # # # # . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    """)
LARGE = draw("""
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .
    . . . . . . . .  . . . . . . . .

    . . . . . . . .  # # # # # # # #
    . . . . . . . .  # # # # # # # #
    . . . . . . . .  # # # # # # # #
    . . . . . . . .  # # # # # # # #
    . . . . . . . .  # # # # # # # #
    . . . . . . . .  # # # # # # # #
    . . . . . . . .  # # # # # # # #
    . . . . . . . .  # # # # # # # #
    """)

# A pair: (prediction, truth) on the left, (prediction, truth) on the right.
PAIRS = {
    "a": ((FOUR_PIECES, ONE_MASS), (NEXT_TO_IT, ONE_MASS)),
    "b": ((FAR_FROM_IT, ONE_MASS), (NEXT_TO_IT, ONE_MASS)),
    "c": ((SMALL, LARGE), (LARGE, SMALL)),
}
CLAIMS = {
    "a": "four predicted masses cost more than one of the same area, as near",
    "b": "a predicted mass far from the true one costs more than one beside it",
    "c": "missing three quarters of a mass costs something else than predicting four times the mass",
    "c+": "and missing costs more",
}
TABLE = """
                    a    b    c    c+
    sm-bce-b-a      no   no   no   no
    sm-bce-b-nz     no   no   no   no
    sm-bce-s-a      yes  no   yes  no
    sm-bce-s-nz     no   no   yes  no
    sm-bce-d-a      no   yes  yes  no
    sm-bce-d-nz     no   yes  yes  no
    sm-bce-sd-a     yes  yes  yes  no
    sm-bce-sd-nz    no   yes  yes  no
    sm-tversky-b-a  yes  no   yes  yes
    sm-tversky-b-nz no   no   yes  yes
    sm-tversky-s-a  yes  no   yes  yes
    sm-tversky-s-nz no   no   yes  yes
    sm-tversky-d-a  yes  yes  yes  yes
    sm-tversky-d-nz no   yes  yes  yes
    sm-tversky-sd-a yes  yes  yes  yes
    sm-tversky-sd-nz no  yes  yes  no
    sm-dice-b-a     yes  no   yes  no
    sm-dice-b-nz    no   no   yes  no
    sm-dice-s-a     yes  no   yes  no
    sm-dice-s-nz    yes  no   yes  no
    sm-dice-d-a     yes  yes  yes  no
    sm-dice-d-nz    no   yes  yes  no
    sm-dice-sd-a    yes  yes  yes  no
    sm-dice-sd-nz   yes  yes  yes  no
    """
HEADER, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
EXPECTED = {(name, claim): word == "yes" for name, *words in ROWS for claim, word in zip(HEADER, words, strict=True)}


def holds(claim, value):
    """Whether the claim holds for a loss, given as a function of (prediction, truth)."""
    left, right = (float(value(prediction, truth)) for prediction, truth in PAIRS[claim[0]])
    difference = (left - right) / right
    assert not 1e-5 < abs(difference) < 1e-3, "too close to call: draw another picture"
    return abs(difference) > 1e-3 if claim == "c" else difference > 1e-3


def test_the_table_has_every_variant_and_claim():
    assert set(EXPECTED) == {(name, claim) for name in VARIANTS for claim in CLAIMS}


@pytest.mark.parametrize("pair", PAIRS)
def test_plain_bce_cannot_tell_a_pair_apart(pair):
    left, right = (BCE()(sure(p), y, axes=(-2, -1)).item() for p, y in PAIRS[pair])
    assert left == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_two_pictures_of_a_pair_have_the_same_areas(pair):
    left, right = (p.sum() + y.sum() for p, y in PAIRS[pair])
    assert left == right


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_claim_of_figure_1_holds_or_not(name, claim):
    loss = LOSSES[name]()
    assert holds(claim, lambda p, y: loss(sure(p), y)) is EXPECTED[name, claim]


@pytest.mark.parametrize("name", VARIANTS)
def test_algorithm_1_says_the_same(name):
    for claim in CLAIMS:
        found = holds(claim, lambda p, y: algorithm_1_of_batch(sure(p), y, **VARIANTS[name])[0, 0])
        assert found is EXPECTED[name, claim], claim
