"""Preparing: the same on one core and on two, after a kill as without; nothing half-written looks whole."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mammograms import listing, mammogram
from massmatch.cli import app
from massmatch.data import DataError, open_cohort
from massmatch.data.open import read_json
from massmatch.data.preparation import process
from massmatch.data.preparation.entry import prepare
from massmatch.data.preparation.process import _digest, prepare_listing
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.data.readers.cbis_ddsm.reader import cbis_ddsm
from massmatch.data.readers.inbreast.reader import inbreast
from massmatch.data.readers.listing import Item, Listing, inside, named
from massmatch.data.readers.monai import monai
from massmatch.data.readers.nnunet import nnunet
from massmatch.errors import RunError, UsageError
from massmatch.losses import LOSSES
from massmatch.training.batches import Samples
from started import PATIENCE, started
from twins import cbis_ddsm as cbis_ddsm_twin
from twins import inbreast as inbreast_twin

HOW = Preprocessing(crop="breast", flip="right", size=(32, 24))


def run(source, out, how=HOW, **options):
    settings = {"reader": "drawn", "options": {}, "workers": 1, **options}
    return prepare_listing(source, out, how, **settings)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    return listing(tmp_path / "source", 4)


def files(cohort):
    """All pixels, and the rows without the process that read them."""
    pixels = {p.relative_to(cohort).as_posix(): p.read_bytes() for p in sorted(cohort.rglob("*.png"))}
    return pixels, open_cohort(cohort).table.drop(columns="read_by").astype(str).to_dict("list")


def test_what_min_mass_drops_is_dropped_in_the_native_frame_too(source, tmp_path):
    """The drawn mass has 10 x 8 pixels: measured in either frame, an image without it has no mass."""
    for least, left in ((80, True), (81, False)):
        run(source, tmp_path / f"out{least}", Preprocessing(size=(32, 24), min_mass=least))
        cohort = open_cohort(tmp_path / f"out{least}")
        found = {(bool(cohort.load(id).mask.any()), bool(cohort.native_instances(id).any())) for id in cohort.ids}
        assert found == {(left, left)}


def test_a_cohort_as_the_design_says(source, tmp_path):
    run(source, tmp_path / "out")
    cohort = open_cohort(tmp_path / "out")
    assert cohort.ids == ["case0", "case1", "case2", "case3"]
    assert sorted(p.name for p in cohort.root.iterdir()) == [
        *("cohort.json", "images", "masks", "masks_native", "samples.csv"),
    ]
    assert cohort.preprocessing == HOW
    assert cohort.table["native_rows"].tolist() == [60, 61, 62, 63]
    facts = read_json(cohort.root)
    assert (facts["images"], facts["patients"], facts["masses"], facts["without_mass"]) == (4, 2, 4, 0)
    assert facts["warnings"] == ["1.dcm: something to know"]
    assert facts["fingerprint"] == cohort.fingerprint
    run(source, tmp_path / "scaled", HOW.model_copy(update={"normalise": "z-score"}))
    scaled = open_cohort(tmp_path / "scaled").fingerprint
    assert read_json(tmp_path / "scaled")["fingerprint"] == scaled != cohort.fingerprint
    sample = cohort.load("case0")
    assert sample.image.shape == sample.instances.shape == (32, 24)
    frame = cohort.frame("case0")
    assert sample.spacing_mm == pytest.approx((0.1 * frame.crop_rows / 32, 0.1 * frame.crop_cols / 24))
    native = cohort.native_instances("case0")
    assert native.shape == (60, 50)
    assert np.argwhere(native).min(axis=0).tolist() == [20, 10]


def test_an_image_that_was_not_changed_has_no_second_mask(source, tmp_path):
    run(source, tmp_path / "out", Preprocessing(size="native"))
    cohort = open_cohort(tmp_path / "out")
    assert not (cohort.root / "masks_native").exists()
    np.testing.assert_array_equal(cohort.native_instances("case1"), cohort.load("case1").instances)


def test_two_processes_make_what_one_makes(tmp_path):
    source = listing(tmp_path, 12)  # more than are handed out at once
    run(source, tmp_path / "one")
    run(source, tmp_path / "two", workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert open_cohort(tmp_path / "two").ids == [f"case{n}" for n in range(12)]
    assert os.getpid() not in open_cohort(tmp_path / "two").table["read_by"].tolist()
    assert read_json(tmp_path / "two")["warnings"] == ["1.dcm: something to know"]


def test_the_same_again_is_kept_and_another_is_refused(source, tmp_path):
    run(source, tmp_path / "out")
    stamp = (tmp_path / "out/cohort.json").stat().st_mtime_ns
    assert run(source, tmp_path / "out").kept
    assert (tmp_path / "out/cohort.json").stat().st_mtime_ns == stamp
    with pytest.raises(UsageError, match=r"other size \(there \[32, 24\], asked for \[16, 16\]\): remove it"):
        run(source, tmp_path / "out", Preprocessing(crop="breast", flip="right", size=(16, 16)))


def test_a_changed_source_is_another_cohort(source, tmp_path):
    run(source, tmp_path / "out")
    os.utime(source.root / "2.dcm", (1, 1))
    with pytest.raises(UsageError, match="other source"):
        run(source, tmp_path / "out")


def test_progress_counts_to_the_end(source, tmp_path):
    seen = []
    run(source, tmp_path / "out", tick=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- faults --------------------------------------------------------------------------------------------------------


def test_row_35_a_fault_stops_and_the_rest_is_not_lost(tmp_path):
    source = listing(tmp_path, 4, faulty=(2,))
    with pytest.raises(DataError, match=r"^2\.dcm: must hold a breast"):
        run(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="UNFINISHED"):
        open_cohort(tmp_path / "out.part")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out.part/images").iterdir()}
    assert len(before) == 2
    run(Listing(tmp_path, listing(tmp_path, 4).items, "made up"), tmp_path / "out", on_error="skip")


def test_row_35_or_is_skipped_and_named(tmp_path):
    source = listing(tmp_path, 4, faulty=(2,))
    source.faults["3.xml"] = "3.xml: no such annotation: add it"
    with pytest.raises(DataError, match=r"3\.xml: no such annotation: add it\nmend these, or .* --on-error skip"):
        run(source, tmp_path / "out")
    outcome = run(source, tmp_path / "out", on_error="skip")
    told = {
        "2.dcm": "2.dcm: must hold a breast, but holds none: replace it",
        "3.xml": "3.xml: no such annotation: add it",
    }
    assert outcome.skipped == read_json(tmp_path / "out")["skipped"] == told
    assert open_cohort(tmp_path / "out").ids == ["case0", "case1", "case3"]
    assert run(source, tmp_path / "out", on_error="skip").skipped == told  # said again


def test_row_34_nothing_to_prepare(tmp_path):
    with pytest.raises(DataError, match="the reader found none"):
        run(Listing(tmp_path, [], "made up"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_where_every_image_is_skipped_the_reasons_are_said(tmp_path):
    with pytest.raises(DataError, match=r"^no image is left:\n0\.dcm: must hold a breast.*\n1\.dcm: must hold"):
        run(listing(tmp_path, 2, faulty=(0, 1)), tmp_path / "out", on_error="skip")


def test_row_35_two_images_of_one_id(source, tmp_path):
    twice = Listing(source.root, [*source.items, source.items[0]], "made up")
    with pytest.raises(DataError, match=r"0\.dcm: .*case0.*0\.dcm"):
        run(twice, tmp_path / "out")


def test_a_wrong_policy(source, tmp_path):
    with pytest.raises(ValueError, match="on_error must be stop or skip"):
        run(source, tmp_path / "out", on_error="ignore")


# --- interruption --------------------------------------------------------------------------------------------------


@contextmanager
def slow(source, out, after, workers=1):
    """A process that prepares, and stops for ever before the image number `after`."""
    code = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from pathlib import Path
        import mammograms
        from massmatch.data.preprocessing.frame import Preprocessing
        from massmatch.data.preparation.process import prepare_listing
        if __name__ == "__main__":
            def tick(done, of):
                if done == {after}:
                    print("now", flush=True)
                    time.sleep(600)
            source = mammograms.listing(Path({str(source)!r}), 6, write=False)
            how = Preprocessing(crop="breast", flip="right", size=(32, 24))
            prepare_listing(source, {str(out)!r}, how, reader="drawn", options={{}}, workers={workers}, tick=tick)
    """
    script = out.parent / "slow.py"
    script.write_text(textwrap.dedent(code))
    with started([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().strip() == b"now", process.stderr.read().decode()
        yield process


@pytest.mark.parametrize(
    "how",
    [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)],
    ids=lambda s: s.name,
)
def test_after_an_interruption_the_finished_images_are_kept(tmp_path, how):
    (tmp_path / "source").mkdir()
    source = listing(tmp_path / "source", 6)
    with slow(tmp_path / "source", tmp_path / "out", after=3) as process:
        process.send_signal(how)
        process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert not (tmp_path / "out").exists()
    done = {p.stem: p.stat().st_mtime_ns for p in (tmp_path / "out.part/images").iterdir()}
    assert len(done) == 3
    run(source, tmp_path / "out")
    after = {p.stem: p.stat().st_mtime_ns for p in (tmp_path / "out/images").iterdir()}
    assert {id: after[id] for id in done} == done  # not made again
    run(source, tmp_path / "straight")
    assert files(tmp_path / "out") == files(tmp_path / "straight")
    assert not (tmp_path / "out.part").exists()


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda s: s.name)
def test_no_worker_outlives_a_preparation_that_was_killed(tmp_path, how):
    """They waited for ever, and wrote until then into a folder that the next preparation held."""
    (tmp_path / "source").mkdir()
    listing(tmp_path / "source", 6)
    with slow(tmp_path / "source", tmp_path / "out", after=1, workers=2) as process:
        process.send_signal(how)
        process.communicate(timeout=60)  # its pipes end with the last process that holds them


def test_two_writers_do_not_meet(tmp_path):
    (tmp_path / "source").mkdir()
    source = listing(tmp_path / "source", 6)
    with (
        slow(tmp_path / "source", tmp_path / "out", after=1),
        pytest.raises(UsageError, match="is being written by another process"),
    ):
        run(source, tmp_path / "out")


@pytest.mark.long
def test_a_killed_worker_is_told_and_nothing_is_lost(tmp_path):
    (tmp_path / "source").mkdir()
    source = listing(tmp_path / "source", 6)
    killer = [Item("killer", "p9", (), kill_yourself), *source.items]
    with pytest.raises(RunError, match=r"a worker process was killed.*fewer --workers"):
        run(Listing(source.root, killer, "made up"), tmp_path / "out", workers=2)
    run(source, tmp_path / "out")
    assert len(open_cohort(tmp_path / "out")) == 6


def kill_yourself():
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("damage", ["truncated note", "empty note", "foreign note", "changed image", "no image"])
def test_row_49_what_does_not_hold_is_made_again(tmp_path, damage):
    (tmp_path / "source").mkdir()
    source = listing(tmp_path / "source", 3)
    run(source, tmp_path / "straight")
    with pytest.raises(DataError):
        run(listing(tmp_path / "source", 3, faulty=(2,)), tmp_path / "out")
    source = listing(tmp_path / "source", 3, write=False)
    note, image = tmp_path / "out.part/done/case0.json", tmp_path / "out.part/images/case0.png"
    if damage == "truncated note":
        note.write_text(note.read_text()[:50])
    elif damage == "empty note":
        note.write_text("")
    elif damage == "foreign note":
        note.write_text(json.dumps({"version": 7}))
    elif damage == "changed image":
        Image.fromarray(np.zeros((32, 24), np.uint8)).save(image)
    else:
        image.unlink()
    run(source, tmp_path / "out")
    assert files(tmp_path / "out")[0] == files(tmp_path / "straight")[0]


def test_row_49_other_options_make_it_again(tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(DataError):
        run(listing(tmp_path / "source", 3, faulty=(2,)), tmp_path / "out")
    small = Preprocessing(size="native")
    run(listing(tmp_path / "source", 3, write=False), tmp_path / "out", small)
    cohort = open_cohort(tmp_path / "out")
    assert cohort.load("case0").image.shape == (60, 50)
    assert not (cohort.root / "masks_native").exists()  # left by the first run


def test_row_49_another_version_makes_it_again(tmp_path, monkeypatch):
    """The same options may give other pixels in another version: one cohort held images of both."""
    (tmp_path / "source").mkdir()
    with pytest.raises(DataError):
        run(listing(tmp_path / "source", 3, faulty=(2,)), tmp_path / "out")
    kept = (tmp_path / "out.part/images/case0.png").stat().st_mtime_ns
    monkeypatch.setattr(process, "__version__", "0.1.0")
    run(listing(tmp_path / "source", 3, write=False), tmp_path / "out")
    assert (tmp_path / "out/images/case0.png").stat().st_mtime_ns > kept


def two_labels(root):
    """A raw dataset of nnU-Net whose three images hold a cyst of 20 pixels and a mass of 48."""
    labels = np.zeros((40, 30), np.uint8)
    labels[5:10, 5:9], labels[20:28, 10:16] = 1, 2
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for case in "abc":
        Image.fromarray(mammogram(40, 30)).save(root / f"imagesTr/{case}_0000.png")
        Image.fromarray(labels).save(root / f"labelsTr/{case}.png")
    facts = {"channel_names": {"0": "mg"}, "labels": {"background": 0, "cyst": 1, "mass": 2}, "file_ending": ".png"}
    (root / "dataset.json").write_text(json.dumps({**facts, "numTraining": 3}))
    return root


def test_row_49_another_label_makes_it_again(tmp_path):
    """What was finished before a fault holds the masses of the label that was asked for then."""
    root, asked = two_labels(tmp_path / "Dataset001_Two"), {"workers": 1, "size": "native"}
    broken = root / "imagesTr/c_0000.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match="c_0000"):
        prepare("nnunet", root, tmp_path / "out", label="cyst", **asked)
    done = prepare("nnunet", root, tmp_path / "out", label="mass", on_error="skip", **asked)
    assert [int(done.cohort.load(id).mask.sum()) for id in done.cohort.ids] == [48, 48]


def test_row_46_a_file_that_fails_once_is_read_again(source, tmp_path):
    """A network drive that stumbles; the first reading leaves a mark."""
    item = source.items[0]
    shaky = Item(item.id, item.patient, item.files, partial(stumble, tmp_path / "mark", item.read))
    run(Listing(source.root, [shaky, *source.items[1:]], "made up"), tmp_path / "out")
    assert (tmp_path / "mark").exists()
    assert len(open_cohort(tmp_path / "out")) == 4


def stumble(mark, read):
    if not mark.exists():
        mark.touch()
        raise DataError("0.dcm: stale file handle")
    return read()


def test_row_46_a_file_that_disappears_is_named(source, tmp_path):
    (source.root / "2.dcm").unlink()
    with pytest.raises(DataError, match=r"^2\.dcm: no such file"):
        run(source, tmp_path / "out")


def test_row_46_also_under_a_training(cohort, tmp_path):
    shutil.copytree(cohort.root, tmp_path / "c")
    opened = open_cohort(tmp_path / "c")
    (tmp_path / f"c/masks/{cohort.ids[3]}.png").unlink()
    with pytest.raises(DataError, match=rf"^masks/{cohort.ids[3]}\.png: cannot be read as an image"):
        Samples(opened, opened.ids, LOSSES["bce"]())


# --- paths: row 50 -------------------------------------------------------------------------------------------------


def test_row_50_nothing_outside_is_read(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("s")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "own").write_text("o")
    (root / "near").symlink_to(root / "own")
    for path in ("../secret", str(tmp_path / "secret"), "link", "a/../../secret"):
        with pytest.raises(DataError, match=r"secret|link.*leads out of the source folder.*--allow-outside-root"):
            inside(root, path)
        assert inside(root, path, allow_outside=True) == root / path
    assert inside(root, "near") == root / "near"


def test_row_35_a_loop_of_links(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match="a: is a loop of links"):
        inside(tmp_path, "a")


def test_names_are_cut_after_twenty():
    assert named(["b", "a"]) == "a, b"
    assert named([f"{n:03}" for n in range(25)]).endswith("019 and 5 more (25 in all)")


def test_row_49_a_corrected_table_is_another_source(tmp_path):
    """The csv of a folder, the tables of the datasets and the lists of files are among the files of their images."""
    cbis_ddsm_twin.write(tmp_path / "cb")
    inbreast_twin.write(tmp_path / "in")
    root = two_labels(tmp_path / "Dataset001_Two")
    (root / "patients.csv").write_text("case,patient,density\na,p,1\nb,q,2\nc,r,3\n")
    (root / "splits_final.json").write_text('[{"train": ["a", "b"], "val": ["c"]}]')
    pair = {"image": "imagesTr/a_0000.png", "label": "labelsTr/a.png"}
    (tmp_path / "Dataset001_Two/list.json").write_text(json.dumps({"training": [pair]}))
    for listing_of, table in (
        (lambda: cbis_ddsm(tmp_path / "cb"), "cb/mass_case_description_train_set.csv"),
        (lambda: inbreast(tmp_path / "in"), "in/INbreast.csv"),
        (lambda: nnunet(root), "Dataset001_Two/dataset.json"),
        (lambda: nnunet(root), "Dataset001_Two/patients.csv"),
        (lambda: nnunet(root), "Dataset001_Two/splits_final.json"),
        (lambda: monai(root / "list.json"), "Dataset001_Two/list.json"),
    ):
        before = _digest(listing_of())
        os.utime(tmp_path / table, (1, 1))
        assert _digest(listing_of()) != before


# --- the exit code of the command ------------------------------------------------------------------------------------


def prepared(*arguments):
    """The command in this process: its exit code and what it printed."""
    found = CliRunner().invoke(app, ["prepare", *map(str, arguments), "--workers", "1", "--size", "32"])
    return found.exit_code, found.output


def test_the_command_exits_with_3_where_an_image_was_left_out(tmp_path):
    """CBIS-DDSM has masks of other proportions than their images: nothing stops, and the exit code says so."""
    cbis_ddsm_twin.write(tmp_path / "data")
    code, text = prepared("cbis-ddsm", tmp_path / "data", tmp_path / "out")
    assert code == 3
    assert "no mask has the proportions of the image" in text
    assert prepared("cbis-ddsm", tmp_path / "data", tmp_path / "out")[0] == 3  # also where the cohort is there already


def test_the_command_exits_with_3_for_endings_that_are_not_read(tmp_path):
    for folder_ in ("images", "masks"):
        (tmp_path / "data" / folder_).mkdir(parents=True)
        Image.fromarray(np.tile(np.arange(40, dtype=np.uint8), (40, 1))).save(tmp_path / "data" / folder_ / "a.png")
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "data/masks/a.png")
    assert prepared("folder", tmp_path / "data", tmp_path / "one")[0] == 0
    (tmp_path / "data/images/b.bmp").write_bytes(b"x")
    code, text = prepared("folder", tmp_path / "data", tmp_path / "two")
    assert code == 3
    assert "skipped: images/b.bmp: .bmp is not read: convert it to PNG" in text
