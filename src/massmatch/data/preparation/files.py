"""Writing a cohort so that nothing half-written looks whole: all goes into a folder beside, renamed at the end."""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from massmatch.data.cohort import COLUMNS, PATHS, UNFINISHED, Cohort
from massmatch.data.errors import DataError
from massmatch.data.images import levels, refuse_long
from massmatch.data.open import open_cohort, read_json, read_table
from massmatch.data.preprocessing.breast import chest_side
from massmatch.data.preprocessing.frame import Frame, Preprocessing
from massmatch.data.sample import Sample
from massmatch.errors import UsageError
from massmatch.hold import held

FOLDERS = ("images", "masks")
NATIVE = "masks_native"
FAST = 1  # zlib's level: a mammogram of 13 million pixels takes a fifth of the time, for a tenth more bytes


def write_cohort(
    samples: Iterable[Sample], out: Path | str, *, reader: str, options: dict[str, Any], licence: str
) -> Cohort:
    """Write samples as they are and open them; a cohort from the same reader and options is kept as it is.

    `samples` is not touched when the cohort is kept.

    Raises FileExistsError if `out` holds something else or another process is writing it, DataError for no
    samples, for an id that comes twice or is no file name, and for a sample without a patient.
    """
    out = Path(out)
    options = plain(options)
    facts = {"reader": reader, "options": options, "licence": licence}
    if is_there(out, reader, options):
        return open_cohort(out)
    with beside(out) as part:
        try:
            clear(part)
            rows: dict[str, dict[str, Any]] = {}
            for sample in samples:
                check_sample(sample, rows)
                rows[sample.id] = write_sample(part, sample)
            finish(part, out, list(rows.values()), facts)
        except BaseException:
            clear(part)
            raise
    return open_cohort(out)


def plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options as they come back from JSON."""
    return dict(json.loads(json.dumps(options)))


def is_there(out: Path, reader: str, options: dict[str, Any]) -> bool:
    """Whether this very cohort is in `out`. FileExistsError if something else is."""
    if (out / "cohort.json").is_file():
        there = read_json(out)
        if (there["reader"], there["options"]) == (reader, options):
            return True
        old, new = {"reader": there["reader"], **there["options"]}, {"reader": reader, **options}
        differ = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        what = ", ".join(f"{name} (there {old.get(name)}, asked for {new.get(name)})" for name in differ)
        raise UsageError(f"{out} holds another cohort, of other {what}: remove it or choose another folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty and no cohort: choose another folder")
    return False


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """The folder `<out>.part`, marked as unfinished, for one writer at a time; gone at the end if it is empty.

    Raises UsageError while another process is at work on it.
    """
    place = out.resolve()
    part = place.with_name(f"{place.name}.part")
    place.parent.mkdir(parents=True, exist_ok=True)
    with held(part, place.with_name(f".{place.name}.lock")):
        try:
            part.mkdir(exist_ok=True)
            (part / UNFINISHED).write_text("massmatch is writing this folder, or was stopped while it did.\n")
            yield part
        finally:
            if part.is_dir() and {p.name for p in part.iterdir()} <= {UNFINISHED}:
                shutil.rmtree(part, ignore_errors=True)


def clear(part: Path) -> None:
    """Remove everything but the mark."""
    for path in part.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != UNFINISHED:
            path.unlink()


def check_sample(sample: Sample, others: Iterable[str]) -> None:
    """DataError for what would not come back from the files as it went in, and for a spacing that no image has."""
    id = sample.id
    plain = id == id.strip() and id.isprintable() and not id.startswith(".") and not {*id} & {*"/\\"}
    if not id or not plain:
        raise DataError(
            f"{id!r}: an image's name without its ending must be of letters that are seen, without a slash, a dot in "
            "front or a blank around: rename its file"
        )
    if id in others:
        raise DataError(f"images/{id}.png: two samples have the id {id!r}: give each its own")
    if not sample.patient or sample.patient != sample.patient.strip():
        raise DataError(f"images/{id}.png: must have a patient, without blanks around, but has {sample.patient!r}")
    refuse_long(f"images/{id}.png", sample.image.shape, sample.spacing_mm)
    if taken := sorted(sample.facts.keys() & {*COLUMNS[:-1], *PATHS}):
        raise DataError(f"images/{id}.png: facts must not use the names of a sample's own fields, {taken}")


def write_sample(root: Path, sample: Sample, native: np.ndarray | None = None) -> dict[str, Any]:
    """Write one image, its masses and, if given, its masses in the native frame; its row of samples.csv."""
    arrays = {"images": sample.image, "masks": sample.instances, NATIVE: native}
    for folder, array in arrays.items():
        if array is not None:
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / folder / f"{sample.id}.png", compress_level=FAST)
    row, col = sample.spacing_mm or (None, None)
    values = (sample.id, sample.patient, sample.side, sample.view, sample.density, row, col, None)
    known = dict(zip(COLUMNS, values, strict=True))
    rows, cols = sample.image.shape
    frame = Frame(rows, cols, 0, 0, rows, cols, False, rows, cols).columns()
    seen = {"spacing_source": "none" if row is None else "reader", "chest_side": chest_side(sample.image)}
    return {**known, **seen, **frame, **sample.facts}


def finish(part: Path, out: Path, rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """Write samples.csv and cohort.json and give the folder its name. DataError if there are no rows."""
    if not rows:
        raise DataError("samples.csv: a cohort must hold an image, but the reader found none: check its source")
    pd.DataFrame(rows).to_csv(part / "samples.csv", index=False)
    how = None if "preprocessing" not in facts else Preprocessing.from_record(facts["preprocessing"])
    cohort = Cohort(part, read_table(part, part / "samples.csv"), "instances", facts["licence"], how)
    masses = [len(levels(cohort.load(id).instances)) for id in cohort.ids]
    counts = {
        "images": len(cohort),
        "patients": cohort.table["patient"].nunique(),
        "masses": sum(masses),
        "without_mass": masses.count(0),
    }
    found = {"masks": cohort.masks, "fingerprint": cohort.fingerprint, "orientation": cohort.orientation}
    (part / "cohort.json").write_text(json.dumps({**facts, **counts, **found}, indent=1), encoding="utf-8")
    (part / UNFINISHED).unlink()
    place = out.resolve()
    if place.exists():
        place.rmdir()
    part.rename(place)
