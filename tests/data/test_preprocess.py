"""What is done to an image can be undone: by marked corners, in every combination."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from mammograms import glaring, mammogram
from massmatch import prepare
from massmatch.data import DataWarning, Sample
from massmatch.data.preprocessing.breast import breast_range
from massmatch.data.preprocessing.frame import Frame, Preprocessing, prepared_pixels, preprocess

ALL = [
    Preprocessing(crop=crop, flip=flip, size=size, bits=bits)
    for crop, flip, size, bits in itertools.product(
        ("none", "breast"), ("none", "left", "right"), ("native", (64, 64), (50, 37)), (8, 16)
    )
]


def sample(side="left", **changes):
    """A drawn mammogram of 200 x 150 with a mass of 30 x 24 pixels inside the breast."""
    image = mammogram(200, 150, side)
    instances = np.zeros(image.shape, np.uint8)
    columns = slice(40, 64) if side == "left" else slice(86, 110)
    instances[90:120, columns] = 1
    fields = {"id": "a", "patient": "p", "view": "CC", "spacing_mm": (0.1, 0.2)}
    return Sample(image=image, instances=instances, **{**fields, **changes})


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("how", ALL, ids=lambda h: f"{h.crop}-{h.flip}-{h.size}-{h.bits}")
def test_marked_corners_come_back_to_their_pixels(how, side):
    """Four labels, one per corner of the window, each as large as a prepared pixel."""
    image = mammogram(200, 150, side)
    frame = Frame.of(image, how)
    corners = np.zeros((frame.rows, frame.cols), np.uint8)
    corners[0, 0], corners[0, -1], corners[-1, 0], corners[-1, -1] = 1, 2, 3, 4
    native = frame.undo(corners)
    assert native.shape == image.shape
    top, left = frame.crop_row, frame.crop_col
    bottom, right = top + frame.crop_rows - 1, left + frame.crop_cols - 1
    west, east = ((1, 3), (2, 4)) if not frame.flipped else ((2, 4), (1, 3))
    assert (native[top, left], native[bottom, left]) == west
    assert (native[top, right], native[bottom, right]) == east
    inside = np.zeros(image.shape, bool)
    inside[top : bottom + 1, left : right + 1] = True
    assert not native[~inside].any()


@pytest.mark.parametrize("how", [h for h in ALL if h.size == "native"], ids=lambda h: f"{h.crop}-{h.flip}")
def test_without_resizing_a_mask_comes_back_exactly(how):
    before = sample()
    changed, frame = preprocess(before, how)
    np.testing.assert_array_equal(frame.undo(changed.instances), before.instances)
    np.testing.assert_array_equal(frame.undo(changed.mask), before.mask)


@pytest.mark.parametrize("how", ALL, ids=lambda h: f"{h.crop}-{h.flip}-{h.size}-{h.bits}")
def test_a_resized_mask_comes_back_to_within_a_prepared_pixel(how):
    before = sample()
    changed, frame = preprocess(before, how)
    back = frame.undo(changed.instances) > 0
    rows, cols = np.nonzero(back)
    height, width = frame.crop_rows / frame.rows, frame.crop_cols / frame.cols
    assert abs(rows.min() - 90) <= height
    assert abs(rows.max() - 119) <= height
    assert abs(cols.min() - 40) <= width
    assert abs(cols.max() - 63) <= width


def test_probabilities_are_interpolated_on_the_way_back():
    image = mammogram(200, 150, "left")
    frame = Frame.of(image, Preprocessing(size=(50, 30)))
    ramp = np.tile(np.linspace(0, 1, 30, dtype=np.float32), (50, 1))
    back = frame.undo(ramp)
    assert back.dtype == np.float32
    assert (np.diff(back[100]) >= 0).all()
    assert np.diff(back[100]).max() < 0.01  # 150 columns from 0 to 1, without the steps of 1/29


def test_the_frame_comes_back_from_the_columns():
    changed, frame = preprocess(sample(), Preprocessing(crop="breast", flip="right", size=(40, 30)))
    assert Frame.from_facts(changed.facts, changed.image.shape) == frame
    assert frame.flipped
    assert frame.crop_cols < 150


def test_flip_brings_the_chest_wall_to_its_side_whatever_it_was():
    for side, to in itertools.product(("left", "right"), repeat=2):
        changed, frame = preprocess(sample(side), Preprocessing(flip=to, size="native"))
        assert frame.flipped == (side != to)
        left, right = changed.image[:, :50].mean(), changed.image[:, -50:].mean()
        assert (left > right) == (to == "left")


def test_spacing_follows_window_and_size():
    whole, _ = preprocess(sample(), Preprocessing(size=(50, 50)))
    assert whole.spacing_mm == pytest.approx((0.1 * 200 / 50, 0.2 * 150 / 50))
    cropped, frame = preprocess(sample(), Preprocessing(crop="breast", size=(50, 50)))
    assert cropped.spacing_mm == pytest.approx((0.1 * frame.crop_rows / 50, 0.2 * frame.crop_cols / 50))
    assert preprocess(sample(spacing_mm=None), Preprocessing())[0].spacing_mm is None


@pytest.mark.parametrize(("bits", "top"), [(8, 255), (16, 65535)])
def test_pixels_are_stretched_to_the_bits(bits, top):
    image = np.array([[100, 200], [300, 400]], np.uint16)
    how = Preprocessing(size="native", bits=bits, range="min-max")
    found = prepared_pixels(image, Frame.of(image, how), how)
    assert found.tolist() == [[0, round(top / 3)], [round(2 * top / 3), top]]


def hot(place, side="left", top=4000):
    """The drawn mammogram with 65535 on a label in the air, or on single pixels inside the breast."""
    image = mammogram(200, 150, side, top=top)
    label = np.zeros(image.shape, bool)
    if place == "air":
        label[10:24, -26:-4] = True
    else:
        label[90:110:7, 30:50:7] = True
    image[label if side == "left" else label[:, ::-1]] = 65535
    return image


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("place", ["air", "breast"])
@pytest.mark.parametrize("crop", ["none", "breast"])
def test_hot_pixels_do_not_squeeze_the_range_of_the_breast(place, side, crop):
    """The breast of 4000 greys keeps nearly all of the 255; the paper's range leaves it some sixteen."""
    clean, spoilt = mammogram(200, 150, side), hot(place, side)
    how = Preprocessing(size="native", crop=crop)
    frame = Frame.of(clean, how)
    tissue = frame.cut(spoilt) < 65535
    before, after = (prepared_pixels(image, frame, how).astype(float)[tissue] for image in (clean, spoilt))
    assert np.abs(after - before).max() <= 0.03 * 255
    with pytest.warns(DataWarning, match="the tissue has [46] % of the greys"):
        squeezed = prepared_pixels(
            spoilt, Frame.of(clean, Preprocessing(size="native")), Preprocessing(range="min-max")
        )
    assert squeezed[spoilt < 65535].max() < 255 / 8


@pytest.mark.parametrize("crop", ["none", "breast"])
@pytest.mark.parametrize("where", ["plate", "strip", "frame", "clip"])
def test_few_greys_for_the_tissue_are_told_and_the_breasts_range_has_none(where, crop):
    """Wherever it lies in what the crop leaves."""
    clean = mammogram(300, 240)
    spoilt, glare = glaring(clean, where)
    masses = np.zeros(clean.shape, np.uint8)
    masses[100:120, 20:40] = 1
    samples = [replace(sample(), image=image, instances=masses) for image in (clean, spoilt)]
    results = [preprocess(one, Preprocessing(crop=crop, size="native")) for one in samples]
    before, after = (frame.undo(found.image.astype(np.float32)) for found, frame in results)
    assert np.abs(after - before)[~glare & (before > 0) & (after > 0)].max() <= 0.04 * 255
    paper = Preprocessing(crop=crop, size="native", range="min-max")
    with pytest.warns(DataWarning, match=r"^a: something is so bright .* the tissue has 4 % of the greys"):
        preprocess(samples[1], paper)


def test_the_range_is_that_between_the_percentiles_inside_the_breast():
    image = mammogram(200, 150)
    low, high = breast_range(image)
    inside = image[image > 400]  # a tenth of the range: well above the air's noise, so about the breast
    assert low <= np.percentile(inside, 0.5)  # a little of the air beside the skin counts as breast
    assert high == pytest.approx(np.percentile(inside, 99.5), rel=0.02)
    assert breast_range(np.full((64, 64), 7, np.uint8)) is None


def test_without_a_breast_the_range_is_that_of_the_image_and_it_is_told():
    noise = np.random.default_rng(0).integers(0, 4000, (64, 64)).astype(np.uint16)
    how = Preprocessing(size="native")
    with pytest.warns(DataWarning, match="a: no breast found whose range of greys could be taken"):
        found = prepared_pixels(noise, Frame.of(noise, how), how, "a")
    np.testing.assert_array_equal(found, prepared_pixels(noise, Frame.of(noise, how), Preprocessing(range="min-max")))


def test_records_of_version_01_have_the_range_that_it_had():
    record = Preprocessing(size="native").model_dump(mode="json")
    assert Preprocessing.from_record(record).range == "breast"
    del record["range"]
    assert Preprocessing.from_record(record).range == "min-max"


def test_row_25_an_even_image_is_black_and_told():
    fields = {"id": "a", "patient": "p", "instances": np.zeros((200, 150), np.uint8)}
    even = Sample(image=np.full((200, 150), 77, np.uint8), **fields)
    with pytest.warns(DataWarning, match="a: the image is even"):
        changed, _ = preprocess(even, Preprocessing())
    assert not changed.image.any()


def test_a_mass_too_small_is_told_and_kept():
    small = sample()
    small.instances[10:13, 20:24] = 2
    with pytest.warns(DataWarning, match="a: mass 2 of 12 pixels would have vanished at 32x32; one pixel is kept"):
        changed, _ = preprocess(small, Preprocessing(size=(32, 32)))
    assert (changed.instances == 2).sum() == 1


def test_a_mass_cut_by_the_crop_is_told():
    off = sample()
    off.instances[:2, 140:] = 2
    with pytest.warns(DataWarning, match="a: the crop cuts off 100 % of mass 2"):
        preprocess(off, Preprocessing(crop="breast"))


def test_without_a_breast_the_whole_image_is_kept_and_told():
    noise = np.random.default_rng(0).integers(0, 255, (200, 150)).astype(np.uint8)
    with pytest.warns(DataWarning, match="a: no breast found"):
        _, frame = preprocess(Sample("a", "p", noise, np.zeros(noise.shape, np.uint8)), Preprocessing(crop="breast"))
    assert (frame.crop_rows, frame.crop_cols) == (200, 150)


def test_the_pectoral_muscle_is_darkened_in_oblique_views_only():
    for view, is_dark in (("MLO", True), ("CC", False)):
        image = mammogram(200, 150, "left", muscle=True)
        given = Sample("a", "p", image, np.zeros(image.shape, np.uint8), view=view)
        changed, _ = preprocess(given, Preprocessing(pectoral="suppress", size="native"))
        assert (changed.image[:20, :10].max() == 0) == is_dark
        assert changed.image[100, 60] > 0


def test_an_unknown_view_whose_muscle_is_kept_is_told(tmp_path):
    """A cohort of PNG without a column for the view had "suppress" in its record, and all of its muscles."""
    image = mammogram(200, 150, "left", muscle=True)
    mask = np.zeros(image.shape, np.uint8)
    mask[90:120, 40:64] = 255
    for kind, pixels in (("images", image.astype(np.uint8)), ("masks", mask)):
        (tmp_path / f"source/{kind}").mkdir(parents=True)
        for name in ("a", "b"):
            Image.fromarray(pixels).save(tmp_path / f"source/{kind}/{name}.png")
    (tmp_path / "source/facts.csv").write_text("id,patient,view\na,1,MLO\nb,2,\n")
    told = prepare("folder", tmp_path / "source", tmp_path / "cohort", pectoral="suppress", size="native").warnings
    assert told[0].startswith("b: no view is known (a column `view` or a DICOM header says it)")
    assert sum("no view is known" in text for text in told) == 1


def test_a_mass_under_the_suppressed_muscle_is_told():
    image = mammogram(200, 150, "left", muscle=True)
    instances = np.zeros(image.shape, np.uint8)
    instances[5:15, 5:15] = 1
    with pytest.warns(DataWarning, match="a: the suppressed muscle hides 100 % of mass 1"):
        preprocess(Sample("a", "p", image, instances, view="MLO"), Preprocessing(pectoral="suppress"))


def test_a_muscle_that_is_not_there_is_told():
    even = np.zeros((100, 80), np.uint8)
    even[:, :40] = 100
    with pytest.warns(DataWarning, match="no edge of the pectoral muscle"):
        changed, _ = preprocess(
            Sample("a", "p", even, np.zeros(even.shape, np.uint8), view="MLO"), Preprocessing(pectoral="suppress")
        )
    assert changed.image[:10, :10].all()


def test_a_good_image_tells_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        preprocess(sample(), Preprocessing(crop="breast", flip="right", pectoral="suppress"))


@pytest.mark.parametrize(
    "wrong", [{"crop": "tight"}, {"size": (4, 4)}, {"size": "large"}, {"bits": 12}, {"rotate": 90}, {"size": (1e9, 8)}]
)
def test_what_is_not_known_is_refused(wrong):
    with pytest.raises(ValidationError):
        Preprocessing(**wrong)


def test_an_inverted_mask_is_told():
    inverted = sample()
    inverted.instances[...] = inverted.instances == 0
    share = 100 * inverted.mask.mean()
    with pytest.warns(
        DataWarning,
        match=rf"a: masses cover {share:.0f} % of the image: an inverted mask, or one with a label for the breast\?",
    ):
        preprocess(inverted, Preprocessing(size="native"))


def test_a_breast_that_has_a_label_of_its_own_is_told():
    """Classes 1 and 2, as breast and mass: each label counts as a mass, and the breast was the larger in silence."""
    labelled = sample()
    labelled.instances[...] = np.where(labelled.mask, 2, labelled.image > np.median(labelled.image))
    assert 0.25 < labelled.mask.mean() < 0.6
    with pytest.warns(DataWarning, match="one with a label for the breast"):
        preprocess(labelled, Preprocessing(size="native"))


def test_a_frame_around_a_mask_is_told():
    framed = sample()
    framed.instances[[0, -1]] = framed.instances[:, [0, -1]] = 2
    with pytest.warns(DataWarning, match=r"a: mass 2 reaches all four sides of the image: a frame around the mask\?"):
        preprocess(framed, Preprocessing(size="native"))


def test_specks_beside_a_mass_are_told_and_dropped_when_it_is_asked_for():
    spoilt = sample()
    spoilt.instances[20, 20:23] = 1
    with pytest.warns(DataWarning, match=r"a: the mask has pieces of 3 pixels .*--min-mass 5 drops them"):
        kept, _ = preprocess(spoilt, Preprocessing(size="native"))
    assert kept.mask[20, 20]
    with pytest.warns(DataWarning, match=r"a: pieces of 3 pixels of the mask are dropped \(--min-mass\)"):
        cleaned, _ = preprocess(spoilt, Preprocessing(size="native", min_mass=10))
    assert np.array_equal(cleaned.instances, sample().instances)
    with pytest.warns(DataWarning, match="are dropped .*: no mass is left"):
        preprocess(spoilt, Preprocessing(size="native", min_mass=10_000))
