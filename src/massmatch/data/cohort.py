"""Cohorts: a prepared dataset on disk, as plain files that a person can open.

    images/<id>.png    8 or 16 bit grey
    masks/<id>.png     instance labels, 0 = background
    masks_native/<id>.png   the same in the native frame, where the image was changed
    samples.csv        a row per image
    cohort.json        reader, options, counts, fingerprint, kind of masks, licence line

`open_cohort` reads such a folder, or else any pair of folders `images/` and `masks/` (`open.py`).
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from massmatch.data.errors import DataError
from massmatch.data.images import levels, misfit, read_grey, read_labels
from massmatch.data.preprocessing.breast import chest_side
from massmatch.data.preprocessing.frame import Frame, Preprocessing
from massmatch.data.preprocessing.options import PreprocessingOptions
from massmatch.data.sample import Sample

COLUMNS = ("id", "patient", "side", "view", "density", "spacing_row_mm", "spacing_col_mm", "spacing_source")
PATHS = ("image_path", "mask_path")
UNFINISHED = "UNFINISHED"  # lies in a folder for as long as it is being written
LOOKED_AT = 100  # images, spread over the cohort, on which the chest wall is looked for: 20 ms each
ONE_WAY = 0.95  # share of the images whose chest wall lies on one side, from which a cohort is said to lie that way


@dataclass(frozen=True, eq=False)
class Cohort:
    """A folder of mammograms with masks. `table` has a row per image, with `image_path` and `mask_path` in `root`."""

    root: Path
    table: pd.DataFrame
    # "instances": labels; "binary": the 8-connected components are the masses; "labels" (of folders that are not
    # prepared): masks of several values are labels, those of one value are cut into components, as `prepare` does it
    masks: str
    licence: str
    preprocessing: Preprocessing | None = None  # None: whatever was done to the images, massmatch did not do it

    def __len__(self) -> int:
        return len(self.table)

    @property
    def name(self) -> str:
        """The name of the cohort's folder."""
        return self.root.resolve().name

    @property
    def ids(self) -> list[str]:
        """The ids of all images, in the order of the table."""
        return self.table["id"].tolist()

    @cached_property
    def _rows(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: {str(k): v for k, v in row.items()} for row in self.table.to_dict("records")}

    def load(self, id: str) -> Sample:
        """One image with its masses. KeyError for an unknown id, DataError for files that do not fit."""
        row = self._rows[id]
        image, mask = read_grey(self.root, row["image_path"]), read_labels(self.root, row["mask_path"])
        if image.shape != mask.shape:
            raise DataError(f"{row['mask_path']}: {misfit(image.shape, mask.shape)}")
        known = {name: None if pd.isna(value) else value for name, value in row.items()}
        spacing = (known.get("spacing_row_mm"), known.get("spacing_col_mm"))
        has_own_field = {*COLUMNS, *PATHS} - {"spacing_source"}
        return Sample(
            id=id,
            patient=row["patient"],
            image=image,
            instances=self._instances(mask, row["mask_path"]),
            side=known.get("side"),
            view=known.get("view"),
            density=None if (density := known.get("density")) is None else int(density),
            spacing_mm=None if None in spacing else (float(spacing[0]), float(spacing[1])),  # type: ignore[arg-type]
            facts={name: value for name, value in known.items() if name not in has_own_field},
        )

    @property
    def normalise(self) -> str:
        """How images are scaled on their way into a network."""
        return "min-max" if self.preprocessing is None else self.preprocessing.normalise

    def frame(self, id: str) -> Frame | None:
        """Where the pixels of a prepared image came from; None in a cohort that `prepare` did not write."""
        row = self._rows[id]
        if self.preprocessing is None:
            return None
        with Image.open(self.root / row["mask_path"]) as mask:
            return Frame.from_facts(row, (mask.height, mask.width))

    def native_frame(self, id: str) -> Frame:
        """`frame`, where `native_instances` are its masks. DataError where they are not known."""
        frame, path = self.frame(id), f"masks_native/{id}.png"
        if frame is None:
            raise DataError(
                f"masks_native/: {self.name} was not written by `massmatch prepare`, so its images are known in "
                "one frame only: measure them in the prepared frame"
            )
        if not frame.is_whole and not (self.root / path).is_file():
            raise DataError(f"{path}: is missing, so there is no truth in the native frame: prepare the cohort again")
        return frame

    def native_instances(self, id: str) -> np.ndarray:
        """(H, W) labels as `load` gives them, in the native frame: as they were before the image was prepared."""
        path = f"masks_native/{id}.png"
        return read_labels(self.root, path) if (self.root / path).is_file() else self.load(id).instances

    def _instances(self, mask: np.ndarray, path: str) -> np.ndarray:
        if self.masks == "instances" or (len(values := levels(mask)) > 1 and self.masks == "labels"):
            return mask
        if len(values) > 1:
            raise DataError(
                f"{path}: the cohort's masks hold 0 and one other value, but this one {[0, *values.tolist()][:6]}: "
                "threshold it at half range"
            )
        labels, count = ndimage.label(mask > 0, np.ones((3, 3)))
        if count > np.iinfo(np.uint16).max:
            raise DataError(f"{path}: must hold at most 65535 masses, but holds {count} separate specks: clean it")
        return labels.astype(np.uint8 if count < 256 else np.uint16)

    @cached_property
    def mass_fraction(self) -> pd.Series:
        """Mass pixels / image pixels, by id; reads every mask once."""
        masks = (read_labels(self.root, path) for path in self.table["mask_path"])
        return pd.Series([float((mask > 0).mean()) for mask in masks], index=self.table["id"])

    @cached_property
    def orientation(self) -> str:
        """The side on which the images show the chest wall, "left" or "right", or else "mixed".

        It is "left" or "right" where at least 95 % of the images show it there: it is found by looking, which errs on
        a few. `prepare` writes what it saw into the column `chest_side`; without that column up to 100 images, evenly
        spread over the table, are read.
        """
        if "chest_side" in self.table and self.table["chest_side"].isin(["left", "right"]).all():
            sides = self.table["chest_side"]
        else:
            paths = self.table["image_path"].iloc[:: -(-len(self) // LOOKED_AT)]
            sides = pd.Series([chest_side(read_grey(self.root, path)) for path in paths])
        shares = sides.value_counts(normalize=True)
        return str(shares.index[0]) if shares.iloc[0] >= ONE_WAY else "mixed"

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over ids, the bytes of all images and masks, and how images are scaled on their way into a
        network, where it is not the default: changes when what is learned from does.
        """
        digest = hashlib.sha256(b"" if self.normalise == PreprocessingOptions.normalise else self.normalise.encode())
        if self.masks == "labels":  # an earlier version took a mask of one value for one mass
            digest.update(b"labels")
        for row in self.table.to_dict("records"):
            digest.update(row["id"].encode())
            for path in (row["image_path"], row["mask_path"]):
                digest.update(hashlib.sha256((self.root / path).read_bytes()).digest())
        return digest.hexdigest()[:16]
