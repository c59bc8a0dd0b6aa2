"""CBIS-DDSM (Lee et al., Sci. Data 4:170177, 2017): DICOM from TCIA, or the copy of it in JPEG.

What was learned from the release: the paths of its tables are not those on disk, but their series' UIDs hold; the
columns for mask and crop are exchanged in 103 rows of the masses and in nearly all of the calcifications, so the two
are told apart by their pixels; one row is one lesion, up to six on one image; some masks have another size than their
image; it is scanned film, so there is no spacing to trust.
"""

import warnings
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from massmatch.data.dicom import read_dicom, read_dicom_mask
from massmatch.data.errors import DataError, DataWarning
from massmatch.data.images import read_grey
from massmatch.data.instances import labelled
from massmatch.data.readers.cbis_ddsm.files import PICTURES, Series, shape
from massmatch.data.readers.cbis_ddsm.table import KNOWN, Lesion, read_tables
from massmatch.data.readers.listing import Item, Listing, inside, relative
from massmatch.data.sample import Sample
from massmatch.errors import UsageError

LICENCE = (
    "Contains images from CBIS-DDSM (Sawyer-Lee R, Gimenez F, Hoogi A, Rubin D. The Cancer Imaging Archive, 2016, "
    "doi:10.7937/K9/TCIA.2016.7O02S9CY; Lee RS et al., Sci Data 4:170177, 2017; Clark K et al., J Digit Imaging "
    "26(6):1045-1057, 2013), licensed CC BY 3.0"
)
KINDS = {"mass": ("mass",), "calc": ("calc",), "both": ("mass", "calc")}
PUBLISHED = {"mass": (1592, 1696), "calc": (1511, 1872), "both": (3103, 3568)}  # images, lesions
SAME_ASPECT = 0.005  # relative: such a mask is its image's at another size
BLACK_OR_WHITE = 0.99  # share of pixels near the ends of the range in a mask that JPEG has blurred
NEAR = 0.1  # of the range


def cbis_ddsm(source: Path, *, abnormality: str = "mass", allow_outside_root: bool = False) -> Listing:
    """The full mammograms of a download, each with the masks of its lesions.

    Args:
        source: the folder that holds the images and, at most three levels below, the case descriptions (csv).
        abnormality: "mass", "calc" or "both". With both, patients who are in the training part of one and in the test
            part of the other (13 and 18 in the release) count as training in both, so that none is in two parts.
        allow_outside_root: see `inside`.

    Raises UsageError for a missing source, ValueError for another abnormality, DataError for damaged or
    missing tables.
    """
    if abnormality not in KINDS:
        raise UsageError(f"--abnormality: must be mass, calc or both, but is {abnormality!r}")
    if not source.is_dir():
        raise UsageError(f"no such folder: {source}")
    source = source.absolute()  # NBIA's table may hold absolute paths
    series = Series(source)
    listed = read_tables(source, series.tables, KINDS[abnormality])
    lesions = [*{lesion.said: lesion for lesion in reversed(listed)}.values()][::-1]  # the first of equal ones
    images: dict[str, list[Lesion]] = defaultdict(list)
    for lesion in lesions:
        images[lesion.image].append(lesion)
    both = _in_both_parts(lesions)
    items, faults, skipped = [], dict[str, str](), dict[str, str]()
    for id, own in sorted(images.items()):
        try:
            paths = _files_of(series, own, allow_outside_root)
            why = _misfit(source, paths)
        except DataError as error:
            faults[id] = str(error)
            continue
        if why is not None:
            file = relative(source, paths[0][0])
            skipped[file] = f"{file}: {why}"
            continue
        names = [[relative(source, path) for path in each] for each in paths]
        split = "train" if own[0].patient in both else own[0].split
        read = partial(read_image, source, id, own, names, split)
        files = (*(name for each in names for name in each), *sorted({lesion.table for lesion in own}))
        items.append(Item(id, own[0].patient, files, read))
    return Listing(
        source,
        items,
        LICENCE,
        faults=faults,
        skipped=skipped,
        remarks=_remarks(abnormality, images, lesions, both, len(listed) - len(lesions)),
        summary=_summary(items, images, len(skipped)),
    )


def _files_of(series: Series, lesions: list[Lesion], allow_outside: bool) -> list[list[Path]]:
    """The image's file, then for each lesion the files among which its mask is. DataError if some are missing."""
    if len({lesion.image_series for lesion in lesions}) > 1:
        raise DataError(
            f"{lesions[0].table}: {lesions[0].image}: its rows must name one series of the image, but name several: "
            "download the table again"
        )
    found = []
    for uids, what, lesion in [
        ((lesions[0].image_series,), "image", lesions[0]),
        *((lesion.other_series, f"mask of lesion {lesion.number}", lesion) for lesion in lesions),
    ]:
        files = [path for uid in uids for path in series.files(uid)]
        if not files:
            raise DataError(
                f"{lesion.table}: {lesion.image}: no file of the series {uids[0]} (its {what}) is in the source: "
                "complete the download"
            )
        for path in files:
            inside(series.source, path, allow_outside=allow_outside)
        found.append(files)
    if len(found[0]) > 1:
        raise DataError(
            f"{relative(series.source, found[0][1])}: {lesions[0].image} must be one file, but its series has "
            f"{len(found[0])}: remove what does not belong there"
        )
    return found


def _misfit(source: Path, files: list[list[Path]]) -> str | None:
    """Why an image is left out: a lesion none of whose files has the image's proportions."""
    image = shape(source, files[0][0])
    for candidates in files[1:]:
        shapes = {path.name: shape(source, path) for path in candidates}
        if not any(_same_aspect(image, other) for other in shapes.values()):
            sizes = ", ".join(f"{name} {rows} x {cols}" for name, (rows, cols) in shapes.items())
            return f"no mask has the proportions of the image, {image[0]} x {image[1]}: {sizes}"
    return None


def _same_aspect(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return min(*a, *b) > 0 and abs(a[0] * b[1] / (a[1] * b[0]) - 1) <= SAME_ASPECT


def _in_both_parts(lesions: list[Lesion]) -> set[str]:
    """Patients of the training part of one table and of the test part of another."""
    parts = {part: {lesion.patient for lesion in lesions if lesion.split == part} for part in ("train", "test")}
    return parts["train"] & parts["test"]


# --- one image: in the worker ----------------------------------------------------------------------------------------


def read_image(root: Path, id: str, lesions: list[Lesion], files: list[list[str]], split: str) -> Sample:
    """One full mammogram as it is stored, with a label per lesion. DataError and DataWarning name the file."""
    image = read_pixels(root, files[0][0])
    masks = [mask_of(root, candidates, image.shape) for candidates in files[1:]]
    first = lesions[0]
    facts: dict[str, Any] = {"spacing_source": "none", "split": split, "n_abnormalities": len(lesions)}
    for name in KNOWN:
        if any(name in lesion.facts for lesion in lesions):
            facts[name] = "|".join(lesion.facts.get(name, "") for lesion in lesions)
    return Sample(
        id=id,
        patient=first.patient,
        image=image,
        instances=labelled(masks, image.shape),
        side=first.side,
        view=first.view,
        density=first.density,
        facts=facts,
    )


def read_pixels(root: Path, file: str) -> np.ndarray:
    """(H, W) uint8 or uint16 of a DICOM file or a picture."""
    return read_grey(root, file) if is_picture(file) else read_dicom(root, file).pixels


def is_picture(file: str) -> bool:
    """Whether a file is of the copy in JPEG, by its name."""
    return Path(file).suffix.lower() in PICTURES


def mask_of(root: Path, candidates: list[str], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """(H, W) bool: the one candidate that is black and white and has the image's proportions.

    Raises DataError where none or several are, or where the mask is empty.
    """
    found = {}
    for file in candidates:
        pixels = read_grey(root, file) if is_picture(file) else read_dicom_mask(root, file)
        if _is_black_and_white(pixels) and _same_aspect(size[:2], pixels.shape[:2]):  # type: ignore[arg-type]
            found[file] = pixels > pixels.max() / 2
    exact = {file: mask for file, mask in found.items() if mask.shape == size} or found
    if len(exact) != 1:
        raise DataError(
            f"{', '.join(candidates)}: one of them must be a mask, black and white and of the image's "
            f"{size[0]} x {size[1]}, but {len(exact)} are: download the series again"
        )
    ((file, mask),) = exact.items()
    if not mask.any():
        raise DataError(f"{file}: the mask must mark a lesion, but is empty: download it again")
    if mask.shape != size:
        text = (
            f"{file}: the mask has {mask.shape[0]} x {mask.shape[1]} pixels, its image {size[0]} x {size[1]}; resized"
        )
        warnings.warn(text, DataWarning, stacklevel=2)
        mask = _resized(mask, size)
    return mask


def _is_black_and_white(pixels: np.ndarray) -> bool:
    top = int(pixels.max())
    near = (pixels <= NEAR * top) | (pixels >= (1 - NEAR) * top)
    return bool(near.mean() >= BLACK_OR_WHITE)


def _resized(mask: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask at another size: each pixel is that of the mask at the same place, without mixing."""
    rows, cols = (((2 * np.arange(t) + 1) * s) // (2 * t) for s, t in zip(mask.shape, size, strict=True))
    return mask[rows[:, None], cols]


# --- what is said of the whole ---------------------------------------------------------------------------------------


def _remarks(
    kind: str, images: dict[str, list[Lesion]], lesions: list[Lesion], both: set[str], again: int
) -> list[str]:
    told = [f"{again} rows stand in the tables more than once (copies of a table?) and count once"] if again else []
    if (len(images), len(lesions)) != PUBLISHED[kind]:
        published = "{} images, {} lesions".format(*PUBLISHED[kind])
        told.append(f"{len(images)} images, {len(lesions)} lesions in the tables (published: {published})")
    if both:
        told.append(
            f"{len(both)} patients are in the training part of one table and the test part of another; "
            "all of their images are given to the training part"
        )
    return told


def _summary(items: list[Item], images: dict[str, list[Lesion]], skipped: int) -> str:
    own = [lesion for item in items for lesion in images[item.id]]
    parts = [sum(images[item.id][0].split == part for item in items) for part in ("train", "test")]
    return (
        f"{len(items)} images ({parts[0]} train, {parts[1]} test), {len(own)} lesions, "
        f"{len({item.patient for item in items})} patients, {skipped} images left out"
    )
