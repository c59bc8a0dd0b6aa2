"""Where the parts of an INbreast release are: copies have other folder names, other cases and other layers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from massmatch.data.errors import DataError
from massmatch.data.readers.listing import inside, is_data, named, relative

NAME = re.compile(r"(\d{8})_([0-9a-f]{16})_MG_([LR])_(CC|ML|FB)_ANON\.dcm", re.IGNORECASE)
XML = re.compile(r"(\d{8})\.xml", re.IGNORECASE)
FOLDERS = {"alldicoms": "AllDICOMs", "allxml": "AllXML"}
TABLES = ("inbreast.csv", "inbreast.xls")  # in this order: the csv is the simpler
DEPTH = 3  # folders below the source in which AllDICOMs and AllXML are looked for
CLOSED = ("medicalreports", "macosx")  # free text that may name patients; what macOS adds to archives


@dataclass(frozen=True)
class Release:
    """The files of a release by image id, and what is wrong with the others."""

    images: dict[str, Path]
    annotations: dict[str, Path]
    table: Path | None
    left_out: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def find_release(source: Path, *, allow_outside: bool = False) -> Release:
    """The release in the source folder.

    Raises DataError where AllDICOMs or AllXML is missing or there twice, where no name is that of an image, and for
    a folder or table that leads out of the source.
    """
    folders = list(_folders(source))
    dicoms, xmls = (_folder(source, folders, name) for name in FOLDERS)
    table = _table(source, folders, dicoms.parent)
    for path in (dicoms, xmls, table):
        if path is not None:
            inside(source, path.relative_to(source), allow_outside=allow_outside)
    left_out, faults = dict[str, str](), dict[str, str]()
    images = _by_id(source, dicoms, NAME, faults)
    for path in _entries(source, dicoms):
        if not NAME.fullmatch(path.name):
            left_out[relative(source, path)] = "its name is not that of an INbreast image"
    if not images:
        raise DataError(
            f"{relative(source, dicoms)}/: must hold files such as <id>_<patient>_MG_L_CC_ANON.dcm, but holds none "
            f"({named(list(left_out)) or 'it is empty'}): give the folder of the release"
        )
    return Release(images, _by_id(source, xmls, XML, faults), table, left_out, faults)


def _entries(source: Path, folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if is_data(path))
    except OSError as error:
        where = f"{relative(source, folder)}/"
        raise DataError(f"{where}: cannot be listed ({type(error).__name__}): give yourself the right to") from None


def _folders(source: Path, folder: Path | None = None, depth: int = DEPTH) -> Iterator[Path]:
    """The source and the folders below it but CLOSED; one that is a link is named and not looked into."""
    folder = folder or source
    yield folder
    if depth == 0 or (folder.is_symlink() and folder != source):
        return
    for path in _entries(source, folder):
        if path.is_dir() and re.sub(r"[ _]", "", path.name.casefold()) not in CLOSED:
            yield from _folders(source, path, depth - 1)


def _folder(source: Path, folders: list[Path], name: str) -> Path:
    found = [folder for folder in folders if folder.name.casefold() == name]
    if not found:
        raise DataError(
            f"{FOLDERS[name]}/: no such folder within {DEPTH} levels of the source: give the folder of the release"
        )
    if len(found) > 1:
        which = named([relative(source, folder) for folder in found])
        raise DataError(f"{which}: must be one folder, but there are {len(found)}: give the folder of one release")
    return found[0]


def _table(source: Path, folders: list[Path], beside: Path) -> Path | None:
    """The csv, or else the xls: the one beside AllDICOMs, or the only one."""
    files = [path for folder in folders if not folder.is_symlink() for path in _entries(source, folder)]
    for name in TABLES:
        found = [path for path in files if path.name.casefold() == name and (path.is_file() or path.is_symlink())]
        found = [path for path in found if path.parent == beside] or found
        if len(found) > 1:
            which = named([relative(source, path) for path in found])
            raise DataError(f"{which}: must be one table, but there are {len(found)}: keep one")
        if found:
            return found[0]
    return None


def _by_id(source: Path, folder: Path, pattern: re.Pattern[str], faults: dict[str, str]) -> dict[str, Path]:
    """The first file of each id; the others go into `faults`, with the names of both."""
    found: dict[str, Path] = {}
    for path in _entries(source, folder):
        if (match := pattern.fullmatch(path.name)) is None:
            continue
        if (other := found.setdefault(match[1], path)) is not path:
            file = relative(source, path)
            faults[file] = f"{file}: has the id {match[1]}, as has {relative(source, other)}: keep one of them"
    return found
