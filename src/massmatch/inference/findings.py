"""Findings: the single masses of a prediction, with their place, size and probability."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from massmatch.data.dicom import Mammogram
from massmatch.data.preprocessing.breast import breast
from massmatch.inference.algorithm import UNKNOWN, Algorithm
from massmatch.inference.contours import contours
from massmatch.inference.least_area import LeastArea

USE = "for research, not for diagnosis"
INSIDE = 0.5  # share of a finding's pixels in the breast from which it counts as inside: the skin line is coarse

Point = tuple[float, float]  # row, column; (0, 0) is the centre of the first stored pixel


@dataclass(frozen=True, eq=False)
class Prediction:
    """One image and where a network sees mass on it, in the frame of the stored pixels."""

    id: str
    image: Mammogram
    probability: np.ndarray  # (H, W) float32
    threshold: float
    least_area: LeastArea | None = None  # of a finding; DataError in mm2 where the image has no spacing
    algorithm: Algorithm = UNKNOWN

    @cached_property
    def mask(self) -> np.ndarray:
        """(H, W) bool: where the probability is above the threshold, without what is smaller than the least area."""
        return self.labels > 0

    @cached_property
    def labels(self) -> np.ndarray:
        """(H, W) int: 0, and the number of the finding to which a pixel belongs."""
        kept = self._areas >= self._least_px
        kept[0] = False
        return (np.cumsum(kept) * kept)[self._components]

    @property
    def left_out(self) -> int:
        """How many components of what is above the threshold are smaller than the least area."""
        return int((self._areas[1:] < self._least_px).sum())

    @cached_property
    def _components(self) -> np.ndarray:
        return np.asarray(ndimage.label(self.probability > self.threshold, np.ones((3, 3)))[0])

    @cached_property
    def _areas(self) -> np.ndarray:
        return np.bincount(self._components.ravel())

    @cached_property
    def _least_px(self) -> float:
        return 0 if self.least_area is None else self.least_area.in_pixels(self.image.spacing_mm, self.id)

    @cached_property
    def findings(self) -> list["Finding"]:
        """The 8-connected components of the mask, from the top down."""
        inside = _breast_pixels(self.image.pixels)
        boxes = ndimage.find_objects(self.labels)
        return [_finding(self, number, box, inside) for number, box in enumerate(boxes, start=1)]


@dataclass(frozen=True, eq=False)
class Finding:
    """One predicted mass. Pixels are those of the stored image."""

    number: int  # from 1
    area_px: int
    area_mm2: float | None  # None where the header has no spacing
    box: tuple[int, int, int, int]  # first row, first column, rows, columns
    centroid: Point
    axis: tuple[Point, Point]  # the ends of the longest straight line between two corners of its pixels
    axis_px: float
    axis_mm: float | None
    mean_probability: float
    highest_probability: float
    inside_breast: bool | None  # None where no breast was found on the image
    lines: list[np.ndarray]  # closed contours, (points, 2) of row and column

    def row(self) -> dict[str, Any]:
        """The numbers of the finding as they stand in findings.csv and, with the contours, in the JSON file."""
        top, left, rows, cols = self.box
        return {
            "finding": self.number,
            "area_px": self.area_px,
            "area_mm2": _rounded(self.area_mm2, 2),
            "box_row": top,
            "box_col": left,
            "box_rows": rows,
            "box_cols": cols,
            "centroid_row": round(self.centroid[0], 2),
            "centroid_col": round(self.centroid[1], 2),
            "longest_axis_px": round(self.axis_px, 2),
            "longest_axis_mm": _rounded(self.axis_mm, 2),
            "mean_probability": round(self.mean_probability, 4),
            "highest_probability": round(self.highest_probability, 4),
            "inside_breast": self.inside_breast,
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _breast_pixels(image: np.ndarray) -> np.ndarray | None:
    """(H, W) bool: the breast at the size of the image; None where none is found."""
    found = breast(image)
    if not found.any():
        return None
    rows, cols = (np.arange(side) * small // side for side, small in zip(image.shape, found.shape, strict=True))
    return np.asarray(found[rows[:, None], cols])


def _finding(of: Prediction, number: int, box: tuple[slice, ...], inside: np.ndarray | None) -> Finding:
    own, probability, spacing = of.labels[box] == number, of.probability[box], of.image.spacing_mm
    corner = np.array([side.start for side in box])
    middle = np.argwhere(own).mean(axis=0) + corner
    ends, pixels, length = longest_axis(own, spacing)
    (first, last), area = ends + corner, int(own.sum())
    return Finding(
        number=number,
        area_px=area,
        area_mm2=None if spacing is None else area * math.prod(spacing),
        box=(int(corner[0]), int(corner[1]), *own.shape),
        centroid=(float(middle[0]), float(middle[1])),
        axis=((float(first[0]), float(first[1])), (float(last[0]), float(last[1]))),
        axis_px=pixels,
        axis_mm=length,
        mean_probability=float(probability[own].mean()),
        highest_probability=float(probability[own].max()),
        inside_breast=None if inside is None else bool(inside[box][own].mean() >= INSIDE),
        lines=contours(of.probability, of.labels, number, box, of.threshold),
    )


def longest_axis(mask: np.ndarray, spacing: tuple[float, float] | None) -> tuple[np.ndarray, float, float | None]:
    """The two corners of pixels of a (H, W) mask that are farthest apart: (2, 2) rows and columns, pixels, mm.

    Farthest in mm where the spacing (row, column) is known, otherwise in pixels.
    """
    border = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    corners = np.unique((border[:, None] + [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]).reshape(-1, 2), axis=0)
    hull = corners[ConvexHull(corners).vertices]
    distances = squareform(pdist(hull * (spacing or (1.0, 1.0))))
    ends = hull[list(np.unravel_index(distances.argmax(), distances.shape))]
    return ends, float(np.hypot(*(ends[0] - ends[1]))), None if spacing is None else float(distances.max())


def described(of: Prediction) -> dict[str, Any]:
    """What is written to `<id>_findings.json`: the image, its findings, and their contours as rows and columns."""
    return {
        "id": of.id,
        "rows": of.mask.shape[0],
        "columns": of.mask.shape[1],
        "side": of.image.side,
        "view": of.image.view,
        "spacing_mm": of.image.spacing_mm,
        "spacing_source": of.image.spacing_source,
        "sop_instance_uid": of.image.instance or None,
        **of.algorithm.described(),
        "threshold": of.threshold,
        "least_area": None if of.least_area is None else str(of.least_area),
        "left_out": of.left_out,
        "findings": [{**each.row(), "contours": [line.tolist() for line in each.lines]} for each in of.findings],
        "use": USE,
    }
