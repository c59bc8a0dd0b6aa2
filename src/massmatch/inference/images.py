"""The mammograms that are to be segmented: which files they are, what their results are called, what is in them."""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from massmatch.data.dicom import Mammogram, is_dicom, read_dicom
from massmatch.data.errors import DataError, DataWarning, named
from massmatch.data.images import DICOM_ENDINGS, IMAGE_ENDINGS, read_grey
from massmatch.data.open import read_json
from massmatch.data.readers.folder import SUFFIX
from massmatch.data.readers.listing import is_data, relative
from massmatch.errors import UsageError

DIGITS = 12  # of a SHA-256 in hex, which stand for a UID: among a million images two agree with a chance of 0.2 %
MORE_ENDINGS = (".bmp", ".gif", ".webp", ".jp2", ".tga", ".pgm", ".dcm.gz")  # tried, or told that they are not read
ENDINGS = ("_mask.png", "_contour.png", "_probability.png", "_findings.json", ".seg.nrrd", "_sr.dcm", "_seg.dcm")
INDEXES = ("index.csv", "index.partial.csv")  # by which the folder of a batch is known
MASKS = {"mask", "masks", "masks_native", "label", "labels", "labelstr", "labelsts"}  # folders, in small letters
LONGEST_NAME, ROOM = 255, len("_probability.png")  # bytes of a file's name, and of the longest ending of a result


@dataclass(frozen=True)
class ImageFile:
    """One image file of a batch, with the path from the folder that was given."""

    root: Path  # the folder that was given, or the deepest one that holds all that was given
    source: str  # the path from root, with forward slashes
    id: str  # what its results are called, also with a path from their root

    @property
    def path(self) -> Path:
        """The path at which the file can be opened."""
        return self.root / self.source

    @property
    def key(self) -> str:
        """12 hex digits that stand for the whole path, by which a later batch knows the file."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:DIGITS]


def image_files(given: Sequence[Path], *, out: Path | None = None) -> list[ImageFile]:
    """Files as they are given, and of folders all images and DICOM files below them; each file once, in order.

    The id is the path without its ending; files that differ in their ending only keep it. What lies in `out`, where
    results are written, is no input.

    Raises UsageError for what is not there and for a folder in `out`, DataError for a folder without images.
    """
    paths: dict[Path, None] = {}
    for one in given:
        paths |= dict.fromkeys(_below(_absolute(one), out))
    folders = [_absolute(one) for one in given]
    root = Path(os.path.commonpath([one if one.is_dir() else one.parent for one in folders]))
    sources = [relative(root, path) for path in paths]
    stems = Counter(_stem(source) for source in sources)
    return [ImageFile(root, name, name if stems[_stem(name)] > 1 else _stem(name)) for name in sources]


def _absolute(path: Path) -> Path:
    """The path from the root of the file system without "..", links not followed: they are the user's own names."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _below(path: Path, out: Path | None) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"no such image: {path}")
    results = None if out is None else _absolute(out)
    if results in (path, *path.parents):
        raise UsageError(f"--out: must not hold the images, but {out} holds {path}: give another folder for results")
    files = [file for file in _all_below(path) if (file.is_file() or file.is_symlink()) and is_data(file)]
    files = [file for file in files if results is None or results not in file.parents]
    made = _earlier_results(files)
    if made:
        which = named([relative(path, file) for file in made])
        warnings.warn(f"results of an earlier batch, no mammograms, are left out: {which}", DataWarning, stacklevel=3)
    found = [file for file in files if file not in made and _is_image(file)]
    if not found:
        raise DataError(f"{path.name}: must hold images, but has none: give another folder")
    _refuse_masks(path, found)
    return found


def _earlier_results(files: Sequence[Path]) -> set[Path]:
    """Pictures and objects, by their names, at or below the index of an earlier batch; images may lie beside them."""
    folders = {file.parent for file in files if file.name in INDEXES and file.is_file() and _is_index(file)}
    return {file for file in files if file.name.endswith(ENDINGS) and not folders.isdisjoint(file.parents)}


def _is_index(file: Path) -> bool:
    """Whether a file is the index of a batch."""
    with file.open("rb") as table:
        return table.readline().startswith(b"source,id,series,")


def _refuse_masks(folder: Path, files: Sequence[Path]) -> None:
    """UsageError for a dataset with its masks, in which a network would look for masses as in mammograms."""
    stems = {file.with_suffix("") for file in files}
    for file in files:
        beside = SUFFIX.fullmatch(file.stem)
        of_image = beside is not None and file.with_name(beside["stem"]) in stems
        if of_image or not MASKS.isdisjoint(part.casefold() for part in file.relative_to(folder).parts[:-1]):
            raise UsageError(
                f"{folder}: must hold mammograms alone, but {relative(folder, file)} is a mask by its name: give the "
                "folder of the images, or their files"
            )


def _all_below(folder: Path) -> list[Path]:
    """All that is below a folder. OSError for one that cannot be read: its images would be left out in silence."""

    def refuse(error: OSError) -> None:
        raise error

    found = os.walk(folder, onerror=refuse)
    return sorted(Path(at, name) for at, folders, files in found for name in (*folders, *files))


def _is_image(path: Path) -> bool:
    """Whether a file is to be read, or is told when its turn comes: a link that leads to none, an image of a kind that
    is not read.
    """
    name = path.name.lower()
    if not path.is_file():
        return path.is_dir() or name.endswith((*IMAGE_ENDINGS, *DICOM_ENDINGS))
    if name == "dicomdir":  # a table of contents, as archives write it beside their images
        return False
    return name.endswith((*IMAGE_ENDINGS, *MORE_ENDINGS)) or is_dicom(path)


def _stem(source: str) -> str:
    return source.removesuffix(Path(source).suffix)


def spelt(name: str) -> str:
    r"""A file's name as text that can be written; bytes that are no UTF-8 are spelt out, as in `caf\udce9.png`."""
    return name.encode("utf-8", "backslashreplace").decode()


def tell_of_cohorts(files: Sequence[ImageFile]) -> None:
    """Warn of images of cohorts, which are prepared, for a network whose images are prepared before they reach it."""
    for cohort in sorted({file.path.parent.parent for file in files if file.path.parent.name == "images"}):
        if not (cohort / "cohort.json").is_file() or "preprocessing" not in read_json(cohort):
            continue
        text = (
            f"{cohort}: its images are prepared already, and prepared once more here, as the network's were: give the "
            "images that it was made from; what the network finds in a cohort, `massmatch evaluate` measures"
        )
        warnings.warn(text, DataWarning, stacklevel=3)


def has_room(id: str) -> bool:
    """Whether results can be called after this id: a name with the longest ending must fit into a file system."""
    return len(Path(id).name.encode(errors="replace")) + ROOM <= LONGEST_NAME


def digest(uid: str) -> str:
    """12 hex digits that stand for a UID, by which results are named so that nothing from the header gets out."""
    return hashlib.sha256(uid.encode()).hexdigest()[:DIGITS]


def read_image(
    file: ImageFile, *, keep_name: bool = False, allow_for_processing: bool = False, modality: str = "MG"
) -> tuple[str, Mammogram]:
    """The id of the result, and the mammogram: a DICOM file, or a grey PNG, TIFF or JPEG.

    A DICOM file's name may hold the patient's name: its id is a digest of the SOP Instance UID, or else of
    its path, unless `keep_name`.

    Raises DataError for a file that is no grey mammogram, and for one in which all pixels are alike.
    """
    if (name := spelt(file.source)) != file.source:
        raise DataError(f"{name}: must have a name in UTF-8, by which results can be called: rename the file")
    if file.path.is_dir():
        raise DataError(f"{file.source}: is a link to a folder, which is not followed: give that folder itself")
    if not file.path.is_file():
        what = "is a link to nothing" if file.path.is_symlink() else "is no longer there"
        raise DataError(f"{file.source}: {what}: restore it, or leave it out")
    if name.lower().endswith(".gz"):
        raise DataError(f"{name}: is compressed: unpack it")
    if not has_room(file.id) and (keep_name or not is_dicom(file.path)):
        raise DataError(f"{name}: its name is so long that results cannot be called after it: rename the file")
    if not is_dicom(file.path):
        pixels = read_grey(file.root, file.source)
        id, found = file.id, Mammogram(pixels, None, "none", None, None, None, patient="", instance="", series="")
    else:
        found = read_dicom(file.root, file.source, allow_for_processing=allow_for_processing, modality=modality)
        id = file.id if keep_name else digest(found.instance or file.source)
    if found.pixels.min() == found.pixels.max():
        raise DataError(f"{file.source}: must show a breast, but all its pixels have one grey level: export it again")
    return id, found
