"""The picture of a prediction for a person: contours on the mammogram, and below it what one must know to read them."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from massmatch.data.preprocessing.breast import breast_range
from massmatch.inference.findings import USE, Finding, Prediction

BLUE, ORANGE, BLACK, GREY = (70, 150, 255), (255, 170, 60), (0, 0, 0), (210, 210, 210)
LEAST_SIDE = 512  # pixels of the longer side: smaller images are enlarged, so that lines stay thinner than masses
LINE = 512  # the longer side divided by the width of a line: two pixels where the picture is shown 1000 pixels high
LETTERS = 48  # the longer side divided by the height of the letters
BARS = (100, 50, 20, 10, 5, 2, 1)  # mm; the longest that takes at most a third of the width is the scale bar


def contour_picture(of: Prediction) -> Image.Image:
    """The image between the greys of its breast, a line around each finding, and a legend below.

    The legend holds side and view, the number of findings and the threshold, and a scale bar where the spacing is
    known. The picture's pixels above the legend are those of the image, enlarged by a whole number where it is small.
    """
    rows, cols = of.image.pixels.shape
    scale = math.ceil(LEAST_SIDE / max(rows, cols))
    grey = displayed(of.image.pixels).resize((cols * scale, rows * scale), Image.Resampling.BICUBIC)
    legend = _legend(of, cols * scale, max(rows, cols) * scale, scale)
    picture = Image.new("RGB", (cols * scale, rows * scale + legend.height))
    picture.paste(grey, (0, 0))
    _draw_findings(ImageDraw.Draw(picture), of, scale)
    picture.paste(legend, (0, rows * scale))
    return picture


def displayed(image: np.ndarray) -> Image.Image:
    """An (H, W) image as 8-bit grey, black and white at the percentiles of its breast; an even image is mid-grey.

    Where there is no breast, black and white are the lowest and the highest grey of all.
    """
    low, high = (float(image.min()), float(image.max()))
    if low == high:
        return Image.new("L", image.shape[::-1], 128)
    low, high = breast_range(image) or (low, high)
    return Image.fromarray((np.clip((image - np.float32(low)) / (high - low), 0, 1) * 255).astype(np.uint8))


def _colour(finding: Finding) -> tuple[int, int, int]:
    return ORANGE if finding.inside_breast is False else BLUE


def _draw_findings(draw: ImageDraw.ImageDraw, of: Prediction, scale: int) -> None:
    longer, of_cols = max(of.mask.shape) * scale, of.mask.shape[1]
    width, font = max(2, round(longer / LINE)), ImageFont.load_default(longer / LETTERS)
    for finding in of.findings:
        for line in finding.lines:
            points = [((col + 0.5) * scale, (row + 0.5) * scale) for row, col in line.tolist()]
            draw.line(points, BLACK, 2 * width, "curve")  # a dark rim, so that the line shows on bright tissue
            draw.line(points, _colour(finding), width, "curve")
        top, left, _, cols = finding.box
        on_left = 2 * left + cols > of_cols  # the number stands towards the middle, where it is not cut off
        column = left * scale - 2 * width if on_left else (left + cols) * scale + 2 * width
        place = (column, min(top * scale, of.mask.shape[0] * scale - 1.5 * longer / LETTERS))  # above the legend
        anchor = "ra" if on_left else "la"
        draw.text(place, str(finding.number), _colour(finding), font, anchor, stroke_width=1, stroke_fill=BLACK)


def _legend(of: Prediction, width: int, longer: int, scale: int) -> Image.Image:
    """A strip of the picture's width: letters shrink where a line would not fit."""
    outside = sum(each.inside_breast is False for each in of.findings)
    known = " ".join(part for part in (of.image.side, of.image.view) if part) or "side and view not known"
    lines = [
        (known, GREY),
        (f"masses predicted at probability > {of.threshold:.7g}: {len(of.findings) - outside}", BLUE),
        *([(f"of the same, outside the breast: {outside}", ORANGE)] if outside else []),
        *([(f"smaller than {of.least_area}, left out: {of.left_out}", GREY)] if of.left_out else []),
        (USE, GREY),
    ]
    size = longer / LETTERS
    margin, font = size / 2, ImageFont.load_default(size)
    size = max(1.0, size * min(1.0, (width - 2 * margin) / max(font.getlength(text) for text, _ in lines)))
    font, step = ImageFont.load_default(size), 1.5 * size
    bar = _bar(of, width / scale)
    strip = Image.new("RGB", (width, round(step * (len(lines) + (bar is not None)) + margin)))
    draw = ImageDraw.Draw(strip)
    for place, (text, colour) in enumerate(lines):
        draw.text((margin, place * step + margin / 2), text, colour, font)
    if bar is not None:
        (mm, length), row = bar, (len(lines) + 0.5) * step
        draw.line([(margin, row), (margin + length * scale, row)], GREY, max(2, round(longer / LINE)))
        draw.text((2 * margin + length * scale, row - size / 2), f"{mm} mm", GREY, font)
    return strip


def _bar(of: Prediction, width: float) -> tuple[int, float] | None:
    """The scale bar's length in mm and in columns; None without spacing."""
    if of.image.spacing_mm is None:
        return None
    lengths = ((mm, mm / of.image.spacing_mm[1]) for mm in BARS)
    return next(((mm, length) for mm, length in lengths if length <= width / 3), None)
