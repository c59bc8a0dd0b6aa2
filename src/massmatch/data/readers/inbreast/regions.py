"""The outlines of INbreast: property lists that OsiriX wrote, one per annotated image."""

import plistlib
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from massmatch.data.errors import DataError, DataWarning
from massmatch.data.readers.inbreast.polygon import area, filled

NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
POINT = re.compile(rf"\s*[({{]\s*({NUMBER})\s*,\s*({NUMBER})\s*(?:,\s*{NUMBER}\s*)?[)}}]\s*")
MASS = ("mass", "masses")
LARGEST_XML = 16 * 2**20  # bytes; real ones have 15 to 115 kB
LEAST_AREA = 1.0  # px2: less is a click, no outline
FURTHEST = 1e6  # pixels from the first one; 1e999 is infinite
MOST_LOST = 0.5  # share of a mass off its image: more means swapped axes or another image
AREA_AGREES = 0.05  # relative


@dataclass(frozen=True)
class Region:
    """One region of interest of an annotation file."""

    name: str  # lower case, single blanks
    points: NDArray[np.float64]  # (n, 2): column, row in pixels
    area_cm2: float | None
    counted: int | None  # the points that the file says there are


def read_regions(root: Path, file: str) -> list[Region]:
    """All regions of one annotation. DataError for what is no such property list."""
    try:
        size = (root / file).stat().st_size
        data = b"" if size > LARGEST_XML else (root / file).read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({type(error).__name__}): restore the file") from None
    if size > LARGEST_XML:
        raise DataError(f"{file}: must have at most {LARGEST_XML // 2**20} MB, but has {size / 2**20:.0f}: replace it")
    try:
        content = plistlib.loads(data, fmt=plistlib.FMT_XML)
    except Exception as error:  # it raises many kinds; entity declarations are among what it refuses
        raise DataError(f"{file}: is no XML property list ({type(error).__name__}): replace it") from None
    if not isinstance(content, dict) or not isinstance(content.get("Images"), list):
        raise DataError(f"{file}: must be a property list with Images, but is another one: replace it")
    return [_region(roi, file) for image in content["Images"] for roi in _rois(image, file)]


def _rois(image: Any, file: str) -> list[Any]:
    rois = image.get("ROIs") if isinstance(image, dict) else None
    if not isinstance(rois, list) or not all(isinstance(roi, dict) for roi in rois):
        raise DataError(f"{file}: each of its Images must have ROIs: replace it")
    return rois


def _region(roi: dict[str, Any], file: str) -> Region:
    name = " ".join(str(roi.get("Name", "")).split()).casefold()
    texts = roi.get("Point_px", []) if name in MASS else []
    if not isinstance(texts, list):
        raise DataError(f"{file}: Point_px of {name!r} must be a list of points, but is none: mend it")
    points = [_point(text, file, name) for text in texts]
    area_cm2, counted = roi.get("Area"), roi.get("NumberOfPoints")
    return Region(
        name,
        np.array(points, np.float64).reshape(-1, 2),
        area_cm2 if isinstance(area_cm2, float) else None,
        counted if isinstance(counted, int) else None,
    )


def _point(text: Any, file: str, name: str) -> tuple[float, float]:
    match = POINT.fullmatch(str(text))
    column, row = (float(match[1]), float(match[2])) if match else (np.inf, np.inf)
    if max(abs(column), abs(row)) > FURTHEST:
        raise DataError(f"{file}: points of {name!r} must be (column, row), but one is {str(text)[:40]!r}: mend it")
    return column, row


def is_outline(region: Region) -> bool:
    """Whether a region encloses something."""
    return len(region.points) >= 3 and area(region.points) >= LEAST_AREA


def masses(regions: Iterable[Region], shape: tuple[int, int], file: str) -> list[NDArray[np.bool_]]:
    """(H, W) bool per mass. Warns of dropped, doubled, clipped and miscounted outlines; DataError for one outside."""
    found: list[NDArray[np.bool_]] = []
    for number, region in enumerate((r for r in regions if r.name in MASS), start=1):
        count = len(region.points)
        if region.counted is not None and region.counted != count:
            _warn(
                f"{file}: mass {number} has {count} points, not the {region.counted} of NumberOfPoints; they are used"
            )
        if not is_outline(region):
            _warn(f"{file}: mass {number} has {count} points and encloses less than {LEAST_AREA:.0f} pixel; left out")
            continue
        mask, lost = filled(region.points, shape)
        if lost > MOST_LOST:
            raise DataError(
                f"{file}: {100 * lost:.0f} % of mass {number} lies outside of its image of {shape[0]} rows and "
                f"{shape[1]} columns (swapped axes, or the annotation of another image?): mend or replace it"
            )
        if lost > 0:
            _warn(f"{file}: {100 * lost:.1f} % of mass {number} lies outside of the image and is cut off")
        if not mask.any():
            _warn(f"{file}: mass {number} encloses no pixel's centre; left out")
        elif any(np.array_equal(mask, other) for other in found):
            _warn(f"{file}: mass {number} is the same as one before; left out")
        else:
            found.append(mask)
    return found


def check_areas(regions: Iterable[Region], spacing: tuple[float, float], file: str) -> None:
    """Warn DataWarning where the outlines' areas and those that the file gives disagree in the median."""
    known = [r for r in regions if r.name in MASS and is_outline(r) and r.area_cm2]
    ratios = [area(r.points) * spacing[0] * spacing[1] / 100 / r.area_cm2 for r in known if r.area_cm2]
    if ratios and not abs(float(np.median(ratios)) - 1) <= AREA_AGREES:
        _warn(
            f"{file}: outlines enclose {np.median(ratios):.2f} times the Area that the file gives: "
            f"check spacing ({spacing[0]:g} x {spacing[1]:g} mm) and axes"
        )


def _warn(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=3)
