"""Many files in, results that can be matched to them out."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bright import marked
from closed import close
from mammograms import NAME, write_dicom
from massmatch import prepare
from massmatch.cli.predicting import predict_all
from massmatch.data import DataError, DataWarning
from massmatch.errors import UsageError
from massmatch.inference.batch import predict
from massmatch.inference.images import image_files, read_image


def grey(path):
    """A drawn mammogram as PNG or TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(marked("left")[0]).save(path)
    return path


def test_row_52_only_the_index_carries_the_names_of_dicom_files(weights, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    image, _ = marked("left")
    write_dicom(tmp_path / "in/SENTINEL_Jane.dcm", image)
    predict_all([tmp_path / "in"], tmp_path / "out", weights=[weights])
    written = {p.name: p for p in (tmp_path / "out").iterdir()}
    index = pd.read_csv(written.pop("index.csv"))
    (id,), (series,) = index["id"], index["series"]
    assert index["source"].tolist() == ["SENTINEL_Jane.dcm"]
    assert len(id) == len(series) == 12
    assert written.keys() == {"findings.csv", f"{id}_mask.png", f"{id}_contour.png", f"{id}_findings.json"}
    assert np.asarray(Image.open(written[f"{id}_mask.png"])).shape == image.shape
    everything = capsys.readouterr().out + "".join(p.read_bytes().decode("latin1") for p in written.values())
    assert "SENTINEL" not in everything
    assert NAME not in everything
    predict_all([tmp_path / "in"], tmp_path / "kept", keep_names=True, weights=[weights])
    assert (tmp_path / "kept/SENTINEL_Jane_mask.png").is_file()


def test_the_tree_is_kept_and_the_index_is_the_key(weights, tmp_path):
    for name in ("a/img.png", "b/img.png", "b/img.tif", "[red]x[/red] :mammoth:.png"):
        grey(tmp_path / "in" / name)
    batch = predict(tmp_path / "in", tmp_path / "in/out", probabilities=True, weights=weights)
    index = pd.read_csv(tmp_path / "in/out/index.csv").set_index("source")["id"].to_dict()
    assert index == {
        "[red]x[/red] :mammoth:.png": "[red]x[/red] :mammoth:",
        "a/img.png": "a/img",
        "b/img.png": "b/img.png",
        "b/img.tif": "b/img.tif",
    }
    for id in index.values():
        mask = np.asarray(Image.open(tmp_path / "in/out" / f"{id}_mask.png"))
        probability = np.asarray(Image.open(tmp_path / "in/out" / f"{id}_probability.png"))
        np.testing.assert_array_equal(mask > 0, probability > 0.5 * 65535)
        told = json.loads((tmp_path / "in/out" / f"{id}_findings.json").read_text())
        assert told["id"] == id
        assert sum(each["area_px"] for each in told["findings"]) == (mask > 0).sum()
        assert len(told["findings"]) == sum(row["id"] == id for row in batch.findings)
    listed = pd.read_csv(tmp_path / "in/out/findings.csv")
    assert len(listed) == len(batch.findings)
    # the results of the first time are no images of the second
    predict(tmp_path / "in", tmp_path / "in/out", weights=weights)
    assert len(pd.read_csv(tmp_path / "in/out/index.csv")) == 4


def test_files_of_two_folders_keep_their_folders(tmp_path):
    given = [grey(tmp_path / "x/a.png"), grey(tmp_path / "y/z/a.png"), tmp_path / "x"]
    assert [file.id for file in image_files(given)] == ["x/a", "y/z/a"]
    assert [file.id for file in image_files([tmp_path / "y/../x/a.png"])] == ["a"]


def test_nothing_of_an_earlier_batch_is_left_of_an_image(weights, tmp_path):
    write_dicom(tmp_path / "a.dcm", marked("left")[0])
    options = {"weights": weights, "nrrd": True, "dicom": True, "probabilities": True}
    predict(tmp_path / "a.dcm", tmp_path / "out", **options)
    assert len(list((tmp_path / "out").glob("*_seg.dcm"))) == 1
    predict(tmp_path / "a.dcm", tmp_path / "out", weights=weights, dicom=True, least_area="100000px")
    endings = sorted(path.name[12:] for path in (tmp_path / "out").iterdir() if "." in path.name[12:])
    assert endings == ["_contour.png", "_findings.json", "_mask.png", "_sr.dcm"]


def test_nothing_of_an_earlier_batch_is_left_of_an_image_that_can_no_longer_be_read(weights, tmp_path):
    grey(tmp_path / "in/a.png"), grey(tmp_path / "in/b.png")
    predict(tmp_path / "in", tmp_path / "out", weights=weights)
    (tmp_path / "in/a.png").write_bytes(b"torn")
    batch = predict(tmp_path / "in", tmp_path / "out", weights=weights)
    assert batch.failed.keys() == {"a.png"}
    assert {path.name[0] for path in (tmp_path / "out").iterdir() if path.name[1] == "_"} == {"b"}


def test_two_batches_do_not_write_into_one_folder(weights, tmp_path):
    """The second one would put its index.csv in the place of the first one's."""
    grey(tmp_path / "in/a.png"), grey(tmp_path / "in/b.png")

    def at_once(row):
        with pytest.raises(UsageError, match=r"out is being written by another process"):
            predict(tmp_path / "in/b.png", tmp_path / "out", weights=weights)

    predict(tmp_path / "in/a.png", tmp_path / "out", weights=weights, watch=at_once)
    assert pd.read_csv(tmp_path / "out/index.csv")["id"].tolist() == ["a"]
    assert not (tmp_path / "out/.lock").exists()
    predict(tmp_path / "in/a.png", tmp_path / "out", weights=weights)


def test_results_of_other_images_stay_out_of_a_folder_whose_index_would_not_name_them(weights, tmp_path):
    for name in "ab":
        grey(tmp_path / f"in/{name}.png")
    predict(tmp_path / "in/a.png", tmp_path / "out", weights=weights)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UsageError, match=r"^--out: .* are not among these 1 \(a\.png\): give another folder, or these"):
        predict(tmp_path / "in/b.png", tmp_path / "out", weights=weights)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    predict([tmp_path / "in/a.png", tmp_path / "in/b.png"], tmp_path / "out", weights=weights)
    (tmp_path / "in/a.png").write_bytes(b"torn")
    assert predict(tmp_path / "in", tmp_path / "out", weights=weights).failed
    (tmp_path / "in/a.png").unlink()  # nothing of it is left, so that it may be left out
    predict(tmp_path / "in", tmp_path / "out", weights=weights)
    assert pd.read_csv(tmp_path / "out/index.csv")["id"].tolist() == ["b"]


@pytest.mark.parametrize("kind", ["dcm", "png"])
def test_images_of_one_name_in_other_folders_are_not_one_image(weights, tmp_path, kind):
    """A batch for each patient into one folder: the second removed the results of the first, without a word."""
    for patient in "AB":
        if kind == "png":
            grey(tmp_path / patient / "1-1.png")
        else:
            (tmp_path / patient).mkdir()
            write_dicom(tmp_path / patient / "1-1.dcm", marked("left")[0], SOPInstanceUID=f"1.2.{ord(patient)}")
    predict(tmp_path / "A", tmp_path / "out", weights=weights)
    with pytest.raises(UsageError, match=rf"^--out: .* are not among these 1 \(1-1\.{kind}\): give another folder"):
        predict(tmp_path / "B", tmp_path / "out", weights=weights)
    first = {path.name for path in (tmp_path / "out").glob("*_mask.png")}
    assert len(first) == 1
    predict([tmp_path / "A", tmp_path / "B"], tmp_path / "out", weights=weights)  # they are known by their whole paths
    index = pd.read_csv(tmp_path / "out/index.csv")
    assert index["source"].tolist() == [f"A/1-1.{kind}", f"B/1-1.{kind}"]
    masks = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*_mask.png")}
    assert masks == {f"{id}_mask.png" for id in index["id"]}  # and nothing is left of what the first was called


def test_an_index_of_an_earlier_version_is_read(weights, tmp_path):
    for name in "ab":
        grey(tmp_path / f"in/{name}.png")
    predict(tmp_path / "in/a.png", tmp_path / "out", weights=weights)
    index = tmp_path / "out/index.csv"
    pd.read_csv(index).drop(columns="path_sha256").to_csv(index, index=False)
    with pytest.raises(UsageError, match="are not among these 1"):
        predict(tmp_path / "in/b.png", tmp_path / "out", weights=weights)
    predict(tmp_path / "in/a.png", tmp_path / "out", weights=weights)
    assert pd.read_csv(index)["path_sha256"].str.len().tolist() == [12]


def test_results_below_the_images_are_left_out_and_told(weights, tmp_path):
    """The masks and probabilities of an earlier batch got findings of their own. Images may lie beside them."""
    grey(tmp_path / "in/a.png")
    predict(tmp_path / "in", tmp_path / "in/first", weights=weights, probabilities=True)
    grey(tmp_path / "in/first/b.png")
    grey(tmp_path / "in/first/below/c.png")
    with pytest.warns(DataWarning, match=r"results of an earlier batch, no mammograms, are left out: first/a_contour"):
        batch = predict(tmp_path / "in", tmp_path / "in/second", weights=weights)
    assert [row["source"] for row in batch.index] == ["a.png", "first/b.png", "first/below/c.png"]


def test_images_of_a_cohort_that_are_prepared_twice_are_told(weights, trained, tmp_path):
    """A network whose images are cropped found something else in a cohort's images than `evaluate` measured."""
    for folder in ("images", "masks"):
        grey(tmp_path / "in" / folder / "a.png")
    Image.fromarray(np.zeros((160, 120), np.uint8)).save(tmp_path / "in/masks/a.png")
    prepare("folder", tmp_path / "in", tmp_path / "cohort", size="native")
    image = tmp_path / "cohort/images/a.png"
    with pytest.warns(DataWarning, match=r"cohort: its images are prepared already, and prepared once more"):
        predict(image, tmp_path / "out", weights=weights)
    predict(tmp_path / "in/images/a.png", tmp_path / "source", weights=weights)
    predict(image, tmp_path / "plain", weights=trained)  # whose images were never prepared


def test_no_picture_in_a_folder_is_left_out_in_silence(tmp_path):
    """A folder of which some images were of another kind: "1 of 1 images segmented" was said of them."""
    image = (marked("left")[0] >> 8).astype(np.uint8)
    for name in ("a.png", "b.bmp", "c.pgm"):
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "d.dcm.gz").write_bytes(b"packed")
    write_dicom(tmp_path / "DICOMDIR", marked("left")[0])
    files = image_files([tmp_path])
    assert [file.source for file in files] == ["a.png", "b.bmp", "c.pgm", "d.dcm.gz"]
    *read, packed = files
    assert all((read_image(file)[1].pixels == image).all() for file in read)
    with pytest.raises(DataError, match=r"^d\.dcm\.gz: is compressed: unpack it"):
        read_image(packed)


def test_the_tables_of_a_batch_that_was_stopped_say_so(weights, tmp_path):
    (tmp_path / "in").mkdir()
    for name in "abc":
        write_dicom(tmp_path / f"in/{name}.dcm", marked("left")[0])
    out = tmp_path / "out"

    def stop_at_b(row):
        if row["source"] == "b.dcm":
            raise KeyboardInterrupt

    for earlier in (set(), {"index.csv", "findings.csv"}):
        with pytest.raises(KeyboardInterrupt):
            predict(tmp_path / "in", out, weights=weights, watch=stop_at_b)
        partial = {"index.partial.csv", "findings.partial.csv"}
        assert {path.name for path in out.glob("*.csv")} == earlier | partial
        assert pd.read_csv(out / "index.partial.csv")["source"].tolist() == ["a.dcm", "b.dcm"]
        with pytest.raises(UsageError, match=r"are not among these 1 \(a\.dcm, b\.dcm"):
            predict(tmp_path / "in/c.dcm", out, weights=weights)
        predict(tmp_path / "in", out, weights=weights)
        assert {path.name for path in out.glob("*.csv")} == {"index.csv", "findings.csv"}
        assert len(pd.read_csv(out / "index.csv")) == 3


def test_results_of_a_dicom_file_go_with_the_name_that_an_earlier_batch_gave_them(weights, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", marked("left")[0])
    predict(path, tmp_path / "out", weights=weights)
    predict(path, tmp_path / "out", weights=weights, keep_names=True)
    assert [each.name for each in (tmp_path / "out").glob("*_mask.png")] == ["a_mask.png"]
    predict(path, tmp_path / "out", weights=weights)
    (error,) = predict(path, tmp_path / "out", weights=weights, least_area="20mm2").failed.values()
    assert "spacing" in error
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["findings.csv", "index.csv"]


def test_an_image_of_one_grey_level_is_no_mammogram(weights, tmp_path):
    Image.fromarray(np.full((64, 64), 200, np.uint8)).save(tmp_path / "blank.png")
    write_dicom(tmp_path / "flat.dcm", pixels=np.full((64, 48), 7, np.uint16))
    batch = predict(tmp_path, tmp_path.parent / "out", weights=weights)
    assert batch.failed.keys() == {"blank.png", "flat.dcm"}
    assert all("all its pixels have one grey level" in why for why in batch.failed.values())


@pytest.mark.parametrize("out", [".", "in", "in/below/.."])
def test_results_among_the_images_are_refused(weights, tmp_path, out):
    grey(tmp_path / "in/a.png")
    with pytest.raises(UsageError, match=r"^--out: must not hold the images"):
        predict(tmp_path / "in", tmp_path / out, weights=weights)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.png"]


def test_a_file_that_no_batch_wrote_is_not_replaced(weights, tmp_path):
    """In a folder of images with their masks beside them, results would take the place of the true masks."""
    image, mask = grey(tmp_path / "a.png"), tmp_path / "a_mask.png"
    Image.fromarray(marked("left")[1].astype(np.uint8)).save(mask)
    before = mask.read_bytes()
    with pytest.raises(
        UsageError, match=r"^--out: .*a_mask\.png is there, and no earlier batch wrote it: give another"
    ):
        predict(image, tmp_path, weights=weights)
    assert mask.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} >= {"a.png", "a_mask.png"}
    assert not (tmp_path / "index.csv").exists()


@pytest.mark.parametrize("name", ["index.csv", "findings.csv"])
def test_a_table_of_another_program_is_not_replaced(weights, tmp_path, name):
    image = grey(tmp_path / "in/a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("patient,birads\n7,4\n")
    with pytest.raises(UsageError, match=rf"^--out: .*{name} is there, and no earlier batch wrote it"):
        predict(image, tmp_path / "out", weights=weights)
    assert (tmp_path / "out" / name).read_text() == "patient,birads\n7,4\n"
    (tmp_path / "out" / name).write_text("")  # as a batch leaves it that is ended at its start
    for _ in range(2):  # results of an earlier batch are replaced
        assert len(predict(image, tmp_path / "out", weights=weights).index) == 1


def test_what_an_earlier_batch_wrote_of_a_dicom_file_goes_where_this_one_fails(weights, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", marked("left")[0], remove=("StudyInstanceUID",))
    predict(path, tmp_path / "out", weights=weights)
    assert list((tmp_path / "out").glob("*_mask.png"))
    batch = predict(path, tmp_path / "out", weights=weights, dicom=True)
    assert batch.failed
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["findings.csv", "index.csv"]


def test_links_that_lead_to_no_file_and_names_without_room_are_told(weights, tmp_path):
    folder, long = tmp_path / "in", "x" * 240
    for name in ("a", long, "other/b"):
        grey(folder / f"{name}.png")
    (folder / "gone.png").symlink_to("nothing.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "up").symlink_to("other")
    batch = predict(folder, tmp_path / "out", weights=weights)
    assert [row["source"] for row in batch.index if not row["error"]] == ["a.png", "other/b.png"]
    assert batch.failed == {
        "gone.png": "gone.png: is a link to nothing: restore it, or leave it out",
        "loop.png": "loop.png: is a link to nothing: restore it, or leave it out",
        "up": "up: is a link to a folder, which is not followed: give that folder itself",
        f"{long}.png": f"{long}.png: its name is so long that results cannot be called after it: rename the file",
    }


def test_a_name_that_is_no_utf_8_is_an_error_of_its_file_alone(weights, tmp_path):
    grey(tmp_path / "in/a.png")
    grey(tmp_path / os.fsdecode(b"in/caf\xe9.png"))
    batch = predict(tmp_path / "in", tmp_path / "out", weights=weights)
    assert batch.failed.keys() == {"caf\\udce9.png"}
    assert "rename the file" in batch.failed["caf\\udce9.png"]
    assert pd.read_csv(tmp_path / "out/index.csv")["source"].tolist() == ["a.png", "caf\\udce9.png"]


def test_dicom_without_a_uid_does_not_give_its_name_away(weights, tmp_path):
    write_dicom(tmp_path / "SENTINEL.dcm", marked("left")[0], remove=("SOPInstanceUID",))
    batch = predict(tmp_path / "SENTINEL.dcm", tmp_path / "out", weights=weights)
    assert len(batch.index[0]["id"]) == 12
    assert not [path for path in (tmp_path / "out").iterdir() if "SENTINEL" in path.name]


def test_brackets_and_colons_in_names_reach_the_screen(weights, tmp_path, capsys):
    grey(tmp_path / "[bold]x[/nope] :mammoth:.png")
    grey(tmp_path / "[bold]y[/nope] :mammoth:.png").write_text("no image")
    with pytest.raises(SystemExit):
        predict_all([tmp_path], tmp_path / "out", weights=[weights])
    told = capsys.readouterr()
    assert "[bold]x[/nope] :mammoth:: " in told.out
    assert "[bold]y[/nope] :mammoth:.png: cannot be read as an image" in told.err


def test_a_threshold_of_ones_own(weights, tmp_path):
    grey(tmp_path / "a.png")
    batch = predict(tmp_path / "a.png", tmp_path / "out", threshold=0.9, probabilities=True, weights=weights)
    stored = np.asarray(Image.open(tmp_path / "out/a_probability.png")) / 65535
    assert batch.index[0]["area_px"] == (stored > 0.9).sum() != (stored > 0.5).sum()
    with pytest.raises(ValueError, match="--threshold: must be a probability"):
        predict(tmp_path / "a.png", tmp_path / "out", threshold=1.5, weights=weights)


def test_row_45_a_broken_file_does_not_stop_the_others(weights, tmp_path, capsys):
    image, _ = marked("left")
    (tmp_path / "in/deep").mkdir(parents=True)
    for name in ("a", "b", "d"):
        write_dicom(tmp_path / f"in/{name}.dcm", image)
    (tmp_path / "in/b.dcm").write_bytes(b"")
    (tmp_path / "in/c.png").write_text("text")
    (tmp_path / "in/._a.dcm").write_text("what a Mac leaves behind")
    Image.fromarray(image).save(tmp_path / "in/deep/e.png")
    with pytest.raises(SystemExit) as stopped:
        predict_all([tmp_path / "in"], tmp_path / "out", weights=[weights])
    assert stopped.value.code == 3
    assert len(list((tmp_path / "out").rglob("*_mask.png"))) == 3
    assert (tmp_path / "out/deep/e_mask.png").is_file()
    told = capsys.readouterr()
    assert "b.dcm: is no DICOM file" in told.err
    assert "c.png: cannot be read as an image" in told.err
    assert "3 of 5 images segmented" in told.out


def test_row_60_of_many_files_only_the_broken_one_is_missing(trained, cohort, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    whole = (cohort.root / "images" / f"{cohort.ids[0]}.png").read_bytes()
    for number in range(60):
        content = whole if number != 30 else whole[: len(whole) // 2]  # as after a copy that was cut off
        (tmp_path / f"in/{number:02}.png").write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        predict_all([tmp_path / "in"], tmp_path / "out", weights=[trained])
    assert stopped.value.code == 3
    index = pd.read_csv(tmp_path / "out/index.csv", dtype=str)
    assert len(index) == 60
    assert index.loc[index["error"].notna(), "source"].tolist() == ["30.png"]
    found = {path.name.split("_")[0] for path in (tmp_path / "out").glob("*_mask.png")}
    assert found == {f"{number:02}" for number in range(60)} - {"30"}
    masks = {path.read_bytes() for path in (tmp_path / "out").glob("*_mask.png")}
    assert len(masks) == 1  # those after the broken one are as those before it
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "30.png: cannot be read as an image" in told.err
    assert "59 of 60 images segmented" in told.out


def test_the_same_image_is_not_written_twice(weights, tmp_path, capsys):
    for name in ("a.dcm", "b.dcm"):
        write_dicom(tmp_path / name, marked("left")[0], SOPInstanceUID="1.2.3")
    with pytest.raises(SystemExit):
        predict_all([tmp_path], tmp_path / "out", weights=[weights])
    assert "b.dcm: is the same image as a.dcm" in capsys.readouterr().err


def test_files_and_folders(tmp_path):
    with pytest.raises(UsageError, match="no such image"):
        image_files([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="must hold images, but has none"):
        image_files([tmp_path])


@pytest.mark.parametrize(
    "mask", ["masks/a.png", "x/labelsTr/a.png", "images/a_mask.png", "images/a_mask_1.png", "a_gt/Label/a.png"]
)
def test_masks_among_the_images_are_no_mammograms(tmp_path, mask):
    """The folder of a dataset was given, and its masks were segmented like images."""
    for name in ("images/a.png", "images/b_mask.png", mask):  # b_mask.png has no image beside it
        grey(tmp_path / name)
    with pytest.raises(UsageError, match=f"must hold mammograms alone, but {mask} is a mask by its name"):
        image_files([tmp_path])
    (tmp_path / mask).unlink()
    assert [file.id for file in image_files([tmp_path])] == ["images/a", "images/b_mask"]


def test_images_in_a_folder_that_cannot_be_read_are_not_left_out_in_silence(tmp_path, monkeypatch):
    """They had no row in index.csv, and "2 of 2 images segmented" was said of three."""
    first, second, _ = (grey(tmp_path / name) for name in ("a.png", "b/1.png", "c/1.png"))
    close(monkeypatch, tmp_path / "c")
    with pytest.raises(PermissionError, match=f"Permission denied: '{tmp_path}/c'"):
        image_files([tmp_path])
    assert [file.path for file in image_files([first, tmp_path / "b"])] == [first, second]


def test_digitised_film_in_dicom_is_taken_when_it_is_asked_for(weights, tmp_path):
    film = write_dicom(tmp_path / "film.dcm", marked("left")[0], Modality="RG")
    (error,) = predict(film, tmp_path / "refused", weights=weights).failed.values()
    assert "--modality any" in error
    assert not predict(film, tmp_path / "taken", modality="any", weights=weights).failed
