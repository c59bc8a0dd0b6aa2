"""Pictures: contours on mammograms as in the paper's Figure 4 (truth green, prediction blue)."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from massmatch.data.preprocessing.breast import tissue_top

GREEN, BLUE = (60, 220, 90), (70, 150, 255)
LINE = 512  # the longer side divided by the width of a line: two pixels where it is shown 1000 pixels high
ENDS = 0.005  # share of pixels at each end of the greys, as nnU-Net leaves out (Isensee et al. 2021)
LARGEST = 768  # pixels of the longer side of a mammogram within a page: more than it is shown with


def overlay(
    image: np.ndarray,
    *,
    truth: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    grey: tuple[float, float] | None = None,
) -> Image.Image:
    """The image with contours, at least 512 pixels on its longer side so that lines stay thinner than masses.

    Args:
        image: (H, W) grey of any type.
        truth, prediction: (H, W) bool, or None. Where both lines meet, the prediction's is on top.
        grey: the levels that are shown black and white; by default `robust_range`.
    """
    scale = max(1, -(-512 // max(image.shape)))
    width = max(2, round(scale * max(image.shape) / LINE))
    picture = _stretched(image, grey).convert("RGB")
    pixels = np.array(picture.resize((image.shape[1] * scale, image.shape[0] * scale), Image.Resampling.BICUBIC))
    for mask, colour in ((truth, GREEN), (prediction, BLUE)):
        if mask is not None and mask.any():
            large = np.kron(mask, np.ones((scale, scale), bool))
            pixels[large & ~ndimage.binary_erosion(large, iterations=width)] = colour  # inside
    return Image.fromarray(pixels)


def sheet(rows: Sequence[Sequence[Image.Image]], side: int = 256) -> Image.Image:
    """Pictures in rows and columns, each fitted into a square of `side` pixels."""
    whole = Image.new("RGB", (side * max(map(len, rows)), side * len(rows)))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            small = picture.copy()
            small.thumbnail((side, side))
            whole.paste(small, (x * side, y * side))
    return whole


def _stretched(image: np.ndarray, grey: tuple[float, float] | None = None) -> Image.Image:
    low, high = grey or robust_range(image)
    shown = image.astype(np.float32).clip(low, high) - low
    return Image.fromarray((shown * (255 / (high - low or 1))).astype(np.uint8))


def robust_range(image: np.ndarray) -> tuple[float, float]:
    """The greys that are shown black and white: but for 0.5 % of the pixels at each end, which hot pixels are among.

    The upper end leaves out the air, of which a mammogram may hold any share: pixels of the lower end's grey or below;
    and, of whole numbers, what is far brighter than tissue, such as a label.
    """
    low = float(np.quantile(image, ENDS))
    top = tissue_top(image) if np.issubdtype(image.dtype, np.unsignedinteger) else image.max()
    tissue = image[(image > low) & (image <= top)]
    return low, float(np.quantile(tissue, 1 - ENDS)) if tissue.size else low


def mammogram_uri(image: np.ndarray) -> str:
    """The mammogram (H, W) as text that a page holds by itself: a JPEG of at most LARGEST pixels a side."""
    picture = _stretched(image)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def outline(mask: np.ndarray) -> str:
    """The border of a (H, W) bool mask as an SVG path along the edges of its pixels; empty for an empty mask."""
    padded = np.pad(mask.astype(np.int8), 1)
    across = _runs(np.diff(padded, axis=0)[:, 1:-1] != 0)
    down = _runs(np.diff(padded, axis=1)[1:-1].T != 0)
    lines = [f"M{start} {line}h{length}" for line, start, length in across]
    return "".join(lines + [f"M{line} {start}v{length}" for line, start, length in down])


def _runs(edges: np.ndarray) -> list[tuple[int, int, int]]:
    """(row, first column, length) of each unbroken run of True."""
    change = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(change == 1), np.argwhere(change == -1)
    return [(int(row), int(start), int(end - start)) for (row, start), end in zip(starts, ends[:, 1], strict=True)]


class Window(NamedTuple):
    """A square part of an image, in pixels."""

    col: int
    row: int
    side: int


def window(masks: Iterable[np.ndarray], shape: tuple[int, int]) -> Window:
    """The smallest square with all that any mask holds, and a margin; a quarter of the shorter side at least.

    A square may reach over the shorter side of the image, never over the longer one.
    """
    held = np.argwhere(np.any(np.stack(list(masks)), axis=0))
    if not len(held):
        return Window(0, 0, max(shape))
    (top, left), (bottom, right) = held.min(0), held.max(0) + 1
    around = max(bottom - top, right - left)
    side = int(min(max(around + 2 * max(around // 4, 4), min(shape) // 4), max(shape)))
    row, col = (
        int(_start(low, high, side, of)) for low, high, of in zip((top, left), (bottom, right), shape, strict=True)
    )
    return Window(col, row, side)


def _start(low: int, high: int, side: int, of: int) -> int:
    """Where a stretch of `side` about low..high starts, within the image where it fits."""
    return min(max((low + high - side) // 2, 0), max(of - side, 0))


class Choice(NamedTuple):
    """An image to show, and the rule that chose it."""

    kind: str
    id: str


KINDS = {
    "best": "highest mean DSC of the losses shown",
    "median": "in the middle of the images by mean DSC",
    "worst": "lowest mean DSC among the images in which at least one of the losses found a part of a mass",
    "apart": "largest spread (standard deviation) of the DSC between the losses",
    "missed": "missed by the most losses; among those the largest mass",
    "normal": "no mass; the largest area predicted, over the losses",
}


def chosen(rows: Mapping[str, pd.DataFrame], each: int) -> list[Choice]:
    """Up to `each` images of every kind by the rules of KINDS, each image once; ties go by id.

    `rows`: of runs on the same images, by name. A kind of which there is no image is left out.
    """
    columns = {name: _of_all(rows, name) for name in ("dsc", "missed", "fp")}
    one = next(iter(rows.values())).set_index("id").sort_index()
    normal, size = one["truth_empty"].astype(bool), one["tp"] + one["fn"]
    dsc, missed, false = columns["dsc"][~normal], columns["missed"].astype(bool).sum(axis=1), columns["fp"].sum(axis=1)
    mean, spread = dsc.mean(axis=1), dsc.std(axis=1, ddof=0)
    ranked = _first(mean)
    orders = {
        "best": ranked,
        "median": ranked[max(0, (len(ranked) - each) // 2) :],
        "worst": _first(-mean[dsc.max(axis=1) > 0]),
        "apart": _first(spread[spread > 0]),
        "missed": _first((missed + size / (size.max() + 1))[missed > 0]),
        "normal": _first(false[normal & (false > 0)]),
    }
    taken: dict[str, str] = {}
    for kind, ids in orders.items():
        taken |= dict.fromkeys([id for id in ids if id not in taken][:each], kind)
    return [Choice(kind, id) for id, kind in taken.items()]


def _of_all(rows: Mapping[str, pd.DataFrame], column: str) -> pd.DataFrame:
    """One column of several tables of rows: a line per image, by id, and a column per run."""
    return pd.concat([of.set_index("id")[column] for of in rows.values()], axis=1).sort_index()


def _first(values: pd.Series) -> list[str]:
    """Ids from the largest value to the smallest."""
    return [str(id) for id in values.round(9).sort_values(ascending=False, kind="stable").index]
