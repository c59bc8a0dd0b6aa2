"""What is done to a mammogram before a network sees it, so that it can be undone.

`Preprocessing` says what is wanted, `Frame` where the pixels of one prepared image came from. Both are stored with a
cohort and with trained weights, so that a prediction goes the same way and back.
"""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from massmatch.data.errors import DataWarning
from massmatch.data.masks import FRAMED, INVERTED, LARGE, frames, speck_limit, without_specks
from massmatch.data.preprocessing.breast import breast_range, breast_window, chest_side, pectoral, share_of_greys
from massmatch.data.preprocessing.options import PreprocessingOptions
from massmatch.data.preprocessing.resize import resized, resized_labels
from massmatch.data.sample import Sample

NAMED = 5  # so many sizes are told in one line
LEAST_GREYS = 0.45  # share that tissue takes up: at least 0.51 in 1231 images of CBIS-DDSM, 0.49 in drawn ones
SQUEEZED = "something is so bright or dark (a label, a strip, a clip, hot or dead pixels) that the tissue"
OBLIQUE = ("MLO", "ML", "LMO")  # the views in which the pectoral muscle shows as a triangle


class Preprocessing(BaseModel, PreprocessingOptions):
    """What `massmatch prepare` does to every image. Fields and their defaults: `PreprocessingOptions`.

    `size` may be given as on the command line, such as "512x256". Raises pydantic's ValidationError for what cannot be.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Preprocessing":
        """What a cohort or trained weights say was done. Version 0.1 recorded no range: its range was min-max."""
        return cls(**{"range": "min-max", **record})

    @field_validator("size", mode="before")
    @classmethod
    def _sides(cls, size: Any) -> Any:
        """Rows and columns, as numbers or as text; a single number is both."""
        if size == "native":
            return size
        sides = list(size) if isinstance(size, (list, tuple)) else str(size).lower().split("x")
        if len(sides) > 2 or not all(str(side).isdigit() and 8 <= int(side) <= 8192 for side in sides):
            raise ValueError("must be 8 to 8192 pixels, as 256, 512x256 or native")
        return sides if len(sides) == 2 else sides * 2


@dataclass(frozen=True)
class Frame:
    """Where a prepared image came from: a window of the native one, perhaps mirrored, then resized. All in pixels."""

    native_rows: int
    native_cols: int
    crop_row: int
    crop_col: int
    crop_rows: int
    crop_cols: int
    flipped: bool
    rows: int  # of the prepared image
    cols: int

    @classmethod
    def of(cls, image: np.ndarray, how: Preprocessing, name: str = "image") -> "Frame":
        """The frame of one (H, W) image. Warns DataWarning, naming the image, where no breast was found to crop to."""
        rows, cols = image.shape
        whole: tuple[int, int, int, int] = (0, 0, rows, cols)
        window = breast_window(image) if how.crop == "breast" else whole
        if window is None:
            warnings.warn(f"{name}: no breast found to crop to; the whole image is kept", DataWarning, stacklevel=2)
            window = whole
        flipped = how.flip != "none" and chest_side(image) != how.flip
        size = window[2:] if how.size == "native" else how.size
        return cls(rows, cols, *window, flipped, size[0], size[1])

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], size: tuple[int, int]) -> "Frame":
        """The frame of a prepared image of this size, from its columns of samples.csv. KeyError if they lack."""
        numbers = {name: int(facts[name]) for name in cls.__annotations__ if name.startswith(("native_", "crop_"))}
        return cls(**numbers, flipped=bool(facts["flipped"]), rows=size[0], cols=size[1])

    def columns(self) -> dict[str, Any]:
        """The columns that samples.csv holds of the frame."""
        return {name: value for name, value in asdict(self).items() if name not in ("rows", "cols")}

    @property
    def is_whole(self) -> bool:
        """Whether the prepared image has the pixels of the native one, in their places."""
        return not self.flipped and (self.rows, self.cols) == (self.native_rows, self.native_cols)

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The window of a native (H, W) array, mirrored if the image was; not resized."""
        rows = slice(self.crop_row, self.crop_row + self.crop_rows)
        cut = array[rows, self.crop_col : self.crop_col + self.crop_cols]
        return cut[:, ::-1] if self.flipped else cut

    def spacing(self, native: tuple[float, float] | None) -> tuple[float, float] | None:
        """mm per row and column of the prepared image; the two differ where the proportions were changed."""
        if native is None:
            return None
        return native[0] * self.crop_rows / self.rows, native[1] * self.crop_cols / self.cols

    def native_spacing(self, prepared: tuple[float, float] | None) -> tuple[float, float] | None:
        """mm per row and column of the native image: `spacing` undone."""
        if prepared is None:
            return None
        return prepared[0] * self.rows / self.crop_rows, prepared[1] * self.cols / self.crop_cols

    def undo(self, array: np.ndarray) -> np.ndarray:
        """A (rows, cols) array in the native frame, 0 outside the window.

        Probabilities (floats) are interpolated; labels and bool keep their values: a native pixel has that of the
        prepared pixel in which its centre lies.
        """
        window = (self.crop_rows, self.crop_cols)
        back = resized(array, window) if array.dtype.kind == "f" else _nearest(array, window)
        native = np.zeros((self.native_rows, self.native_cols), array.dtype)
        self.cut(native)[...] = back
        return native


def _nearest(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, cols = (
        (2 * np.arange(target) + 1) * source // (2 * target) for source, target in zip(array.shape, size, strict=True)
    )
    return array[rows[:, None], cols]


def prepared_pixels(image: np.ndarray, frame: Frame, how: Preprocessing, name: str = "image") -> np.ndarray:
    """A native (H, W) image of uint8 or uint16 in the frame, stretched from 0 to the largest number of 8 or 16 bits.

    With `range` "breast" the greys are cut at the percentiles of `breast_range`, with "min-max" at the lowest and the
    highest of the window. An even image becomes 0 everywhere. Warns DataWarning, naming the image, where there is no
    breast whose range could be taken, for which min-max is taken, and where min-max leaves the tissue few greys.
    """
    cut, bounds = frame.cut(image), None
    if how.range == "breast" and image.min() < image.max():
        bounds = breast_range(image)
        if bounds is None:
            text = f"{name}: no breast found whose range of greys could be taken; that of the whole image is taken"
            warnings.warn(text, DataWarning, stacklevel=2)
    if bounds is not None:
        cut = np.clip(cut, *bounds)
    pixels = resized(cut, (frame.rows, frame.cols))
    if bounds is None:
        tell_if_squeezed(image, pixels, name)
    low, high = bounds or (float(pixels.min()), float(pixels.max()))
    top = (1 << how.bits) - 1
    stretched = (pixels - low) * (top / (high - low)) if high > low else np.zeros_like(pixels)
    return np.rint(stretched).astype(np.uint8 if how.bits == 8 else np.uint16)


def tell_if_squeezed(image: np.ndarray, seen: np.ndarray, name: str) -> None:
    """Warn DataWarning where `seen`, resized from an (H, W) image, leaves its tissue a small part of the greys."""
    if (share := share_of_greys(image, seen)) < LEAST_GREYS:
        text = (
            f"{name}: {SQUEEZED} has {100 * share:.0f} % of the greys, so that masses can be missed: if it is no "
            "tissue, give it the grey of the air, or prepare and train with --range breast"
        )
        warnings.warn(text, DataWarning, stacklevel=3)


def without_pectoral(image: np.ndarray, view: str | None, name: str = "image") -> np.ndarray:
    """An oblique view with its muscle as dark as its darkest pixel; others as they are.

    Warns DataWarning where no muscle is found. Where nobody says which view it is, who calls it says so.
    """
    if view not in OBLIQUE:
        return image
    muscle = pectoral(image)
    if muscle is None:
        warnings.warn(f"{name}: no edge of the pectoral muscle found; nothing is suppressed", DataWarning, stacklevel=2)
        return image
    return np.where(muscle, image.min(), image)


def preprocess(sample: Sample, how: Preprocessing) -> tuple[Sample, Frame]:
    """A native sample as the cohort holds it; its facts gain the frame.

    Warns DataWarning, naming the sample, where a mass is cut by the crop, would have vanished, or is suppressed, and
    where the image is even.
    """
    masses, dropped = without_specks(sample.instances, how.min_mass)
    sample = replace(sample, instances=masses)
    image = sample.image
    if how.pectoral == "suppress":
        image = without_pectoral(image, sample.view, sample.id)
    frame = Frame.of(image, how, sample.id)
    pixels = prepared_pixels(image, frame, how, sample.id)
    labels, vanished = resized_labels(frame.cut(sample.instances), (frame.rows, frame.cols))
    _tell(sample, image, frame, pixels, vanished, dropped)
    changed = Sample(
        id=sample.id,
        patient=sample.patient,
        image=pixels,
        instances=labels,
        side=sample.side,
        view=sample.view,
        density=sample.density,
        spacing_mm=frame.spacing(sample.spacing_mm),
        facts={**sample.facts, **frame.columns(), "chest_side": chest_side(pixels) if how.flip == "none" else how.flip},
    )
    return changed, frame


def _specks(sample: Sample, dropped: list[int]) -> list[str]:
    """What to say of pieces of the mask that are too small for a mass."""
    if dropped:
        left = "" if sample.instances.any() else ": no mass is left"
        return [f"pieces of {', '.join(map(str, dropped[:NAMED]))} pixels of the mask are dropped (--min-mass){left}"]
    limit = speck_limit(sample.instances.shape)
    _, specks = without_specks(sample.instances, limit)
    if not specks:
        return []
    sizes = ", ".join(map(str, specks[:NAMED]))
    return [f"the mask has pieces of {sizes} pixels (slips of the hand?); --min-mass {limit} drops them"]


def _tell(
    sample: Sample, image: np.ndarray, frame: Frame, pixels: np.ndarray, vanished: list[int], dropped: list[int]
) -> None:
    """One DataWarning for each thing that one should know about a prepared image."""
    before, inside = np.bincount(sample.instances.ravel()), np.bincount(frame.cut(sample.instances).ravel())
    inside = np.pad(inside, (0, len(before) - len(inside)))
    told = _specks(sample, dropped)
    if before[1:].sum() > LARGE * before.sum():
        told.append(f"masses cover {100 * before[1:].sum() / before.sum():.0f} % of the image: {INVERTED}")
    told += [f"mass {number} {FRAMED}" for number in frames(sample.instances)]
    for label in np.flatnonzero(before[1:] > inside[1:]) + 1:
        lost = before[label] - inside[label]
        told.append(f"the crop cuts off {100 * lost / before[label]:.0f} % of mass {label}; see it with --crop none")
    told += [
        f"mass {label} of {before[label]} pixels would have vanished at {frame.rows}x{frame.cols}; one pixel is kept"
        for label in vanished
    ]
    if image is not sample.image:
        hidden = np.bincount(sample.instances[image != sample.image], minlength=len(before))
        told += [
            f"the suppressed muscle hides {100 * hidden[label] / before[label]:.0f} % of mass {label}"
            for label in np.flatnonzero(hidden[1:] * 2 > before[1:]) + 1
        ]
    if not pixels.any():
        told.append("the image is even: it has no contrast")
    for text in told:
        warnings.warn(f"{sample.id}: {text}", DataWarning, stacklevel=3)
