"""The ledger adds up, equals Algorithm 1 as printed, and its gradient is the loss's own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithm_1 import VARIANTS, algorithm_1
from drawing import draw
from massmatch.explanations.figure import draw as draw_figure
from massmatch.explanations.figure import outlines, picture, window
from massmatch.explanations.ledger import BY, ledger, off_the_ends
from massmatch.explanations.subject import Subject
from massmatch.explanations.variants import Variant, family
from massmatch.losses import LOSSES, make_loss

ALL = [variant for variant in family("sm-tversky-s-a").variants() if variant.weighting not in ("none", "soft")]
ALONE = [variant for variant in family("sm-tversky-s-a").variants() if variant.weighting == "none"]


def soft(mask, seed=0, flip=0.0):
    """Probabilities that follow a mask, with noise, and some pixels turned over."""
    noise = np.random.default_rng(seed).uniform(0.02, 0.45, mask.shape)
    turned = np.random.default_rng(seed + 1).random(mask.shape) < flip
    return np.where(mask ^ turned, 1 - noise, noise)


def case(shape, *boxes):
    labels = np.zeros(shape, np.uint8)
    for n, (top, left, height, width) in enumerate(boxes, 1):
        labels[top : top + height, left : left + width] = n
    return labels


CASES = {
    "one mass": case((32, 32), (8, 9, 7, 8)),
    "cells cut off by the border": case((27, 38), (3, 30, 9, 8)),
    "a mass at the corner": case((19, 23), (14, 18, 5, 5)),
    "three masses, two touching": case((40, 24), (2, 2, 4, 9), (6, 2, 5, 5), (30, 12, 8, 8)),
    "no mass": case((20, 28)),
    "all mass": case((16, 16), (0, 0, 16, 16)),
    "a speck": case((24, 24), (11, 12, 1, 1)),
}
PREDICTIONS = {
    "near": lambda mask: soft(np.roll(mask, (1, 2), (0, 1))),
    "with false positives": lambda mask: soft(mask, seed=3, flip=0.03),
    "nothing": lambda mask: soft(np.zeros_like(mask), seed=5),
    "everything": lambda mask: soft(np.ones_like(mask), seed=6),
    "a hard mask": lambda mask: off_the_ends(np.roll(mask, 3, 1).astype(float), mask)[0],
}


def adds_up(found, loss, probability, labels):
    """Every sum that a ledger promises, against the loss as it is called in training."""
    target, instances = torch.tensor(labels > 0)[None, None], torch.tensor(labels.astype(np.int64))[None, None]
    p = torch.tensor(probability)[None, None].requires_grad_()
    value = loss(p, target, instances=instances)
    value.backward()
    assert found.loss == pytest.approx(value.item(), abs=1e-9)
    assert found.image + found.grid_weight * found.ratio * found.grid == pytest.approx(found.loss, abs=1e-9)
    if found.loss:
        assert found.share_of_image + found.cells["share_of_loss"].sum() == pytest.approx(1, abs=1e-9)
    assert found.cells["gradient_by_probability"].sum() == pytest.approx(p.grad.abs().sum().item(), rel=1e-9)
    for by in BY:
        assert found.cells[f"share_of_gradient_by_{by}"].sum() == pytest.approx(1, abs=1e-9)
        parts = sum(found.cells[f"gradient_by_{by}_of_{term}"] for term in ("image", "grid"))
        assert np.allclose(parts, found.cells[f"gradient_by_{by}"], rtol=1e-9)  # both pull the same way on a hard truth


@pytest.mark.parametrize("variant", ALL + ALONE, ids=lambda variant: variant.name)
@pytest.mark.parametrize("name", CASES)
def test_the_ledger_adds_up_to_the_loss_that_trains(name, variant):
    """Of the predictions each variant and each image meets all, and each pair of these two, in turn."""
    loss, labels = family("sm-tversky-s-a").loss(variant), CASES[name]
    turn = (ALL + ALONE).index(variant) + list(CASES).index(name)
    for prediction in (turn, turn + 2):
        p = list(PREDICTIONS.values())[prediction % len(PREDICTIONS)](labels > 0)
        adds_up(ledger(loss, p, labels), loss, p, labels)


@st.composite
def drawn_images(draw_):
    rows, columns = draw_(st.integers(5, 21)), draw_(st.integers(5, 21))
    seed = draw_(st.integers(0, 10**6))
    generator = np.random.default_rng(seed)
    labels = np.zeros((rows, columns), np.uint8)
    for n in range(1, draw_(st.integers(0, 3)) + 1):
        top, left = generator.integers(0, rows), generator.integers(0, columns)
        labels[top : top + generator.integers(1, 9), left : left + generator.integers(1, 9)] = n
    return soft(labels > 0, seed, flip=draw_(st.sampled_from([0, 0.02, 0.2]))), labels


@settings(max_examples=60)
@given(drawn_images(), st.sampled_from(ALL))
def test_every_term_is_that_of_algorithm_1_as_printed(image, variant):
    p, labels = image
    found = ledger(family("sm-tversky-s-a").loss(variant), p, labels)
    switches = VARIANTS[f"sm-dice-{variant.weighting}-{variant.aggregation}"]
    printed = algorithm_1(p, labels > 0, **{**switches, "core": variant.core}, instances=labels)
    assert found.loss == pytest.approx(printed.L_SM, abs=1e-6)
    assert (found.cell_size, found.grid_shape) == (printed.cell_size, printed.L_i.shape)
    assert (found.S, found.ratio) == pytest.approx((printed.S, printed.s))
    of_cells = {"loss": printed.L_i, "weight": printed.w_i, "kept": printed.kept, "true": printed.contains_y}
    of_cells |= {"predicted": printed.contains_p, "share_of_loss": printed.contributions / printed.L_SM}
    if "d" in variant.weighting:  # without, the printed one measures no distance
        of_cells["distance"] = printed.D_i
    for column, expected in of_cells.items():
        assert np.allclose(found.map(column), expected, atol=1e-9), column


@pytest.mark.parametrize("name", ["sm-tversky-sd-nz", "sm-bce-s-a"])
def test_the_gradient_is_the_slope_of_algorithm_1_as_printed(name):
    labels = case((10, 9), (2, 2, 4, 4))
    p, step = soft(labels > 0, seed=8, flip=0.05), 1e-6
    slopes = np.zeros_like(p)
    for pixel in np.ndindex(p.shape):
        up, down = p.copy(), p.copy()
        up[pixel], down[pixel] = p[pixel] + step, p[pixel] - step
        values = [algorithm_1(q, labels > 0, **VARIANTS[name]).L_SM for q in (up, down)]
        slopes[pixel] = (values[0] - values[1]) / (2 * step)
    found = ledger(make_loss(name, from_logits=False), p, labels)
    for cell in found.cells.itertuples():
        within = np.s_[cell.top : cell.top + cell.height, cell.left : cell.left + cell.width]
        assert cell.gradient_by_probability == pytest.approx(np.abs(slopes[within]).sum(), rel=1e-5)
        by_logit = np.abs(slopes * p * (1 - p))[within].sum()
        assert cell.gradient_by_logit == pytest.approx(by_logit, rel=1e-5)


def test_the_gradient_by_logit_is_what_the_logits_of_a_network_receive():
    labels = CASES["three masses, two touching"]
    p = soft(labels > 0, seed=4, flip=0.02)
    logits = torch.logit(torch.tensor(p))[None, None].requires_grad_()
    instances = torch.tensor(labels.astype(np.int64))[None, None]
    LOSSES["sm-dice-sd-a"]()(logits, instances > 0, instances=instances).backward()
    found = ledger(LOSSES["sm-dice-sd-a"](from_logits=False), p, labels)
    assert found.cells["gradient_by_logit"].sum() == pytest.approx(logits.grad.abs().sum().item(), rel=1e-6)


def test_a_ledger_by_hand():
    mask = draw("""
        ##.. .... ....
        ##.. .... ....
        .... .... ....
        .... .... ....
    """)
    labels = mask[0, 0].numpy().astype(np.uint8)
    p = np.zeros((4, 12))
    p[0, 0] = 1  # one of four pixels found
    p[3, 11] = 1  # and one beside, two cells off
    found = ledger(make_loss("sm-dice-d-nz", from_logits=False), p, labels)
    first, _, last = found.cells.to_dict("records")
    assert (found.cell_size, found.grid_shape, found.S) == ((4, 4), (1, 3), 2)
    assert first["loss"] == pytest.approx(1 - 3 / 6)  # (2 TP + 1) / (1 + 4 + 1)
    assert last["loss"] == pytest.approx(1 - 1 / 2)  # 1 / (1 + 0 + 1)
    assert (first["weight"], last["distance"]) == (0.5, 2)
    assert last["weight"] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found.image == pytest.approx(1 - 3 / 7)  # 1 / (2 + 4 + 1), twice TP and the 1 above
    assert found.cells["kept"].tolist() == [True, False, True]
    assert found.grid == pytest.approx((0.5 * 0.5 + last["weight"] * 0.5) / 2)


def test_the_labels_size_the_grid_so_that_masses_that_touch_stay_apart():
    labels = CASES["three masses, two touching"]
    p = soft(labels > 0)
    loss = make_loss("sm-bce-b-a", from_logits=False)
    assert ledger(loss, p, labels).cell_size == (4, 4)
    assert ledger(loss, p, (labels > 0).astype(np.uint8)).cell_size == (32, 16)  # all of it as one


def test_shares_of_nothing_are_undefined():
    labels = CASES["one mass"]
    found = ledger(make_loss("sm-dice-b-a", from_logits=False), (labels > 0).astype(float), labels)
    assert found.loss == 0
    assert np.isnan(found.share_of_image)
    assert found.cells["share_of_loss"].isna().all()
    assert found.cells["share_of_gradient_by_logit"].isna().all()


def test_a_loss_of_logits_is_refused():
    with pytest.raises(ValueError, match="from_logits=False"):
        ledger(LOSSES["sm-bce-b-a"](), np.zeros((8, 8)), np.zeros((8, 8), np.uint8))


def test_certainty_is_taken_inside_within_the_rounding_of_the_file():
    truth = np.array([[True, True, False, False, True]])
    p, moved = off_the_ends(np.array([[0.0, 1.0, 1.0, 0.0, 0.3]]), truth)
    assert moved == 2
    assert p[0, [0, 2, 4]].tolist() == [1 / 262140, 1 - 1 / 262140, 0.3]
    assert p[0, [1, 3]] == pytest.approx([1, 0], abs=1e-9)
    assert np.rint(p * 65535).tolist() == [[0, 65535, 65535, 0, np.rint(0.3 * 65535)]]


def test_a_certain_and_right_pixel_has_the_slope_of_its_neighbour():
    labels = CASES["one mass"]
    p = np.where(labels > 0, 0.9, 1e-6)
    p[0, :4], p[0, 4:8] = 0, 1e-9
    found = ledger(family("bce").loss(Variant("bce")), off_the_ends(p, labels > 0)[0], labels)
    assert found.cells["gradient_by_probability"][0] == pytest.approx(64 / labels.size, rel=1e-4)


# ------------------------------------------------------------------------------------------------- its variants


def test_a_family_has_each_core_alone_and_with_all_switches():
    names = [variant.name for variant in family("sm-tversky-s-a").variants()]
    assert set(VARIANTS) <= set(names)
    assert len(names) == len(set(names)) == 4 * 10
    assert {"bce", "tversky", "dice", "hybrid", "sm-hybrid-sd-nz", "soft-sm"} <= set(names)


SOFT = "soft-sm:core=tversky,levels=3,count=0.2,cell_statistic=mean,distance=false"


def test_the_soft_form_adds_up_and_its_terms_are_those_of_its_cells():
    labels = CASES["three masses, two touching"]
    p = soft(labels > 0, flip=0.02)
    losses = family("soft-sm:cell_size=4,random_phase=true")
    found = ledger(losses.loss(losses.asked), p, labels)
    assert found.image + found.cells["term"].sum() == pytest.approx(found.loss, abs=1e-12)
    assert found.share_of_image + found.cells["share_of_loss"].sum() == pytest.approx(1, abs=1e-12)
    true = found.cells[found.cells["true"]]
    assert (true["term"] * len(true)).to_numpy() == pytest.approx(true["loss"].to_numpy(), abs=1e-12)  # found = 1
    others = found.cells[~found.cells["true"]]
    assert others["weight"].to_numpy() == pytest.approx(1 / (1 + np.exp(-others["distance"].to_numpy())), abs=1e-12)
    assert (true["weight"] == 1).all()
    assert ledger(losses.loss(Variant("tversky", "sd", "nz")), p, labels).cell_size == (4, 4)


def test_the_variant_that_was_asked_for_is_the_loss_of_that_name():
    labels = CASES["three masses, two touching"]
    p = soft(labels > 0, flip=0.02)
    for spec in (
        "sm-tversky-sd-nz:cell_statistic=mean,fn_weight=0.9,grid_weight=0.3",
        "dice:smooth=0.1",
        "focal",
        SOFT,
    ):
        losses = family(spec)
        instances = torch.tensor(labels.astype(np.int64))[None, None]
        value = make_loss(spec, from_logits=False)(torch.tensor(p)[None, None], instances > 0, instances=instances)
        found = ledger(losses.loss(losses.asked), p, labels)
        assert found.loss == pytest.approx(value.item(), abs=1e-9), spec


def test_options_go_along_to_the_variants_that_have_them():
    losses = family("sm-tversky-s-a:smooth=0.25,fn_weight=0.6,cell_size=8x4")
    assert losses.cores["dice"].smooth == losses.cores["tversky"].smooth == 0.25
    assert ledger(losses.loss(Variant("bce", "b", "nz")), np.full((16, 16), 0.2), case((16, 16))).cell_size == (8, 4)


def test_another_core_of_the_catalogue_can_be_asked_for():
    losses = family("focal-tversky")
    assert losses.asked == Variant("focal-tversky")
    assert Variant("focal-tversky", "sd", "nz") in list(losses.variants())


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_of_the_catalogue_has_cells_or_says_that_it_has_none(name):
    try:
        assert family(name).asked.name == name
    except ValueError as error:
        assert "has no cells" in str(error)  # noqa: PT017
        assert not name.startswith(("sm-", "soft-"))


# ------------------------------------------------------------------------------------------------- the figure


def subject(labels, p):
    image = np.add.outer(np.arange(labels.shape[0]), np.arange(labels.shape[1])).astype(np.uint8)
    return Subject("made up", image, labels, p, "probabilities of 16 bits")


def texts(figure):
    return [text.get_text() for axis in figure.axes for text in (axis.title, *axis.texts)]


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_image_can_be_drawn(name, monkeypatch):
    monkeypatch.setattr("massmatch.explanations.figure.SHARPNESS", 40)  # all is drawn, on fewer pixels
    labels = CASES[name]
    prediction = "nothing" if name in ("no mass", "a speck") else "with false positives"
    p = PREDICTIONS[prediction](labels > 0)
    found = ledger(make_loss("sm-bce-sd-nz", from_logits=False), p, labels, "sm-bce-sd-nz")
    assert picture(subject(labels, p), found).startswith(b"\x89PNG")


def test_the_figure_says_what_the_ledger_says():
    labels = CASES["one mass"]
    p = soft(labels > 0)
    p[24:28, 24:28] = 0.9  # a false positive
    found = ledger(make_loss("sm-tversky-sd-nz", from_logits=False), p, labels, "sm-tversky-sd-nz")
    figure = draw_figure(subject(labels, p), found)
    assert f"{found.loss:.4f}" in figure.get_suptitle()
    said = "\n".join(texts(figure))
    cells = found.cells[found.cells["predicted"] & ~found.cells["true"]]
    assert len(cells) == 1
    assert f"{cells['weight'].item():.2f}\nd {cells['distance'].item():.3g}" in said
    assert f"{found.cells['kept'].sum()} of {len(found.cells)}" in said
    assert f"whole image: {100 * found.share_of_image:.1f} %" in said


def test_the_core_alone_has_no_shares_of_cells_in_its_figure():
    labels = CASES["one mass"]
    losses = family("hybrid")
    found = ledger(losses.loss(losses.asked), soft(labels > 0), labels, "hybrid")
    said = "\n".join(texts(draw_figure(subject(labels, soft(labels > 0)), found)))
    assert "share of the gradient" in said
    assert "share of the loss" not in said
    assert found.gradient_of_grid() == 0


def test_four_thousand_cells_get_few_numbers():
    labels = case((256, 256), (100, 100, 4, 4), (20, 200, 40, 30))
    p = soft(labels > 0, flip=0.01)  # mass in many cells
    found = ledger(make_loss("sm-bce-sd-a", from_logits=False), p, labels)
    assert len(found.cells) == 4096
    numbers = [text for text in texts(draw_figure(subject(labels, p), found)) if text[:1].isdigit()]
    assert len(numbers) < 60


def test_the_window_holds_all_mass_and_stays_in_the_image():
    labels = case((128, 96), (100, 70, 8, 8))
    p = soft(labels > 0)
    view = window(ledger(make_loss("sm-bce-b-a", from_logits=False), p, labels))
    assert 0 <= view.top <= 100
    assert 108 <= view.bottom <= 128
    assert 0 <= view.left <= 70
    assert 78 <= view.right <= 96
    assert view.bottom - view.top < 80


def test_outlines_close_around_masses_also_at_the_border():
    mask = np.zeros((6, 8), bool)
    mask[:3, :2] = True
    (line,) = outlines(mask, 0.5)
    assert np.allclose(line[0], line[-1])
    area = 0.5 * abs(np.dot(line[:-1, 0], line[1:, 1]) - np.dot(line[1:, 0], line[:-1, 1]))
    assert area == pytest.approx(6 - 4 * 0.125)  # its corners are cut
    assert outlines(np.zeros((4, 4)), 0.5) == []
