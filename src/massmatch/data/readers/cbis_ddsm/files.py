"""Where the files of a series of CBIS-DDSM are: names on disk differ with the program that downloaded them."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from massmatch.data.dicom import is_dicom, read_header
from massmatch.data.errors import DataError
from massmatch.data.images import read_size
from massmatch.data.readers.listing import is_data, relative

UID = re.compile(r"[0-9]+(\.[0-9]+){5,}")
PICTURES = (".jpg", ".jpeg", ".png")
DEPTH = 3  # folders below the source in which tables are looked for


class Series:
    """The files of each series: by a folder named after its UID, by NBIA's metadata.csv, or by the headers."""

    def __init__(self, source: Path) -> None:
        self.source = source
        folders = [source, *_folders(source)]
        self.tables = [
            path
            for folder in folders
            if len(folder.relative_to(source).parts) <= DEPTH
            for path in sorted(folder.glob("*.[cC][sS][vV]"))
            if is_data(path)
        ]
        self._by_uid = {folder.name: folder for folder in folders if UID.fullmatch(folder.name)}
        self._by_uid |= self._from_metadata()
        self._by_header: dict[str, list[Path]] | None = None

    def _from_metadata(self) -> dict[str, Path]:
        """Folders by NBIA's table, whose paths may be a Windows machine's."""
        found = {}
        for table in (path for path in self.tables if path.name.lower() == "metadata.csv"):
            with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
                for row in csv.DictReader(file):
                    cells = {(name or "").strip().lower(): (value or "") for name, value in row.items() if name}
                    location = cells.get("file location", "").strip().replace("\\", "/").removeprefix("./")
                    if (uid := cells.get("series uid", "").strip()) and location:
                        found[uid] = table.parent / location
        return found

    def files(self, uid: str) -> list[Path]:
        """The images of a series in the order of their names; none if it is not there."""
        folder = self._by_uid.get(uid)
        if folder is not None and folder.is_dir() and (found := [p for p in sorted(folder.iterdir()) if _is_image(p)]):
            return found
        if self._by_header is None:
            self._by_header = self._index()
        return self._by_header.get(uid, [])

    def _index(self) -> dict[str, list[Path]]:
        """By the UID in the header of every DICOM file, each read once."""
        found: dict[str, list[Path]] = {}
        for folder in (self.source, *_folders(self.source)):
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() == ".dcm" and is_data(path):
                    try:
                        header = read_header(self.source, relative(self.source, path), pixels=False)
                    except DataError:
                        continue  # a damaged file belongs to no series: that series will be told as missing
                    found.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(path)
        return found


def _folders(root: Path) -> Iterator[Path]:
    """All folders below; links are not followed."""
    for path in sorted(root.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield path
            yield from _folders(path)


def _is_image(path: Path) -> bool:
    return path.is_file() and is_data(path) and (path.suffix.lower() in PICTURES or is_dicom(path))


def shape(source: Path, path: Path) -> tuple[int, int]:
    """Rows and columns, without the pixels. DataError for what is no image."""
    file = relative(source, path)
    if path.suffix.lower() not in PICTURES:
        header = read_header(source, file, pixels=False)
        return int(header.get("Rows", 0) or 0), int(header.get("Columns", 0) or 0)
    return read_size(source, file)
