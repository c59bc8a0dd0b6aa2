"""Prepared cohorts: what is written is read back, what does not fit is named, nothing half-written looks whole."""

import json
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from massmatch.data import DataError, Sample, open_cohort, phantoms, write_cohort
from massmatch.errors import UsageError
from started import started


def sample(number, dtype=np.uint8, **known):
    image = np.zeros((20, 24), dtype)
    image[4:16, 2:20] = 100 + number
    instances = np.zeros((20, 24), np.uint8)
    instances[5:8, 5:9] = 1
    instances[8:10, 5:9] = 2  # touches the first
    return Sample(f"s{number}", f"p{number // 2}", image, instances, **known)


def named(id="a", patient="p", **known):
    return Sample(id, patient, np.ones((8, 8), np.uint8), np.zeros((8, 8), np.uint8), **known)


def write(samples, out, **options):
    return write_cohort(samples, out, reader="test", options=options, licence="none")


# --- written and read back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_written_is_read_back(tmp_path, dtype):
    known = {"side": "L", "view": "CC", "density": 3, "spacing_mm": (0.07, 0.08)}
    written = [sample(n, dtype, **known) for n in range(3)]
    cohort = write(written, tmp_path / "c")
    assert cohort.ids == ["s0", "s1", "s2"]
    assert (len(cohort), cohort.name, cohort.masks) == (3, "c", "instances")
    for before in written:
        after = open_cohort(tmp_path / "c").load(before.id)
        assert after.image.dtype == dtype
        assert np.array_equal(after.image, before.image)
        assert np.array_equal(after.instances, before.instances)
        assert (after.patient, after.side, after.view) == (before.patient, "L", "CC")
        assert (after.density, after.spacing_mm) == (3, (0.07, 0.08))


def test_all_16_bits_come_back(tmp_path):
    image = np.linspace(0, 65535, 480).astype(np.uint16).reshape(20, 24)
    instances = (np.arange(480) % 400).astype(np.uint16).reshape(20, 24)
    write([Sample("x", "p", image, instances)], tmp_path / "c")
    after = open_cohort(tmp_path / "c").load("x")
    assert np.array_equal(after.image, image)
    assert np.array_equal(after.instances, instances)


def test_what_is_not_known_stays_unknown(tmp_path):
    write([named("a"), named("b", density=2, spacing_mm=(0.1, 0.1))], tmp_path / "c")
    after = open_cohort(tmp_path / "c").load("a")
    assert (after.side, after.view, after.density, after.spacing_mm) == (None, None, None, None)
    assert open_cohort(tmp_path / "c").load("b").density == 2


def test_further_facts_keep_their_kind(tmp_path):
    facts = {"pathology": "BENIGN", "flipped": True, "mass_shape": None, "birads": 4, "spacing_source": "user"}
    write([named("a", facts=facts)], tmp_path / "c")
    after = open_cohort(tmp_path / "c").load("a").facts
    assert {name: after[name] for name in facts} == facts
    assert (after["native_rows"], after["native_cols"]) == (8, 8)


@pytest.mark.parametrize("odd", ["NA", "null", "007", "1.50", "Müller, 2", 'a "b"', "x.y"])
def test_odd_names_come_back_as_text(tmp_path, odd):
    write([named(odd, patient=odd)], tmp_path / "c")
    after = open_cohort(tmp_path / "c")
    assert after.ids == [odd]
    assert after.load(odd).patient == odd


def test_the_order_is_kept(tmp_path):
    assert write([named("b"), named("a"), named("c")], tmp_path / "c").ids == ["b", "a", "c"]


def test_mass_fraction_is_of_all_pixels(tmp_path):
    cohort = write([sample(0), named("none")], tmp_path / "c")
    assert cohort.mass_fraction["s0"] == pytest.approx(20 / 480)
    assert cohort.mass_fraction["none"] == 0


def test_cohort_json_tells_what_is_there(tmp_path):
    cohort = write_cohort(
        [sample(0), sample(1), named()], tmp_path / "c", reader="test", options={"a": 1}, licence="CC BY"
    )
    facts = json.loads((tmp_path / "c/cohort.json").read_text())
    assert (facts["reader"], facts["options"]) == ("test", {"a": 1})
    assert (facts["images"], facts["patients"], facts["masses"], facts["without_mass"]) == (3, 2, 4, 1)
    assert (facts["masks"], facts["licence"]) == ("instances", "CC BY")
    assert facts["fingerprint"] == cohort.fingerprint == open_cohort(tmp_path / "c").fingerprint
    assert cohort.licence == "CC BY"
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["cohort.json", "images", "masks", "samples.csv"]


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_the_fingerprint_changes_with_a_pixel(tmp_path, kind):
    before = write([sample(0)], tmp_path / "c").fingerprint
    path = tmp_path / "c" / kind / "s0.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0] = 1
    Image.fromarray(pixels).save(path)
    assert len(before) == 16
    assert open_cohort(tmp_path / "c").fingerprint != before


# --- never twice, never over something else ----------------------------------------------------------------------


def never():
    raise AssertionError("must not be asked")
    yield


def test_the_same_again_is_kept(tmp_path):
    write([sample(0)], tmp_path / "c", sizes=(1, 2))
    before = (tmp_path / "c/cohort.json").stat().st_mtime_ns
    assert len(write(never(), tmp_path / "c", sizes=(1, 2))) == 1
    assert (tmp_path / "c/cohort.json").stat().st_mtime_ns == before


def test_another_cohort_is_not_overwritten(tmp_path):
    write([sample(0)], tmp_path / "c", n=1)
    with pytest.raises(UsageError, match=r"other n \(there 1, asked for 2\): remove it"):
        write(never(), tmp_path / "c", n=2)
    with pytest.raises(UsageError, match=r"of other reader \(there test, asked for other"):
        write_cohort(never(), tmp_path / "c", reader="other", options={"n": 1}, licence="")


def test_other_files_are_not_overwritten(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/precious.txt").write_text("mine")
    for out in (tmp_path / "d", tmp_path / "d/precious.txt"):
        with pytest.raises(UsageError, match="not empty and no cohort"):
            write(never(), out)
    assert (tmp_path / "d/precious.txt").read_text() == "mine"


def test_an_empty_folder_is_filled_and_missing_ones_are_made(tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(write([sample(0)], tmp_path / "empty")) == 1
    assert len(write([sample(0)], tmp_path / "a/b/c")) == 1


# --- what cannot be written --------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["", " a", "a/b", "../a", ".a", "a\\b", "a\nb"])
def test_an_id_must_be_a_file_name(tmp_path, id):
    with pytest.raises(DataError, match=r"an image's name without its ending must be of .*: rename its file"):
        write([named(id)], tmp_path / "c")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], r"samples.csv: a cohort must hold an image, but the reader found none"),
        ([named("a"), named("b"), named("a", patient="q")], r"images/a.png: two samples have the id 'a'"),
        ([named(patient="")], r"images/a.png: must have a patient, without blanks around, but has ''"),
        ([named(patient="p ")], r"images/a.png: must have a patient, without blanks around, but has 'p '"),
        ([named(spacing_mm=(70, 70))], r"images/a.png: a spacing of 70 x 70 mm would make the image \d+ mm long"),
        ([named(facts={"patient": "q"})], r"images/a.png: facts must not use .* own fields, \['patient'\]"),
        ([named(side="X")], r"samples.csv: side must be L, R, LEFT or RIGHT, or empty, but is 'X' for a"),
    ],
)
def test_what_would_not_come_back_is_refused_and_leaves_nothing(tmp_path, samples, message):
    with pytest.raises(DataError, match=message):
        write(samples, tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


# --- interrupted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_half_way_leaves_nothing(tmp_path, error):
    def breaks():
        yield sample(0)
        raise error("half way")

    with pytest.raises(error, match="half way"):
        write(breaks(), tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder in which a process was killed while it wrote its cohort "c"."""
    folder = tmp_path_factory.mktemp("killed")
    code = f"""
        import time, numpy as np
        from massmatch.data import Sample, write_cohort
        def slow():
            for n in range(3):
                yield Sample(f"s{{n}}", "p", np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8))
            print("three written", flush=True)
            time.sleep(600)
        write_cohort(slow(), {str(folder / "c")!r}, reader="test", options={{}}, licence="")
    """
    with started([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().strip() == b"three written"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    return folder


def test_a_killed_writer_leaves_nothing_under_the_cohorts_name(killed):
    assert not (killed / "c").exists()


def test_what_a_killed_writer_leaves_is_not_opened(killed):
    (left,) = killed.glob("c.part")
    assert len(list((left / "images").iterdir())) == 3  # a whole pair of folders, were it not for the sign
    with pytest.raises(DataError, match=r"UNFINISHED: the writing of .* was interrupted .*remove the folder"):
        open_cohort(left)


def test_after_a_killed_writer_the_same_command_works(killed):
    assert len(write([sample(0)], killed / "c")) == 1


# --- a prepared cohort that somebody changed ----------------------------------------------------------------------


@pytest.fixture
def prepared(tmp_path):
    write([named("a"), named("b"), named("c")], tmp_path / "c")
    return tmp_path / "c"


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("images/a.png", r"masks/a.png: no image of this name in images/"),
        ("masks/b.png", r"images/b.png: no mask of this name in masks/"),
        ("samples.csv", r"samples.csv: must lie beside cohort.json"),
    ],
)
def test_a_lost_file_is_named(prepared, lost, message):
    (prepared / lost).unlink()
    with pytest.raises(DataError, match=message):
        open_cohort(prepared)


def test_a_lost_image_with_its_mask_is_named(prepared):
    (prepared / "images/a.png").unlink()
    (prepared / "masks/a.png").unlink()
    with pytest.raises(DataError, match=r"samples.csv: rows without a file in images/: a: add it, or drop the row"):
        open_cohort(prepared)


def test_a_lost_row_is_named(prepared):
    table = pd.read_csv(prepared / "samples.csv")
    table[1:].to_csv(prepared / "samples.csv", index=False)
    with pytest.raises(DataError, match=r"images/a.png: no row in samples.csv"):
        open_cohort(prepared)
    for kind in ("images", "masks"):
        (prepared / kind / "a.png").unlink()
    with pytest.raises(DataError, match=r"samples.csv: must have the 3 rows of cohort.json, but has 2"):
        open_cohort(prepared)


def test_nothing_outside_the_cohort_is_read(prepared):
    text = (prepared / "samples.csv").read_text()
    (prepared / "samples.csv").write_text(text.replace("\na,", "\n../../a,"))
    with pytest.raises(DataError, match=r"images/a.png: no row in samples.csv"):
        open_cohort(prepared)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"reader": "te', r"cohort.json: cannot be read \(Unterminated string"),
        ('{"reader": "test"}', r"cohort.json: must hold images, licence, masks, options, reader"),
        ("[]", r"cohort.json: must hold images"),
    ],
)
def test_a_damaged_cohort_json_is_named(prepared, text, message):
    (prepared / "cohort.json").write_text(text)
    with pytest.raises(DataError, match=message):
        open_cohort(prepared)
    with pytest.raises(DataError, match=message):
        write(never(), prepared)


def test_an_unknown_kind_of_masks_is_named(prepared):
    facts = json.loads((prepared / "cohort.json").read_text())
    (prepared / "cohort.json").write_text(json.dumps({**facts, "masks": "greys"}))
    with pytest.raises(DataError, match=r"cohort.json: masks must be 'instances' or 'binary', but is 'greys'"):
        open_cohort(prepared)


# --- readers -----------------------------------------------------------------------------------------------------


def test_readers_yield_what_write_cohort_writes(tmp_path):
    source = write([named("b"), sample(0)], tmp_path / "source")
    copy = write((source.load(id) for id in source.ids), tmp_path / "copy")
    assert copy.fingerprint == source.fingerprint
    assert len(write(phantoms(2, size=64), tmp_path / "phantoms")) >= 2


def test_missing_and_unknown(prepared):
    with pytest.raises(UsageError, match=r"no such folder: .*nowhere"):
        open_cohort(prepared / "nowhere")
    with pytest.raises(KeyError, match="unknown"):
        open_cohort(prepared).load("unknown")
