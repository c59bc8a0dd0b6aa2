"""What the page "Read" asks for: an image that was dropped on it, its findings at a threshold, files to keep."""

import csv
import io
import math
import re
import secrets
import shutil
import tempfile
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from massmatch.data import Cohort, Sample
from massmatch.data.dicom import is_dicom
from massmatch.data.preprocessing.breast import breast_range
from massmatch.data.preprocessing.resize import resized
from massmatch.errors import UsageError
from massmatch.inference.batch import finding_rows
from massmatch.inference.dicom.files import objects
from massmatch.inference.dicom.source import require_highdicom
from massmatch.inference.earlier import FINDING
from massmatch.inference.ensemble import load_ensemble
from massmatch.inference.evaluation import warn_of_other_preparation
from massmatch.inference.findings import Finding, Prediction
from massmatch.inference.images import ImageFile, read_image
from massmatch.inference.network import segment, settle_orientation
from massmatch.inference.nrrd import seg_nrrd
from massmatch.inference.packaged import ABOUT, PACKAGED
from massmatch.inference.picture import contour_picture

LOOKED_AT = 512  # the longer side at which findings are shown: at the native one, labelling takes a third of a second
LONGEST_NAME = 100  # bytes, of its end: file systems take 255, and endings are added
MOST_HELD = 8  # images
MOST_PIXELS = 120_000_000  # of all held images, 6 bytes each: eight of 13 million pixels, or one of the largest


@dataclass(frozen=True, eq=False)
class Held:
    """An image that the page works on. The file lies in a folder of its own, which goes with it."""

    file: ImageFile
    found: Prediction
    small: Prediction  # the same at LOOKED_AT


class Reading:
    """The network, which is loaded when the first image comes, and the images that are held: the latest few."""

    def __init__(self, weights: Sequence[Path], modality: str = "MG") -> None:
        self.weights, self.modality = weights, modality
        self.held: OrderedDict[str, Held] = OrderedDict()
        self.lock = threading.Lock()
        self.network: tuple[nn.Module, dict[str, Any]] | None = None
        self.of_network: list[Warning | str] = []  # what was told when it was loaded, and is true of every image
        self.folder = Path(tempfile.mkdtemp(prefix="massmatch-"))
        self.close = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)  # removes the files

    def take(self, name: str, data: bytes) -> dict[str, Any]:
        """Segment a file; what the page has to know of it. Raises DataError for what is no grey mammogram."""
        id = secrets.token_hex(8)
        called = safe_name(name)
        file = ImageFile(self.folder / id, called, Path(called).stem)
        file.root.mkdir()
        try:
            file.path.write_bytes(data)
            with self.lock, warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                found = self._segmented(file)
            held = Held(file, found, _small(found))
        except BaseException:
            shutil.rmtree(file.root, ignore_errors=True)
            raise
        with self.lock:
            self.held[id] = held
            self._forget()
        notes = [str(each.message) for each in said]
        if list(self.weights) == [PACKAGED]:
            notes.append(f"Segmented with {ABOUT}")
        return {"id": id, "name": file.source, **_about(held), "said": notes}

    def probability(self, cohort: Cohort, sample: Sample) -> tuple[np.ndarray, float, list[str]]:
        """(H, W) probabilities of mass on an image of a cohort, the threshold of the network, and what is to be known.

        An image that `prepare` wrote is not cropped and stretched again: it is given to the network as `evaluate` does.
        """
        image = sample.image
        with self.lock, warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model, facts = self._loaded()
            if cohort.preprocessing is not None:
                warn_of_other_preparation(facts, cohort)
                facts = {**facts, "preprocessing": None, "size": image.shape}
            found = segment(model, facts, image, sample.view, sample.id)
        return found, facts["threshold"], [str(each.message) for each in said]

    def _loaded(self) -> tuple[nn.Module, dict[str, Any]]:
        if self.network is None:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                model, facts = load_ensemble(list(self.weights))
                facts = settle_orientation(facts)
            self.network, self.of_network = (model, facts), [each.message for each in said]
        for message in self.of_network:
            warnings.warn(message, stacklevel=2)
        return self.network

    def _segmented(self, file: ImageFile) -> Prediction:
        id, image = read_image(file, modality=self.modality)
        model, facts = self._loaded()
        probability = segment(model, facts, image.pixels, image.view, file.source, chest=image.chest)
        return Prediction(id, image, probability, facts["threshold"], algorithm=facts["algorithm"])

    def _forget(self) -> None:
        """The images that were used longest ago, until the rest fits."""
        while len(self.held) > 1 and (
            len(self.held) > MOST_HELD or sum(each.found.probability.size for each in self.held.values()) > MOST_PIXELS
        ):
            shutil.rmtree(self.held.popitem(last=False)[1].file.root, ignore_errors=True)

    def of(self, id: str) -> Held:
        """The image of an id. UsageError where it is no longer held."""
        with self.lock:
            if id not in self.held:
                raise UsageError("this image is no longer held in memory: drop its file again")
            self.held.move_to_end(id)
            return self.held[id]

    def pixels(self, id: str) -> bytes:
        """The grey levels, row by row, each as two bytes, the lower one first."""
        return self.of(id).found.image.pixels.astype("<u2").tobytes()

    def findings(self, id: str, threshold: float) -> list[dict[str, Any]]:
        """Findings above a threshold, seen at LOOKED_AT but told in the pixels of the image."""
        held = self.of(id)
        small = replace(held.small, threshold=threshold)
        scale = tuple(big / little for big, little in zip(held.found.mask.shape, small.probability.shape, strict=True))
        return [_shown(each, scale) for each in small.findings]

    def download(self, id: str, kind: str, threshold: float) -> tuple[str, bytes]:
        """The name and the content of a file, at the native size. UsageError for an unknown kind."""
        held = self.of(id)
        if kind not in FILES:
            raise UsageError(f"must be one of {', '.join(FILES)}, but is {kind[:20]}")
        ending, write = FILES[kind]
        return f"{held.found.id}{ending}", write(replace(held.found, threshold=threshold), held.file)


def safe_name(name: str) -> str:
    """The name of a file without folders and without what a path or a screen could stumble over."""
    last = re.sub(r"[^\w.\- ]", "_", re.split(r"[/\\]", name)[-1]).strip(". ")
    return last.encode()[-LONGEST_NAME:].decode(errors="ignore") or "image"


def threshold_of(text: str) -> float:
    """A threshold as the page sends it. UsageError for what is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise UsageError("a threshold must be a probability from 0 to below 1")
    return value


def _small(found: Prediction) -> Prediction:
    """A prediction at LOOKED_AT, with the spacing that its pixels then have."""
    shape = found.probability.shape
    factor = min(1.0, LOOKED_AT / max(shape))
    size = (max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor)))
    spacing = found.image.spacing_mm
    if spacing is not None:
        spacing = (spacing[0] * shape[0] / size[0], spacing[1] * shape[1] / size[1])
    pixels = np.rint(resized(found.image.pixels, size)).astype(found.image.pixels.dtype)
    return replace(
        found,
        probability=resized(found.probability, size),
        image=replace(found.image, pixels=pixels, spacing_mm=spacing),
    )


def _about(held: Held) -> dict[str, Any]:
    image = held.found.image
    low, high = breast_range(image.pixels) or (float(image.pixels.min()), float(image.pixels.max()))
    return {
        "rows": image.pixels.shape[0],
        "columns": image.pixels.shape[1],
        "side": image.side,
        "view": image.view,
        "spacing_mm": image.spacing_mm,
        "threshold": held.found.threshold,
        "window": [low, max(high, low + 1)],
        "dicom": is_dicom(held.file.path),
    }


def _shown(finding: Finding, scale: tuple[float, ...]) -> dict[str, Any]:
    """The columns of the page's table, and the outlines as rows and columns of the image."""
    stretch = np.array(scale)
    return {
        "number": finding.number,
        "area_mm2": finding.area_mm2,
        "area_px": finding.area_px * math.prod(scale),
        "axis_mm": finding.axis_mm,
        "axis_px": float(np.hypot(*((np.array(finding.axis[0]) - finding.axis[1]) * stretch))),
        "mean": finding.mean_probability,
        "highest": finding.highest_probability,
        "inside_breast": finding.inside_breast,
        "centre": ((np.array(finding.centroid) + 0.5) * stretch).tolist(),
        "outlines": [((line + 0.5) * stretch).round(2).tolist() for line in finding.lines],
    }


def _csv(found: Prediction, file: ImageFile) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, FINDING)
    table.writeheader()
    table.writerows(finding_rows(found))
    return text.getvalue().encode()


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "png", compress_level=1)
    return file.getvalue()


def _dicom(kind: str) -> Callable[[Prediction, ImageFile], bytes]:
    def write(found: Prediction, file: ImageFile) -> bytes:
        require_highdicom()
        made = objects(found, file)
        if kind not in made:
            raise UsageError("nothing is found at this threshold, so there is no segmentation: take the report")
        data = io.BytesIO()
        made[kind].save_as(data, enforce_file_format=True)
        return data.getvalue()

    return write


# What can be kept: the ending of the file's name, and what writes it.
FILES: dict[str, tuple[str, Callable[[Prediction, ImageFile], bytes]]] = {
    "csv": ("_findings.csv", _csv),
    "contour": ("_contour.png", lambda found, file: _png(contour_picture(found))),
    "mask": ("_mask.png", lambda found, file: _png(Image.fromarray(found.mask).convert("L"))),
    "nrrd": (".seg.nrrd", lambda found, file: seg_nrrd(found)),
    "seg": ("_seg.dcm", _dicom("seg")),
    "sr": ("_sr.dcm", _dicom("sr")),
}
