"""The native frame: what the preparation did is undone before masks are compared."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from conftest import tiny
from mammograms import mammogram
from massmatch.cli import app
from massmatch.cli.evaluate import in_mm, show_native
from massmatch.data import DataError, Sample, open_cohort
from massmatch.data.preparation.process import prepare_listing
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.data.readers.listing import Item, Listing
from massmatch.metrics import image_metrics
from massmatch.training.evaluate import evaluate, evaluate_native, measure
from massmatch.training.run import run

SPACING = (0.1, 0.2)


class Bright(nn.Module):
    """A "network" that finds what is brighter than 0.8 of the range: then the right answer is known."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(200.0))

    def forward(self, images):
        return self.gain * (images - 0.8)


def marked(id, rows, cols, side):
    """A drawn mammogram whose mass, 24 x 18 pixels, is brighter than all else; nothing in it is symmetric."""
    image = mammogram(rows, cols, side) // 4
    instances = np.zeros(image.shape, np.uint8)
    left = 20 if side == "left" else cols - 38
    instances[50:74, left : left + 18] = 1
    image[instances > 0] = 1000  # the tissue reaches 610
    return Sample(id, id, image, instances, view="CC", spacing_mm=SPACING, facts={"spacing_source": "PixelSpacing"})


def prepared(tmp_path, **how):
    (tmp_path / "source").mkdir()
    items = []
    for id, rows, cols, side in (("a", 160, 120, "left"), ("b", 140, 130, "right")):
        (tmp_path / "source" / id).touch()
        items.append(Item(id, id, (id,), partial(marked, id, rows, cols, side)))
    source = Listing(tmp_path / "source", items, "made up")
    prepare_listing(source, tmp_path / "cohort", Preprocessing(**how), reader="drawn", options={}, workers=1)
    return open_cohort(tmp_path / "cohort")


def test_masks_are_compared_in_the_frame_they_came_from(tmp_path):
    cohort = prepared(tmp_path, crop="breast", flip="right", size=(80, 64))
    rows = evaluate_native(Bright(), cohort, cohort.ids, 0.5).set_index("id")
    assert rows[["rows", "cols"]].to_numpy().tolist() == [[160, 120], [140, 130]]
    assert (rows["tp"] + rows["fn"]).tolist() == [24 * 18] * 2
    assert (rows["dsc"] > 0.9).all()
    assert rows["mass_fraction"]["a"] == pytest.approx(24 * 18 / (160 * 120))
    assert rows["spacing_source"].tolist() == ["PixelSpacing"] * 2
    prepared_rows = evaluate(Bright(), cohort, cohort.ids, 0.5).rows
    assert prepared_rows[["rows", "cols"]].to_numpy().tolist() == [[80, 64]] * 2


def test_millimetres_are_those_of_the_native_pixels(tmp_path):
    cohort = prepared(tmp_path, crop="breast", flip="left", size=(40, 64))
    rows = evaluate_native(Bright(), cohort, cohort.ids, 0.5).set_index("id")
    for id in cohort.ids:
        frame, truth = cohort.frame(id), cohort.native_instances(id) > 0
        spacing = frame.native_spacing(cohort.load(id).spacing_mm)
        assert spacing == pytest.approx(SPACING)
        moved = np.zeros_like(truth)
        moved[:, 1:] = truth[:, :-1]
        assert image_metrics(moved, truth, spacing)["hau_mm"] == pytest.approx(0.2)
        assert 0 < rows["hau_mm"][id] < 1.2  # a prepared pixel is up to 4 x 2 native ones


def test_what_a_crop_cut_off_counts_as_not_found(tmp_path):
    cohort = prepared(tmp_path, size=(80, 64))
    whole = evaluate_native(Bright(), cohort, ["a"], 0.5)
    cohort.table["crop_row"] = cohort.table["crop_row"].astype(int) + 62
    cohort.table["crop_rows"] = cohort.table["crop_rows"].astype(int) - 62
    cut = evaluate_native(Bright(), open_with(cohort), ["a"], 0.5)
    assert (cut["tp"] + cut["fn"]).tolist() == (whole["tp"] + whole["fn"]).tolist() == [24 * 18]
    assert (cut["fn"] >= 12 * 18).all()  # the 12 rows of the mass above row 62


def open_with(cohort):
    """A cohort with the table as it stands."""
    cohort.table.to_csv(cohort.root / "samples.csv", index=False)
    return open_cohort(cohort.root)


def test_unchanged_images_are_measured_as_they_are(tmp_path):
    cohort = prepared(tmp_path, size="native")
    native, plain = evaluate_native(Bright(), cohort, cohort.ids, 0.5), evaluate(Bright(), cohort, cohort.ids, 0.5).rows
    pd.testing.assert_frame_equal(native, plain)


def test_a_cohort_without_masks_in_the_native_frame_says_so_before_anything_is_predicted(tmp_path, cohort):
    with pytest.raises(DataError, match=r"masks_native/: tiny was not written by `massmatch prepare`"):
        evaluate_native(None, cohort, cohort.ids, 0.5)
    gone = prepared(tmp_path, size=(80, 64))
    (gone.root / "masks_native" / "b.png").unlink()
    with pytest.raises(DataError, match=r"masks_native/b.png: is missing, .*: prepare the cohort again"):
        evaluate_native(None, gone, gone.ids, 0.5)


@pytest.fixture(scope="module")
def small(cohort, tmp_path_factory):
    """The made-up cohort at half its size, prepared; and the folder of a run on it."""
    root = tmp_path_factory.mktemp("small")
    items = [Item(id, cohort.load(id).patient, (f"images/{id}.png",), partial(cohort.load, id)) for id in cohort.ids]
    source, how = Listing(cohort.root, items, "made up"), Preprocessing(size=(32, 32))
    prepare_listing(source, root / "half", how, reader="t", options={}, workers=1)
    half = open_cohort(root / "half")
    return half, run(tiny(half, epochs=1), half, 0, root / "runs")


def command(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_the_command_writes_native_rows_beside_the_others(small):
    half, folder = small
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    done = command(folder, half.root, "--frame", "native")
    assert done.exit_code == 0, done.output
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"rows_native.csv"}
    native, plain = pd.read_csv(folder / "rows_native.csv"), pd.read_csv(folder / "rows.csv")
    assert native["id"].tolist() == plain["id"].tolist()
    assert set(native["rows"]) == {64}
    assert set(plain["rows"]) == {32}
    assert "pixels of the native frame" in " ".join(done.output.split())


@pytest.mark.filterwarnings("always:this is the cohort that the network was trained on")
def test_the_command_measures_all_images_into_a_folder_of_its_own(small, tmp_path):
    half, folder = small
    done = command(folder / "best.safetensors", half.root, "--frame", "native", "--out", tmp_path / "a")
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(tmp_path / "a" / "rows_native.csv")) == len(half)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["rows_native.csv"]
    assert "this is the cohort that the network was trained on" in " ".join(done.output.split())
    done = command(folder / "best.safetensors", half.root, "--out", tmp_path / "b")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["candidates.csv", "predictions", "rows.csv"]
    assert len(pd.read_csv(tmp_path / "b" / "rows.csv")) == len(half)


def test_the_command_says_in_one_line_that_there_is_no_native_frame(trained, cohort):
    done = command(trained, cohort.root, "--frame", "native")
    assert done.exit_code == 3
    assert "tiny was not written by `massmatch prepare`" in " ".join(done.output.split())
    assert not (trained / "rows_native.csv").exists()


def test_distances_that_no_image_has_are_a_word(cohort, capsys):
    sample = next(each for each in map(cohort.load, cohort.ids) if each.mask.any())
    found = np.where(np.roll(sample.mask, sample.mask.shape[0] // 2, 0) & ~sample.mask, 1.0, 0.0)  # beside the mass
    assert found.any()
    for probability, told in ((0 * found, "none of them is a hit"), (found, "HAU")):
        show_native(pd.DataFrame([measure(sample, probability, sample.instances, (0.1, 0.1), 0.5)]), Path("rows.csv"))
        said = " ".join(capsys.readouterr().out.split())
        assert "nan" not in said
        assert told in said
    normal = measure(sample, 0 * found, 0 * sample.instances, (0.1, 0.1), 0.5)
    show_native(pd.DataFrame([normal]), Path("rows.csv"))
    assert "no image with mass has a known spacing" in " ".join(capsys.readouterr().out.split())
    with_mass = measure(sample, found, sample.instances, (0.1, 0.1), 0.5)
    show_native(pd.DataFrame([normal, {**with_mass, "id": "other"}]), Path("rows.csv"))
    assert "over the 1 images with mass and a known spacing; " in " ".join(capsys.readouterr().out.split())
    assert in_mm(float("nan")) == "undefined"
    assert in_mm(1.234) == "1.23 mm"
