"""Each finding fires where it should, and nothing is found in a clean cohort."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mammograms import glaring, mammogram
from massmatch.cli import app
from massmatch.data import Sample, open_cohort, phantoms, write_cohort
from massmatch.data.checks.appearance import is_scattered, look
from massmatch.data.checks.report import alike, check
from massmatch.data.preprocessing.frame import Preprocessing, preprocess

REAL = Path(__file__).parents[3] / "shared/data/cbis_ddsm_mass_256"


@pytest.fixture(scope="module")
def clean():
    return list(phantoms(8, seed=3, size=128))


def changed(sample, **fields):
    own = {name: getattr(sample, name) for name in Sample.__dataclass_fields__}
    return Sample(**{**own, **fields})


def found(samples, tmp_path, **options):
    cohort = write_cohort(samples, tmp_path / "c", reader="test", options={}, licence="made up")
    return {finding.name: finding for finding in reversed(check(cohort, **options).findings)}  # errors win


def test_a_clean_cohort_has_neither_errors_nor_warnings(clean, tmp_path):
    findings = found(clean, tmp_path)
    assert {f.name: f.text for f in findings.values() if f.severity != "note"} == {}
    assert findings["without-mass"].count == sum(not s.mask.any() for s in clean)


@pytest.mark.parametrize(
    ("name", "severity", "change"),
    [
        ("even-image", "error", lambda s: {"image": np.full_like(s.image, 7)}),
        ("polarity", "warning", lambda s: {"image": s.image.max() - s.image}),
        ("squeezed", "warning", lambda s: {"image": glaring(s.image.astype(np.uint16), "plate", 20000)[0]}),
        (
            "specks",
            "warning",
            lambda s: {"instances": np.where(np.indices(s.image.shape).sum(0) == 0, 9, 0).astype(np.uint8)},
        ),
        ("large", "warning", lambda s: {"instances": np.ones_like(s.instances)}),
        ("frame", "warning", lambda s: {"instances": np.pad(_one(s)[1:-1, 1:-1], 1, constant_values=2)}),
        ("sizes", "warning", lambda s: {"image": s.image[:120], "instances": s.instances[:120]}),
        ("scattered", "note", lambda s: {"instances": _one(s) | np.roll(_one(s), (25, 25), (0, 1))}),
        ("csv-mask-px", "warning", lambda s: {"facts": {"mask_px": 12345}}),
        ("split-masses", "note", lambda s: {"facts": {"n_abnormalities": 0}, "instances": _one(s)}),
        ("merged-masses", "note", lambda s: {"facts": {"n_abnormalities": 9}}),
        ("absurd-spacing", "warning", lambda s: {"spacing_mm": (3.0, 3.0)}),
        ("anisotropic", "note", lambda s: {"spacing_mm": (0.07, 0.1)}),
        (
            "saturated",
            "warning",
            lambda s: {
                "image": np.minimum(s.image, np.median(s.image[s.image > s.image.max() // 4]).astype(s.image.dtype))
            },
        ),
    ],
)
def test_what_is_wrong_with_one_image(clean, tmp_path, name, severity, change):
    samples = [changed(clean[0], **change(clean[0])), *clean[1:9]]
    finding = found(samples, tmp_path)[name]
    assert finding.severity == severity
    assert clean[0].id in finding.ids
    assert finding.count == 1 or name in ("anisotropic",)


def _one(sample):
    mask = np.zeros_like(sample.instances)
    mask[40:50, 20:30] = 1
    return mask


@pytest.mark.parametrize(
    ("second", "is_so"),
    [
        ((40, 30, 10, 10), False),
        ((40, 50, 10, 10), False),
        ((40, 51, 10, 10), True),
        ((60, 45, 3, 3), False),
        ((75, 20, 4, 4), True),
    ],
)
def test_a_label_is_scattered_where_its_pieces_lie_farther_apart_than_the_largest_is_long(second, is_so):
    row, col, height, width = second
    mass = np.zeros((128, 128), bool)
    mass[40:50, 10:30] = True
    mass[row : row + height, col : col + width] = True
    mass[100, 100] = True  # a speck
    assert is_scattered(mass, least=10) is is_so


def test_a_mask_on_air(clean, tmp_path):
    image, mask = mammogram(96, 96), np.zeros((96, 96), np.uint8)
    mask[5:20, 80:94] = 1
    finding = found([Sample("odd", "p", image, mask), *clean], tmp_path)["off-breast"]
    assert (finding.severity, finding.ids) == ("warning", ["odd"])


def test_a_white_edge(clean, tmp_path):
    image = clean[0].image.copy()
    image[:60, 0] = image.max()
    assert found([changed(clean[0], image=image), *clean[1:]], tmp_path)["bright-edge"].ids == [clean[0].id]


def test_no_mass_at_all_is_an_error(clean, tmp_path):
    samples = [changed(s, instances=np.zeros_like(s.instances)) for s in clean]
    finding = found(samples, tmp_path)["no-mass"]
    assert (finding.severity, finding.count) == ("error", len(clean))


def test_duplicates(clean, tmp_path):
    first, second = clean[0], next(s for s in clean if s.patient != clean[0].patient)
    same = [changed(first, id="same"), changed(first, id="of-another", patient=second.patient)]
    findings = found([*clean, same[0]], tmp_path / "1")
    assert findings["duplicates"].ids == [first.id, "same"]
    assert findings["duplicates"].severity == "warning"
    findings = found([*clean, same[1]], tmp_path / "2")
    assert findings["duplicates-of-patients"].severity == "error"
    assert set(findings["duplicates-of-patients"].ids) == {first.id, "of-another"}


def test_near_duplicates_also_mirrored(clean, tmp_path):
    first, other = clean[0], next(s for s in clean if s.patient != clean[0].patient)
    noise = np.random.default_rng(0).integers(0, 2, first.image.shape)
    image = np.minimum(first.image[:, ::-1].astype(int) + noise, np.iinfo(first.image.dtype).max)
    copy = changed(first, id="copy", patient=other.patient, image=image.astype(first.image.dtype))
    finding = found([*clean, copy], tmp_path)["alike-of-patients"]
    assert (finding.severity, set(finding.ids)) == ("warning", {first.id, "copy"})


def test_pairs_are_found_across_blocks(clean):
    looks = [look(s) for s in [*clean, changed(clean[0], id="again")]]
    assert alike(looks, block=4) == alike(looks) == [(clean[0].id, "again")]


def test_one_mask_on_two_images(clean, tmp_path):
    with_mass = [s for s in clean if s.mask.any()]
    other = changed(with_mass[1], instances=with_mass[0].instances)
    samples = [other if s is with_mass[1] else s for s in clean]
    assert found(samples, tmp_path)["same-mask"].ids == [with_mass[0].id, other.id]


def test_row_47_one_woman_under_two_patients_is_leakage(clean, tmp_path):
    images = [changed(s, id=f"Mass_P_00001_{n}", patient=f"x{n}") if n < 2 else s for n, s in enumerate(clean)]
    finding = found(images, tmp_path)["patients-split"]
    assert (finding.severity, finding.count) == ("error", 2)


def test_row_47_official_parts_that_share_a_patient(clean, tmp_path):
    parts = ["train", "test"] * len(clean)
    samples = [changed(s, facts={"split": part}) for s, part in zip(clean, parts, strict=False)]
    finding = found(samples, tmp_path)["folds"]
    assert finding.severity == "error"
    assert "official" in finding.text


def test_row_47_every_image_its_own_patient(clean, tmp_path):
    finding = found([changed(s, patient=s.id) for s in clean], tmp_path)["no-patients"]
    assert finding.severity == "warning"


def test_row_48_fewer_patients_than_folds(clean, tmp_path):
    few = [s for s in clean if s.patient in {t.patient for t in clean[:6]}]
    finding = found(few, tmp_path, folds=5)["folds"]
    assert finding.severity == "error"
    assert "patients" in finding.text


def test_sides(clean, tmp_path):
    drawn = [Sample(f"{n}", f"p{n}", mammogram(96, 91, "left"), _mass(), side="LR"[n % 2]) for n in range(12)]
    assert "one-way" in found(drawn, tmp_path / "1")
    sided = [
        Sample(
            f"{n}",
            f"p{n}",
            mammogram(96, 91, "left" if (n % 2 == 0) != (n == 5) else "right"),
            _mass(),
            side="LR"[n % 2],
        )
        for n in range(12)
    ]
    assert found(sided, tmp_path / "2")["facing"].ids == ["5"]
    named = [changed(clean[0], id="x_LEFT_CC", side="R"), *clean[1:]]
    assert found(named, tmp_path / "3")["side-of-name"].ids == ["x_LEFT_CC"]


def _mass():
    mask = np.zeros((96, 91), np.uint8)
    mask[40:50, 40:50] = 1
    return mask


def test_densities(clean, tmp_path):
    samples = [changed(s, density=None if n == 0 else s.density) for n, s in enumerate(clean)]
    assert found(samples, tmp_path)["no-density"].ids == [clean[0].id]


def test_an_unreadable_image_does_not_stop_the_others(clean, tmp_path):
    cohort = write_cohort(clean, tmp_path / "c", reader="test", options={}, licence="")
    (cohort.root / f"images/{clean[3].id}.png").write_bytes(b"")
    seen = []
    report = check(open_cohort(cohort.root), tick=lambda: seen.append(1))
    (finding,) = (f for f in report.findings if f.name == "unreadable")
    assert finding.ids == [clean[3].id]
    assert finding.text.startswith(f"images/{clean[3].id}.png: ")
    assert len(seen) == len(clean)


def test_an_area_of_the_csv_says_nothing_of_a_mask_that_was_cropped_and_brought_to_its_old_size(clean, tmp_path):
    counted = [changed(s, facts={"mask_px": int(s.mask.sum())}) for s in clean]
    how = Preprocessing(crop="breast", size=clean[0].image.shape)
    cropped = [preprocess(s, how)[0] for s in counted]
    assert any(s.mask.sum() != s.facts["mask_px"] for s in cropped)
    assert "csv-mask-px" not in found(cropped, tmp_path)


def test_facts_count(clean, tmp_path):
    cohort = write_cohort(clean, tmp_path / "c", reader="test", options={}, licence="")
    facts = check(cohort).facts
    areas = np.concatenate([np.bincount(s.instances.ravel())[1:] for s in clean])
    areas = areas[areas > 0]
    assert facts["masses"] == len(areas)
    assert (facts["mass_px"]["min"], facts["mass_px"]["max"]) == (areas.min(), areas.max())
    assert facts["density"] == {str(k): v for k, v in pd.Series([s.density for s in clean]).value_counts().items()}


def test_the_command(clean, tmp_path):
    good = write_cohort(clean, tmp_path / "good", reader="test", options={}, licence="").root
    bad = write_cohort(
        [changed(s, instances=np.zeros_like(s.instances)) for s in clean],
        tmp_path / "bad",
        reader="t",
        options={},
        licence="",
    ).root
    shown = CliRunner().invoke(app, ["check", str(good)])
    assert shown.exit_code == 0
    assert "0 errors, " in shown.output
    alone = write_cohort(clean[:1], tmp_path / "alone", reader="test", options={}, licence="").root
    assert ": 1 image of 1 patient, " in CliRunner().invoke(app, ["check", str(alone)]).output
    failed = CliRunner().invoke(app, ["check", str(bad)])
    assert failed.exit_code == 3
    assert "no-mass" in failed.output
    machine = CliRunner().invoke(app, ["check", str(bad), "--json"])
    report = json.loads(machine.output)
    assert {f["name"] for f in report["findings"]} >= {"no-mass"}
    assert report["facts"]["images"] == len(clean)


@pytest.mark.long
@pytest.mark.skipif(not REAL.is_dir(), reason="the real cohort is not beside the project")
def test_the_real_cohorts_known_oddities():
    findings = {f.name: f for f in check(open_cohort(REAL)).findings}
    assert findings["specks"].count == 3
    assert findings["one-way"].count == 1231
    assert findings["no-spacing"].count == 1231
    assert findings["bright-edge"].count > 50
    assert "squeezed" not in findings
    assert not [f for f in findings.values() if f.severity == "error"]


@pytest.mark.parametrize(("side", "specks"), [(64, 0), (256, 1)])
def test_a_small_mass_of_a_small_image_is_no_speck(tmp_path, side, specks):
    one, two, *_ = phantoms(1, seed=3, size=side, normal_fraction=0.0)
    piece = np.zeros_like(one.instances)
    piece[side // 2, side // 2 : side // 2 + 4] = 1  # of 64 rows a sixteenth, as wide as a mass of 15 mm
    findings = found([changed(one, instances=piece), two], tmp_path)
    assert ("specks" in findings) == bool(specks)
