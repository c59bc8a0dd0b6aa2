"""INbreast (Moreira et al., Acad. Radiol. 19, 2012): DICOM images, outlines as property lists, a table.

What was learned from the release: 410 images of 108 women; masses are the regions whose name is "Mass" and no others
(a "Spiculated Region" is an oval around a mass, seven to ten times its area); the 67 images without annotation are
those with Bi-Rads 1; the patient stands in the file's name, since the table says "removed"; ML in a name means MLO;
areas are in cm2 at exactly 0.07 mm per pixel.
"""

import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from massmatch.data.dicom import read_dicom
from massmatch.data.errors import DataError, DataWarning
from massmatch.data.instances import labelled
from massmatch.data.readers.inbreast.files import NAME, Release, find_release
from massmatch.data.readers.inbreast.regions import MASS, Region, check_areas, is_outline, masses, read_regions
from massmatch.data.readers.inbreast.table import Row, read_table
from massmatch.data.readers.listing import Item, Listing, inside, named, relative
from massmatch.data.sample import Sample
from massmatch.errors import UsageError

LICENCE = (
    "INbreast (Moreira IC et al., Acad Radiol 19:236-248, 2012): given on request for research; not to be passed on"
)
VIEWS = {"CC": "CC", "ML": "MLO", "FB": "FB"}
SPACING = 0.07  # mm; the files give none, and the annotations' areas agree with it to eight digits
PUBLISHED = {"images": 410, "images with a mass": 107, "masses": 116}


def inbreast(
    source: Path,
    *,
    masses_only: bool = False,
    allow_missing_annotations: bool = False,
    allow_for_processing: bool = False,
    modality: str = "MG",
    allow_outside_root: bool = False,
) -> Listing:
    """The images of a release, or of a copy with other names and cases of its folders.

    Args:
        source: the folder that holds AllDICOMs and AllXML, at most three levels below.
        masses_only: leave out the images without a mass (the paper has the other 107).
        allow_missing_annotations: without INbreast.csv or .xls, take an image without XML as one without mass.
        allow_for_processing, modality, allow_outside_root: see `read_dicom` and `inside`.

    Raises UsageError for a missing source, DataError where no such folders or table are, where there are
    two of one, or where the table cannot be read.
    """
    if not source.is_dir():
        raise UsageError(f"no such folder: {source}")
    release = find_release(source, allow_outside=allow_outside_root)
    table = None if release.table is None else read_table(source, release.table)
    if table is None and not allow_missing_annotations and release.images.keys() - release.annotations.keys():
        raise DataError(
            "INbreast.csv: neither it nor INbreast.xls is in the source, so that an image without annotation may be "
            "normal or incomplete: add the table, or give --allow-missing-annotations"
        )
    how = {"allow_for_processing": allow_for_processing, "modality": modality}
    faults, left_out = dict(release.faults), dict(release.left_out)
    items, others = [], Counter[str]()
    with_mass = outlines = 0
    for id in sorted(release.images):
        image, files = relative(source, release.images[id]), _files(source, release, id)
        row = (table or {}).get(id)
        try:
            for file in files:
                inside(source, file, allow_outside=allow_outside_root)
            regions = _regions(source, release, id)
            _require_annotation(id, release, table)
        except DataError as error:
            faults[files[1] if id in release.annotations else image] = str(error)
            continue
        own = sum(is_outline(region) for region in regions if region.name in MASS)
        others.update(region.name or "(no name)" for region in regions if region.name not in MASS)
        with_mass, outlines = with_mass + (own > 0), outlines + own
        if masses_only and own == 0:
            left_out[image] = "no mass (--masses-only)"
            continue
        xml = files[1] if id in release.annotations else None
        read = partial(read_image, source, image, xml, row, how)
        items.append(Item(id, _patient(image), files, read))
    counts = {"images": len(release.images), "images with a mass": with_mass, "masses": outlines}
    return Listing(
        source,
        items,
        LICENCE,
        faults=faults,
        left_out=left_out,
        remarks=_remarks(counts, release, table),
        summary=_summary(counts, release, others),
    )


def _files(source: Path, release: Release, id: str) -> tuple[str, ...]:
    """What an image is made from: its DICOM file, its XML and the table, as far as they are there."""
    paths = (release.images[id], release.annotations.get(id), release.table)
    return tuple(relative(source, path) for path in paths if path is not None)


def _regions(source: Path, release: Release, id: str) -> list[Region]:
    xml = release.annotations.get(id)
    return [] if xml is None else read_regions(source, relative(source, xml))


def _patient(file: str) -> str:
    match = NAME.fullmatch(Path(file).name)
    assert match is not None
    return match[2].lower()


def _require_annotation(id: str, release: Release, table: dict[str, Row] | None) -> None:
    """DataError for an image that should have an annotation and has none."""
    if id in release.annotations or table is None:
        return
    row = table.get(id)
    if row is None or row.birads != "1":
        said = "has no row in the table" if row is None else f"has Bi-Rads {row.birads}"
        raise DataError(
            f"AllXML/{id}.xml: no such annotation, but the image {said}, and only those with Bi-Rads 1 go without: "
            "complete the copy"
        )


def read_image(root: Path, file: str, xml: str | None, row: Row | None, how: dict[str, Any]) -> Sample:
    """One image in its stored frame, with its masses. DataError and DataWarning name the file."""
    image = read_dicom(root, file, **how)
    match = NAME.fullmatch(Path(file).name)
    assert match is not None
    side, view = match[3].upper(), VIEWS[match[4].upper()]
    for what, ours, header in (("side", side, image.side), ("view", view, image.view)):
        if header is not None and header != ours and (what, header) != ("view", match[4].upper()):
            text = f"{file}: the header's {what} is {header}, that of the name {ours}; the name counts"
            warnings.warn(text, DataWarning, stacklevel=2)
    regions = [] if xml is None else read_regions(root, xml)
    spacing, source = (SPACING, SPACING), f"dataset default {SPACING}"
    if image.spacing_mm is not None:
        spacing, source = image.spacing_mm, image.spacing_source
    check_areas(regions, spacing, xml or file)
    found = masses(regions, image.pixels.shape, xml or file)
    return Sample(
        id=match[1],
        patient=match[2].lower(),
        image=image.pixels,
        instances=labelled(found, image.pixels.shape),
        side=side,
        view=view,
        density=None if row is None else row.density,
        spacing_mm=spacing,
        facts={
            "spacing_source": source,
            "birads": None if row is None else row.birads,
            "acquisition": None if row is None else row.acquisition,
        },
    )


def _remarks(counts: dict[str, int], release: Release, table: dict[str, Row] | None) -> list[str]:
    told, images = [], release.images.keys()
    if counts != PUBLISHED:
        found = ", ".join(f"{counts[name]} {name} (published: {PUBLISHED[name]})" for name in counts)
        told.append(f"counts differ from the publication: {found}")
    rows = images if table is None else table.keys()
    for what, ids in (
        ("annotations without image", release.annotations.keys() - images),
        ("the table has rows without image", rows - images),
        ("images without row in the table, so without density", images - rows),
    ):
        if ids:
            told.append(f"{what}: {named(ids)}")
    return told


def _summary(counts: dict[str, int], release: Release, regions: Counter[str]) -> str:
    others = ", ".join(f"{name} {count}" for name, count in sorted(regions.items())) or "none"
    patients = {_patient(path.name) for path in release.images.values()}
    return (
        f"{counts['images']} images, {len(release.annotations)} annotation files, "
        f"{counts['images with a mass']} images with masses, {counts['masses']} masses (published: 107 / 116), "
        f"{len(patients)} patients; other regions: {others}"
    )
