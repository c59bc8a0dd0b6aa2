"""Cohorts: what is written is read back, what does not fit is named, nothing half-written looks whole."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from massmatch.data import CohortError, Sample, open_cohort, write_cohort

REAL = Path(os.environ.get("MASSMATCH_REAL_COHORT", Path(__file__).parents[2] / "../shared/data/cbis_ddsm_mass_256"))


def sample(number, dtype=np.uint8, **known):
    image = np.zeros((20, 24), dtype)
    image[4:16, 2:20] = 100 + number
    instances = np.zeros((20, 24), np.uint8)
    instances[5:8, 5:9] = 1
    instances[8:10, 5:9] = 2  # touches the first
    return Sample(f"s{number}", f"p{number // 2}", image, instances, **known)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_written_is_read_back(tmp_path, dtype):
    written = [sample(n, dtype, side="L", view="CC", density=3, spacing_mm=(0.07, 0.08)) for n in range(3)]
    cohort = write_cohort(written, tmp_path / "c", reader="test", options={}, licence="none")
    assert cohort.ids == ["s0", "s1", "s2"]
    assert cohort.masks == "instances"
    for before in written:
        after = open_cohort(tmp_path / "c").load(before.id)
        assert after.image.dtype == dtype
        assert np.array_equal(after.image, before.image)
        assert np.array_equal(after.instances, before.instances)
        assert (after.patient, after.side, after.view) == (before.patient, "L", "CC")
        assert (after.density, after.spacing_mm) == (3, (0.07, 0.08))
    assert cohort.mass_fraction["s0"] == pytest.approx(20 / 480)


def test_cohort_json_tells_what_is_there(tmp_path):
    cohort = write_cohort([sample(0), sample(1)], tmp_path / "c", reader="test", options={"a": 1}, licence="CC BY")
    facts = json.loads((tmp_path / "c/cohort.json").read_text())
    assert (facts["reader"], facts["options"], facts["images"], facts["patients"]) == ("test", {"a": 1}, 2, 1)
    assert facts["fingerprint"] == cohort.fingerprint
    assert cohort.licence == "CC BY"


def test_the_fingerprint_changes_with_a_pixel(tmp_path):
    cohort = write_cohort([sample(0)], tmp_path / "c", reader="test", options={}, licence="")
    before = cohort.fingerprint
    image = np.array(Image.open(tmp_path / "c/images/s0.png"))
    image[0, 0] = 1
    Image.fromarray(image).save(tmp_path / "c/images/s0.png")
    assert open_cohort(tmp_path / "c").fingerprint != before


def test_the_same_again_is_kept_and_another_is_refused(tmp_path):
    write_cohort([sample(0)], tmp_path / "c", reader="test", options={"n": 1}, licence="")
    before = (tmp_path / "c/cohort.json").stat().st_mtime_ns

    def never():
        raise AssertionError("must not be asked")
        yield

    assert len(write_cohort(never(), tmp_path / "c", reader="test", options={"n": 1}, licence="")) == 1
    assert (tmp_path / "c/cohort.json").stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="holds a cohort of reader 'test'"):
        write_cohort([sample(0)], tmp_path / "c", reader="test", options={"n": 2}, licence="")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/precious.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty and no cohort"):
        write_cohort([sample(0)], tmp_path / "d", reader="test", options={}, licence="")
    assert (tmp_path / "d/precious.txt").read_text() == "mine"


def test_an_error_half_way_leaves_nothing(tmp_path):
    def breaks():
        yield sample(0)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_cohort(breaks(), tmp_path / "c", reader="test", options={}, licence="")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_nothing_that_looks_whole(tmp_path):
    code = f"""
        import time, numpy as np
        from massmatch.data import Sample, write_cohort
        def slow():
            for n in range(100):
                yield Sample(f"s{{n}}", "p", np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8))
                print(n, flush=True)
                time.sleep(0.05)
        write_cohort(slow(), {str(tmp_path / "c")!r}, reader="test", options={{}}, licence="")
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"0"
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "c").exists()
    assert len(write_cohort([sample(0)], tmp_path / "c", reader="test", options={}, licence="")) == 1


# --- any pair of folders ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Two images of one patient, binary masks of 0 and 255, a csv with other people's names for columns."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for name in ("a", "b"):
        image = np.full((16, 16), 50, np.uint8)
        mask = np.zeros((16, 16), np.uint8)
        mask[2:5, 2:5], mask[9:12, 9:12] = 255, 255
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "facts.csv").write_text("id,patient_id,laterality,breast_density\na.png,007,LEFT,2\nb,007,RIGHT,2\n")
    return tmp_path


def test_a_pair_of_folders_is_a_cohort(folder):
    cohort = open_cohort(folder)
    loaded = cohort.load("a")
    assert cohort.masks == "binary"
    assert (loaded.patient, loaded.side, loaded.density) == ("007", "L", 2)
    assert sorted(np.unique(loaded.instances)) == [0, 1, 2]  # two components, two masses


def test_without_patients_there_is_a_warning(folder):
    (folder / "facts.csv").unlink()
    with pytest.warns(UserWarning, match="every image counts as a patient of its own"):
        cohort = open_cohort(folder)
    assert cohort.table["patient"].tolist() == ["a", "b"]


def test_the_licence_line_comes_from_source_txt(folder):
    (folder / "SOURCE.txt").write_text(
        'Origin: somewhere.\nLicence: put this line: "Contains images of X,\n  licensed CC BY."\n'
    )
    assert open_cohort(folder).licence == "Contains images of X, licensed CC BY."


def grey(path, value, shape=(16, 16)):
    Image.fromarray(np.broadcast_to(np.asarray(value, np.uint8), shape)).save(path)


def test_what_does_not_fit_is_named(folder):
    grey(folder / "images/c.png", 0)
    with pytest.raises(CohortError, match=r"images/: 1 ids have nothing in masks/, such as c"):
        open_cohort(folder)
    grey(folder / "masks/c.png", 0)
    with pytest.raises(CohortError, match=r"images/: 1 ids have nothing in facts.csv, such as c"):
        open_cohort(folder)
    (folder / "facts.csv").write_text("id,patient\na,1\nb,1\nc,\n")
    with pytest.raises(CohortError, match=r"facts.csv: 1 rows have no patient"):
        open_cohort(folder)
    (folder / "facts.csv").write_text("id,patient\na,1\nb,1\nc,2\nc,2\n")
    with pytest.raises(CohortError, match=r"facts.csv: id 'c' has two rows"):
        open_cohort(folder)
    (folder / "facts.csv").write_text("name,patient\na,1\n")
    with pytest.raises(CohortError, match=r"facts.csv: must have a column `id`"):
        open_cohort(folder)
    (folder / "other.csv").write_text("id\na\n")
    with pytest.raises(CohortError, match=r"at most one csv"):
        open_cohort(folder)


def test_smoothed_masks_are_refused_not_thresholded_in_silence(folder):
    mask = np.zeros((16, 16), np.uint8)
    mask[4:8, 4:8], mask[8, 4:8] = 255, 90
    Image.fromarray(mask).save(folder / "masks/b.png")
    with pytest.raises(CohortError, match=r"masks/b.png: a mask must hold 0 and one other value.*threshold it"):
        open_cohort(folder)


def test_masks_with_labels_are_instances(folder):
    mask = np.zeros((16, 16), np.uint8)
    mask[4:8, 4:8], mask[8:10, 4:8] = 1, 2
    for name in ("a", "b"):
        Image.fromarray(mask).save(folder / f"masks/{name}.png")
    cohort = open_cohort(folder)
    assert cohort.masks == "instances"
    assert np.array_equal(cohort.load("a").instances, mask)


def test_broken_coloured_and_misfitting_files_are_named(folder):
    grey(folder / "images/a.png", 7, (16, 8))
    with pytest.raises(CohortError, match=r"masks/a.png: the mask must have the size of its image, \(16, 8\)"):
        open_cohort(folder).load("a")
    Image.fromarray(np.full((16, 16, 3), (1, 2, 3), np.uint8)).save(folder / "images/a.png")
    with pytest.raises(CohortError, match=r"images/a.png: must be grey"):
        open_cohort(folder).load("a")
    (folder / "images/a.png").write_bytes(b"no image")
    with pytest.raises(CohortError, match=r"images/a.png: cannot be read as an image"):
        open_cohort(folder).load("a")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        open_cohort(folder / "nowhere")
    with pytest.raises(CohortError, match=r"images/: no such folder"):
        open_cohort(folder / "images")


def test_a_sample_checks_itself():
    image = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="one shape"):
        Sample("x", "p", image, np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match="uint8 or uint16"):
        Sample("x", "p", image.astype(float), image)
    with pytest.raises(ValueError, match="from 1 to 4, but is 5"):
        Sample("x", "p", image, image, density=5)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real cohort is not on this machine")
def test_the_real_folder_is_used_as_it_is():
    cohort = open_cohort(REAL)
    assert (len(cohort), cohort.table["patient"].nunique(), cohort.masks) == (1231, 691, "binary")
    assert "CC BY 3.0" in cohort.licence
    assert cohort.mass_fraction.median() == pytest.approx(0.0027, abs=1e-4)
    assert cohort.load(cohort.ids[0]).density == 3
