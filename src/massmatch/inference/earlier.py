"""The tables of a batch, and what an earlier batch left in the folder of results."""

import csv
from collections.abc import Sequence
from pathlib import Path

from massmatch.data.errors import named
from massmatch.errors import UsageError
from massmatch.inference.images import ENDINGS, ImageFile, has_room, spelt

INDEX = (
    *("source", "id", "series", "side", "view", "findings", "outside_breast", "left_out", "area_px", "error"),
    "path_sha256",  # 12 digits of it, by which a later batch knows the file, whatever folder it was given with
)
FINDING = (
    *("id", "side", "view", "finding", "area_px", "area_mm2", "box_row", "box_col", "box_rows", "box_cols"),
    *("centroid_row", "centroid_col", "longest_axis_px", "longest_axis_mm"),
    *("mean_probability", "highest_probability", "inside_breast", "weights"),
)
TABLES = {"index.csv": INDEX, "findings.csv": FINDING}


def refuse_foreign(files: Sequence[ImageFile], out: Path) -> None:
    """UsageError where a result would replace a file that no earlier batch wrote: the true mask of an image, say."""
    tables = {path: columns for name, columns in TABLES.items() for path in (out / name, partial(out / name))}
    ours = [path for path, columns in tables.items() if _begins_as(path, columns)]
    strange = [path for path in tables if path not in ours and path.exists()]
    if not ours:
        stems = [out / file.id for file in files if has_room(file.id)]
        strange += [path for stem in stems for ending in ENDINGS if (path := Path(f"{stem}{ending}")).exists()]
    if strange:
        raise UsageError(
            f"--out: {strange[0]} is there, and no earlier batch wrote it: give another folder for results"
        )


def earlier_ids(files: Sequence[ImageFile], out: Path) -> dict[str, str]:
    """What an earlier batch, one that was stopped too, called its results, by path_sha256, or by source without it.

    Raises UsageError where it holds results of images that are not among the files: no index would name them any more.
    """
    ids: dict[str, str] = {}
    sources: dict[str, str] = {}
    for path in (out / "index.csv", partial(out / "index.csv")):
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace", newline="") as table:
                for row in csv.DictReader(table):
                    if row["id"]:
                        key = row.get("path_sha256") or row["source"]
                        ids[key], sources[key] = row["id"], row["source"]
    if others := ids.keys() - {key for file in files for key in (file.key, spelt(file.source))}:
        raise UsageError(
            f"--out: {out} holds results of images that are not among these {len(files)} "
            f"({named([sources[key] for key in others])}): give another folder, or these images too (if they were "
            "moved since, remove their results)"
        )
    return ids


def partial(table: Path) -> Path:
    """What a table is called until its batch is done."""
    return table.with_suffix(f".partial{table.suffix}")


def _begins_as(path: Path, columns: Sequence[str]) -> bool:
    """Whether a file is a table of ours: of this version, of an earlier one with fewer columns, or just begun."""
    if not path.is_file():
        return False
    with path.open("rb") as table:
        head = table.readline()
    return not head or head.startswith(",".join(columns[:2]).encode())
