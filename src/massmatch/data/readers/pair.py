"""One image with the files of its masses, as a sample: read in the worker, after a reader has listed the files."""

import warnings
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from massmatch.data.cohort import COLUMNS
from massmatch.data.dicom import read_dicom, read_dicom_mask
from massmatch.data.errors import DataError, DataWarning
from massmatch.data.images import DICOM_ENDINGS, misfit, read_grey, read_labels
from massmatch.data.masks import merged, to_instances
from massmatch.data.sample import Sample

Take = Callable[[np.ndarray, str], np.ndarray]


def read_pair(
    root: Path,
    id: str,
    patient: str,
    image: str,
    masks: list[str],
    known: dict[str, Any],
    how: dict[str, Any],
    take: Take = to_instances,
) -> Sample:
    """Read one image with its masks; DataError and DataWarning name the file.

    `how` holds further arguments of `read_dicom`; `take(pixels, path)` makes an (H, W) map of masses of a mask file.
    """
    facts = dict(known)
    side, view, density = (facts.pop(name, None) for name in ("side", "view", "density"))
    row, col = (facts.pop(name, None) for name in ("spacing_row_mm", "spacing_col_mm"))
    spacing = None if row is None else (float(row), float(col))
    source = "csv" if spacing else "none"
    if image.lower().endswith(DICOM_ENDINGS):
        found = read_dicom(root, image, **how)
        said = (("side", side, found.side), ("view", view, found.view), ("spacing", spacing, found.spacing_mm))
        for what, ours, header in said:
            if ours is not None and header is not None and not _are_alike(ours, header):
                text = f"{image}: the header's {what} is {_text(header)}, that of the csv {_text(ours)}; the csv counts"
                warnings.warn(text, DataWarning, stacklevel=2)
        pixels, side, view = found.pixels, side or found.side, view or found.view
        if spacing is None:
            spacing, source = found.spacing_mm, found.spacing_source
    else:
        pixels = read_grey(root, image)
    parts = [_masses(root, mask, pixels.shape, how, take) for mask in masks]
    _warn_of_one_mass_twice(dict(zip(masks, parts, strict=True)))
    return Sample(
        id=id,
        patient=patient,
        image=pixels,
        instances=merged(parts),
        side=side,
        view=view,
        density=None if density is None else int(density),
        spacing_mm=spacing,
        facts={"spacing_source": source, **{k: v for k, v in facts.items() if k not in COLUMNS}},
    )


def _are_alike(ours: Any, header: Any) -> bool:
    """Whether csv and header say the same: of a spacing, up to a rounding of 1 %."""
    return ours == header or (isinstance(ours, tuple) and np.allclose(ours, header, rtol=0.01, atol=0))


def _text(value: Any) -> str:
    return f"{value[0]:g} x {value[1]:g} mm" if isinstance(value, tuple) else str(value)


def _warn_of_one_mass_twice(parts: dict[str, np.ndarray]) -> None:
    """DataWarning for two files that share most of the smaller one: perhaps two people drew one mass."""
    for (one, first), (other, second) in combinations(parts.items(), 2):
        shared = int(((first > 0) & (second > 0)).sum())
        if 2 * shared > min(int((first > 0).sum()), int((second > 0).sum())) > 0:
            warnings.warn(
                f"{other}: shares {shared} pixels with {one}, most of the smaller one: each counts as a mass of its "
                "own, the later one where they overlap; keep one of them if two people drew the same mass",
                DataWarning,
                stacklevel=3,
            )


def _masses(root: Path, mask: str, shape: tuple[int, ...], how: dict[str, Any], take: Take) -> np.ndarray:
    pixels = read_dicom_mask(root, mask, **how) if mask.lower().endswith(DICOM_ENDINGS) else read_labels(root, mask)
    if pixels.shape != shape:
        raise DataError(f"{mask}: {misfit(shape, pixels.shape)}")
    return take(pixels, mask)
