"""INbreast (Moreira et al., Acad. Radiol. 19, 2012): DICOM images, outlines as property lists, a table.

What was learned from the release: 410 images of 108 women; masses are the regions whose name is "Mass" and no others
(a "Spiculated Region" is an oval around a mass, seven to ten times its area); the 67 images without annotation are
those with Bi-Rads 1; the patient stands in the file's name, since the table says "removed"; ML in a name means MLO;
areas are in cm2 at exactly 0.07 mm per pixel.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from massmatch.data.dicom import read_dicom
from massmatch.data.errors import CohortError, DataWarning
from massmatch.data.inbreast_regions import MASS, check_areas, is_outline, masses, read_regions
from massmatch.data.inbreast_table import Row, read_table
from massmatch.data.instances import labelled
from massmatch.data.listing import Item, Listing, inside, is_data, named, relative
from massmatch.data.sample import Sample

LICENCE = (
    "INbreast (Moreira IC et al., Acad Radiol 19:236-248, 2012): given on request for research; not to be passed on"
)
NAME = re.compile(r"(\d{8})_([0-9a-f]{16})_MG_([LR])_(CC|ML|FB)_ANON\.dcm", re.IGNORECASE)
XML = re.compile(r"(\d{8})\.xml", re.IGNORECASE)
VIEWS = {"CC": "CC", "ML": "MLO", "FB": "FB"}
SPACING = 0.07  # mm; the files give none, and the annotations' areas agree with it to eight digits
PUBLISHED = {"images": 410, "images with a mass": 107, "masses": 116}
DEPTH = 3  # folders below the source in which AllDICOMs and AllXML are looked for


def inbreast(
    source: Path,
    *,
    masses_only: bool = False,
    allow_missing_annotations: bool = False,
    allow_for_processing: bool = False,
    allow_outside_root: bool = False,
) -> Listing:
    """The images of a release, or of a copy with other names and cases of its folders.

    Args:
        source: the folder that holds AllDICOMs and AllXML, at most three levels below.
        masses_only: leave out the images without a mass (the paper has the other 107).
        allow_missing_annotations: without INbreast.csv or .xls, take an image without XML as one without mass.
        allow_for_processing, allow_outside_root: see `read_dicom` and `inside`.

    Raises FileNotFoundError for a missing source, CohortError where no such folders or table are, or where the table
    cannot be read.
    """
    if not source.is_dir():
        raise FileNotFoundError(f"no such folder: {source}")
    images, left_out, faults = _images(source, _folder(source, "alldicoms"))
    annotations = {m[1]: p for p in _files(_folder(source, "allxml")) if (m := XML.fullmatch(p.name))}
    table = read_table(source, list(_folders(source)))
    if table is None and not allow_missing_annotations and images.keys() - annotations.keys():
        raise CohortError(
            "INbreast.csv: neither it nor INbreast.xls is in the source, so that an image without annotation may be "
            "normal or incomplete: add the table, or give --allow-missing-annotations"
        )
    items, regions = [], Counter[str]()
    with_mass = outlines = 0
    for id, path in sorted(images.items()):
        file, xml = relative(source, path), annotations.get(id)
        row = (table or {}).get(id)
        try:
            for each in (path, xml):
                if each is not None:
                    inside(source, each.relative_to(source), allow_outside=allow_outside_root)
            found = [] if xml is None else read_regions(source, relative(source, xml))
            _require_annotation(xml, row, table is not None, id)
        except CohortError as error:
            faults[file if xml is None else relative(source, xml)] = str(error)
            continue
        regions.update(region.name or "(no name)" for region in found if region.name not in MASS)
        own = sum(is_outline(region) for region in found if region.name in MASS)
        with_mass, outlines = with_mass + (own > 0), outlines + own
        if masses_only and own == 0:
            left_out[file] = "no mass (--masses-only)"
            continue
        xml_file = None if xml is None else relative(source, xml)
        read = partial(read_image, source, file, xml_file, row, allow_for_processing)
        items.append(Item(id, _patient(file), (file,) if xml_file is None else (file, xml_file), read))
    counts = {"images": len(images), "images with a mass": with_mass, "masses": outlines}
    return Listing(
        source,
        items,
        LICENCE,
        faults=faults,
        left_out=left_out,
        remarks=_remarks(counts, table, images),
        summary=_summary(counts, len(annotations), {_patient(p.name) for p in images.values()}, regions),
    )


def _folders(source: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The source and the folders below it, except the reports, which may name patients; links are not followed."""
    yield source
    if depth:
        for path in sorted(source.iterdir()):
            if path.is_dir() and not path.is_symlink() and path.name.casefold() != "medicalreports":
                yield from _folders(path, depth - 1)


def _folder(source: Path, name: str) -> Path:
    for folder in _folders(source):
        if folder.name.casefold() == name:
            return folder
    shown = {"alldicoms": "AllDICOMs", "allxml": "AllXML"}[name]
    raise CohortError(f"{shown}/: no such folder within {DEPTH} levels of the source: give the folder of the release")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_data(path))


def _images(source: Path, folder: Path) -> tuple[dict[str, Path], dict[str, str], dict[str, str]]:
    """Path by id; what is no image by its name; and ids that come twice."""
    found: dict[str, Path] = {}
    left_out, faults = {}, {}
    for path in _files(folder):
        match = NAME.fullmatch(path.name)
        file = relative(source, path)
        if match is None:
            left_out[file] = "its name is not that of an INbreast image"
        elif (other := found.get(match[1])) is not None:
            faults[file] = f"{file}: has the id {match[1]}, as has {relative(source, other)}: keep one of them"
        else:
            found[match[1]] = path
    return found, left_out, faults


def _patient(file: str) -> str:
    match = NAME.fullmatch(Path(file).name)
    assert match is not None
    return match[2].lower()


def _require_annotation(xml: Path | None, row: Row | None, has_table: bool, id: str) -> None:
    """CohortError for an image that should have an annotation and has none."""
    if xml is None and has_table and (row is None or row.birads != "1"):
        said = "has no row in the table" if row is None else f"has Bi-Rads {row.birads}"
        raise CohortError(
            f"AllXML/{id}.xml: no such annotation, but the image {said}, and only those with Bi-Rads 1 go without: "
            "complete the copy"
        )


def read_image(root: Path, file: str, xml: str | None, row: Row | None, allow_for_processing: bool) -> Sample:
    """One image in its stored frame, with its masses. CohortError and DataWarning name the file."""
    image = read_dicom(root, file, allow_for_processing=allow_for_processing)
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


def _remarks(counts: dict[str, int], table: dict[str, Row] | None, images: dict[str, Path]) -> list[str]:
    told = []
    if counts != PUBLISHED:
        found = ", ".join(f"{counts[name]} {name} (published: {PUBLISHED[name]})" for name in counts)
        told.append(f"counts differ from the publication: {found}")
    if table is not None and (lone := table.keys() - images.keys()):
        told.append(f"the table has rows without image: {named(lone)}")
    if table is not None and (lone := images.keys() - table.keys()):
        told.append(f"images without row in the table, so without density: {named(lone)}")
    return told


def _summary(counts: dict[str, int], files: int, patients: set[str], regions: Counter[str]) -> str:
    others = ", ".join(f"{name} {count}" for name, count in sorted(regions.items())) or "none"
    return (
        f"{counts['images']} images, {files} annotation files, {counts['images with a mass']} images with masses, "
        f"{counts['masses']} masses (published: 107 / 116), {len(patients)} patients; other regions: {others}"
    )
