"""Cohorts: a prepared dataset on disk, as plain files that a person can open.

    images/<id>.png    8 or 16 bit grey
    masks/<id>.png     instance labels, 0 = background
    samples.csv        a row per image
    cohort.json        reader, options, counts, fingerprint, kind of masks, licence line

`open_cohort` reads such a folder, or else any pair of folders `images/` and `masks/` (`folder.py`).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from massmatch.data.sample import Sample

COLUMNS = ("id", "patient", "side", "view", "density", "spacing_row_mm", "spacing_col_mm", "spacing_source")
COLUMNS_NATIVE = ("native_rows", "native_cols")


class CohortError(ValueError):
    """The data are not as they must be; the message begins with the file, relative to the cohort's folder."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """A folder of mammograms with masks. `table` has a row per image, with `image_path` and `mask_path` in `root`."""

    root: Path
    table: pd.DataFrame
    masks: str  # "instances": labels; "binary": the 8-connected components are the masses
    licence: str

    def __len__(self) -> int:
        return len(self.table)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.root.resolve().name

    @property
    def ids(self) -> list[str]:
        """Of all images, in order."""
        return self.table["id"].tolist()

    @cached_property
    def _rows(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: {str(k): v for k, v in row.items()} for row in self.table.to_dict("records")}

    def load(self, id: str) -> Sample:
        """One image with its masses. KeyError for an unknown id, CohortError for files that do not fit."""
        row = self._rows[id]
        image = read_grey(self.root, row["image_path"])
        mask = read_grey(self.root, row["mask_path"])
        if image.shape != mask.shape:
            raise CohortError(
                f"{row['mask_path']}: the mask must have the size of its image, {image.shape}, but has {mask.shape}"
            )
        known = {name: None if pd.isna(value) else value for name, value in row.items()}
        spacing = (known.get("spacing_row_mm"), known.get("spacing_col_mm"))
        return Sample(
            id=id,
            patient=row["patient"],
            image=image,
            instances=self._instances(mask, row["mask_path"]),
            side=known.get("side"),
            view=known.get("view"),
            density=None if (density := known.get("density")) is None else int(density),
            spacing_mm=None if None in spacing else (float(spacing[0]), float(spacing[1])),  # type: ignore[arg-type]
            facts={name: value for name, value in known.items() if name not in (*COLUMNS, "image_path", "mask_path")},
        )

    def _instances(self, mask: np.ndarray, path: str) -> np.ndarray:
        if self.masks == "instances":
            return mask
        if len(values := np.unique(mask[mask > 0])) > 1:
            raise CohortError(
                f"{path}: the cohort's masks hold 0 and one other value, but this one {[0, *values.tolist()][:6]}: "
                "threshold it at half range"
            )
        labels, count = ndimage.label(mask > 0, np.ones((3, 3)))
        return labels.astype(np.uint8 if count < 256 else np.uint16)

    @cached_property
    def mass_fraction(self) -> pd.Series:
        """Mass pixels / image pixels, by id."""
        masks = (read_grey(self.root, path) for path in self.table["mask_path"])
        return pd.Series([float((mask > 0).mean()) for mask in masks], index=self.table["id"])

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over ids and the bytes of all images and masks: changes when the data do."""
        digest = hashlib.sha256()
        for row in self.table.to_dict("records"):
            digest.update(row["id"].encode())
            for path in (row["image_path"], row["mask_path"]):
                digest.update(hashlib.sha256((self.root / path).read_bytes()).digest())
        return digest.hexdigest()[:16]


def read_grey(root: Path, path: str) -> np.ndarray:
    """(H, W) uint8 or uint16 pixels. CohortError for what is no image, in colour, or of other bits."""
    try:
        with Image.open(root / path) as image:
            pixels = np.asarray(image.convert("L") if image.mode in ("P", "1", "LA") else image)
    except (OSError, SyntaxError) as error:
        raise CohortError(f"{path}: cannot be read as an image ({type(error).__name__}): replace the file") from None
    if pixels.ndim == 3:
        if not (pixels[..., :3] == pixels[..., :1]).all():
            raise CohortError(f"{path}: must be grey, but is in colour: convert it")
        pixels = pixels[..., 0]
    if pixels.dtype in (np.int32, np.uint32) and pixels.min() >= 0 and pixels.max() < 65536:
        pixels = pixels.astype(np.uint16)  # how Pillow opens some 16-bit files
    if pixels.dtype not in (np.uint8, np.uint16):
        raise CohortError(f"{path}: must have 8 or 16 bits, but has {pixels.dtype}")
    return pixels


def open_cohort(path: Path | str) -> Cohort:
    """The cohort in a folder.

    Raises FileNotFoundError for a missing folder, CohortError for one that is not as described above.
    """
    from massmatch.data.folder import read_folder  # it needs the Cohort of this module

    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"no such folder: {root}")
    if not (root / "cohort.json").is_file():
        return read_folder(root)
    facts = json.loads((root / "cohort.json").read_text())
    table = pd.read_csv(root / "samples.csv", dtype={"id": "string", "patient": "string"})
    table = table.astype({"id": object, "patient": object})
    table["image_path"] = "images/" + table["id"] + ".png"
    table["mask_path"] = "masks/" + table["id"] + ".png"
    if len(table) != facts["images"]:
        raise CohortError(f"samples.csv: must have the {facts['images']} rows of cohort.json, but has {len(table)}")
    return Cohort(root, table, facts["masks"], facts["licence"])


def write_cohort(
    samples: Iterable[Sample], out: Path | str, *, reader: str, options: dict[str, Any], licence: str
) -> Cohort:
    """Write samples as a cohort and open it; one that is already there from the same reader and options is kept.

    All is written into a folder beside `out` that takes its name at the end, so that nothing half-written looks
    whole. Raises FileExistsError if `out` holds something else.
    """
    out = Path(out)
    if (out / "cohort.json").is_file():
        there = json.loads((out / "cohort.json").read_text())
        if (there["reader"], there["options"]) == (reader, json.loads(json.dumps(options))):
            return open_cohort(out)
        raise FileExistsError(
            f"{out} holds a cohort of reader {there['reader']!r} with {there['options']}: "
            "remove it or choose another folder"
        )
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty and no cohort: choose another folder")
    part = out.with_name(f"{out.name}.part{os.getpid()}")
    try:
        for folder in ("images", "masks"):
            (part / folder).mkdir(parents=True)
        rows = [_write_sample(part, sample) for sample in samples]
        pd.DataFrame(rows).to_csv(part / "samples.csv", index=False)
        counts = {"images": len(rows), "patients": len({row["patient"] for row in rows})}
        facts = {"reader": reader, "options": options, **counts, "masks": "instances", "licence": licence}
        (part / "cohort.json").write_text(json.dumps(facts, indent=1))
        facts["fingerprint"] = open_cohort(part).fingerprint
        (part / "cohort.json").write_text(json.dumps(facts, indent=1))
        if out.exists():
            out.rmdir()
        part.rename(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return open_cohort(out)


def _write_sample(root: Path, sample: Sample) -> dict[str, Any]:
    """Write one image and its mask; its row of samples.csv."""
    if Path(sample.id).name != sample.id:
        raise ValueError(f"an id must be usable as a file name, but is {sample.id!r}")
    Image.fromarray(sample.image).save(root / "images" / f"{sample.id}.png")
    Image.fromarray(sample.instances).save(root / "masks" / f"{sample.id}.png")
    row, col = sample.spacing_mm or (None, None)
    rows, cols = sample.image.shape
    values = (sample.id, sample.patient, sample.side, sample.view, sample.density, row, col, None, rows, cols)
    known = dict(zip((*COLUMNS, *COLUMNS_NATIVE), values, strict=True))
    return {**known, "spacing_source": "none" if row is None else "reader", **sample.facts}
