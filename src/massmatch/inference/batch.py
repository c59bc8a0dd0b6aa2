"""Prediction of many images: from files to files, so that every result can be matched to its image."""

import csv
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from PIL import Image
from torch import nn

from massmatch.data.dicom import is_dicom
from massmatch.data.errors import DataError
from massmatch.errors import UsageError
from massmatch.hold import held
from massmatch.inference.dicom.files import objects
from massmatch.inference.dicom.source import require_highdicom
from massmatch.inference.earlier import FINDING, INDEX, TABLES, earlier_ids, partial, refuse_foreign
from massmatch.inference.ensemble import load_ensemble, mirrored
from massmatch.inference.findings import Prediction, described
from massmatch.inference.images import (
    ENDINGS,
    ImageFile,
    digest,
    has_room,
    image_files,
    read_image,
    spelt,
    tell_of_cohorts,
)
from massmatch.inference.least_area import LeastArea
from massmatch.inference.network import segment, settle_orientation
from massmatch.inference.nrrd import seg_nrrd
from massmatch.inference.packaged import PACKAGED
from massmatch.inference.picture import contour_picture
from massmatch.runs.weights import usable_device
from massmatch.training.thresholds import as_stored

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FAST = 1  # zlib's level: a picture of 3328 x 2560 is written in a fifth of the time, for a tenth more bytes
Row = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """What a batch came to: the rows of index.csv (one per file) and of findings.csv (one per finding)."""

    threshold: float  # a pixel with a higher probability is mass
    index: list[Row] = field(default_factory=list)
    findings: list[Row] = field(default_factory=list)

    @property
    def failed(self) -> dict[str, str]:
        """What is wrong with each file that could not be segmented, by its path from the given folder."""
        return {row["source"]: row["error"] for row in self.index if row["error"]}


@dataclass(frozen=True)
class Options:
    """How images are read, and what is written of each: the arguments of `predict` of these names."""

    keep_names: bool
    allow_for_processing: bool
    modality: str
    probabilities: bool
    dicom: bool = False
    nrrd: bool = False
    least_area: LeastArea | None = None


def predict(
    images: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    weights: Sequence[PathLike[str] | str] | PathLike[str] | str = PACKAGED,
    tta: bool = False,
    threshold: float | None = None,
    chest_wall: str | None = None,
    keep_names: bool = False,
    allow_for_processing: bool = False,
    modality: str = "MG",
    probabilities: bool = False,
    dicom: bool = False,
    nrrd: bool = False,
    least_area: str | None = None,
    device: str | None = None,
    own: Collection[str] = (),
    watch: Callable[[Row], None] = lambda row: None,
) -> Batch:
    """Segment mammograms with a trained network and write masks, pictures and findings into a folder.

    Each image gives `<id>_mask.png` (0 and 255), `<id>_contour.png` and `<id>_findings.json`, in the frame of its
    stored pixels. The ids keep the folders below what was given; of DICOM files they are a digest of the SOP Instance
    UID. The whole batch gives `findings.csv`, a row per finding, and `index.csv`, a row per file: it is the key from
    ids to files, and the only result with their names. Until the batch is done they are `findings.partial.csv` and
    `index.partial.csv`.

    Args:
        images: DICOM, or grey PNG, TIFF or JPEG; or folders of them.
        out: where results are written; what an earlier batch wrote of the same files is replaced.
        weights: the folder of a run, or a weights file; several are an ensemble, of which the mean of the log-odds is
            taken. By default the network in this package, trained on film scans of CBIS-DDSM.
        tta: take the mean over each image and its mirror image (test-time augmentation), in twice the time.
        threshold: a pixel is mass above this probability; by default above the one stored with the weights (of an
            ensemble the mean of theirs in log-odds).
        chest_wall: on which side the training images showed the chest wall, for weights that do not say it.
        keep_names: call results of DICOM files after the file, which may hold the patient's name.
        allow_for_processing: take raw detector data (DICOM FOR PROCESSING).
        modality: which DICOM files must name in their header; "any" takes digitised film too (RG, CR, DX, OT).
        probabilities: write `<id>_probability.png` too, with 16 bits (65535 = 1).
        dicom: write DICOM objects too, which name the patient as the image does: a report with outlines and
            measurements, `<id>_sr.dcm`, and where something was found a segmentation, `<id>_seg.dcm`.
        nrrd: write `<id>.seg.nrrd` too, for 3D Slicer.
        least_area: of a finding, with its unit, such as 20mm2 or 500px: what is smaller is no mass, and counted as
            left_out. In mm2, images without a spacing are refused.
        device: where the network computes, such as cpu or cuda:1; by default the accelerator, if there is one.
        own: networks of one's own, `module:Class`, that the weights may be of (`load_weights`).
        watch: called with the row of index.csv after each file.

    A file that cannot be segmented is a row with an error, and the others are done.

    Raises UsageError for what is not there, for a threshold outside of 0 to 1, for a package that is missing, for
    results of other images in `out`, and for results that another process is writing; ValueError for damaged weights,
    DataError for a folder without images, OSError where `out` cannot be written.

    Example:
        batch = massmatch.predict("images", "results")
        [finding["area_px"] for finding in batch.findings]
    """
    least = None if least_area is None else LeastArea.parse(least_area)
    if dicom:
        require_highdicom()
    paths = [weights] if isinstance(weights, (str, PathLike)) else list(weights)
    for name, several in (("images", images), ("weights", paths)):
        if isinstance(several, (list, tuple)) and not several:
            raise UsageError(f"{name}: must name at least one file or folder, but is empty")
    model, facts = load_ensemble([Path(path) for path in paths], own)
    if device is not None:
        model.to(usable_device(device))
    facts = settle_orientation(facts, chest_wall)
    if tta:
        model, facts["algorithm"] = mirrored(model, facts), replace(facts["algorithm"], tta=True)
    if threshold is not None:
        if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 <= float(threshold) < 1:
            raise UsageError(f"--threshold: must be a probability from 0 to below 1, but is {threshold!r}")
        facts["threshold"] = float(threshold)
    given, out = [images] if isinstance(images, (str, Path)) else images, Path(out)
    files = image_files([Path(one) for one in given], out=out)
    _refuse_without_dicom(files, {"--modality": modality != "MG", "--keep-names": keep_names, "--dicom": dicom})
    if facts["preprocessing"] is not None:
        tell_of_cohorts(files)
    options = Options(keep_names, allow_for_processing, modality, probabilities, dicom, nrrd, least)
    out.mkdir(parents=True, exist_ok=True)
    with held(out, out / ".lock"):
        refuse_foreign(files, out)
        batch = _predict_all(model, facts, files, out, options, earlier_ids(files, out), watch)
        for name in TABLES:
            partial(out / name).replace(out / name)
        return batch


def _refuse_without_dicom(files: Sequence[ImageFile], given: dict[str, bool]) -> None:
    """Raise UsageError for an option that is about DICOM where no file is."""
    asked = [option for option, is_given in given.items() if is_given]
    if asked and not any(is_dicom(file.path) for file in files if file.path.is_file()):
        raise UsageError(f"{asked[0]}: is about DICOM, but none of the {len(files)} images is: leave it out")


def _predict_all(
    model: nn.Module,
    facts: Row,
    files: Iterable[ImageFile],
    out: Path,
    options: Options,
    earlier: Mapping[str, str],
    watch: Callable[[Row], None],
) -> Batch:
    """Rows are written as soon as they are known, so that a batch that is stopped leaves its index.

    `earlier`: what an earlier batch called the results of each file, which go now.
    """
    batch = Batch(facts["threshold"])
    ids: dict[str, str] = {}
    with (
        partial(out / "index.csv").open("w", encoding="utf-8", newline="") as index,
        partial(out / "findings.csv").open("w", encoding="utf-8", newline="") as findings,
    ):
        write_index, write_finding = _table(index, INDEX), _table(findings, FINDING)
        for file in files:
            row: Row = {**dict.fromkeys(INDEX), "source": spelt(file.source), "path_sha256": file.key}
            id = file.id
            try:
                found = predict_file(model, facts, file, options)
                id = found.id
                if (other := ids.setdefault(found.id, file.source)) != file.source:
                    raise DataError(f"{file.source}: is the same image as {other} (same UID or name): leave one out")
                made = objects(found, file) if options.dicom else {}
            except DataError as error:
                row["error"] = str(error)
            for old in {id, earlier.get(file.key, earlier.get(row["source"], id))}:
                if ids.get(old, file.source) == file.source and has_room(old):
                    remove_results(out / old)
            if not row["error"]:
                write(found, out, options, made)
                rows = finding_rows(found)
                batch.findings.extend(rows)
                write_finding(rows)
                row |= _summary(found)
            batch.index.append(row)
            write_index([row])
            watch(row)
    return batch


def _table(file: TextIO, columns: Sequence[str]) -> Callable[[list[Row]], None]:
    """A csv file with its heading; gives what appends rows to it."""
    writer = csv.DictWriter(file, columns)
    writer.writeheader()

    def append(rows: list[Row]) -> None:
        writer.writerows(rows)
        file.flush()

    return append


def predict_file(model: nn.Module, facts: Row, file: ImageFile, options: Options) -> Prediction:
    """Segment one file; `facts` with an orientation. Raises DataError for a file that is no grey mammogram."""
    id, image = read_image(
        file,
        keep_name=options.keep_names,
        allow_for_processing=options.allow_for_processing,
        modality=options.modality,
    )
    if options.least_area is not None:
        options.least_area.in_pixels(image.spacing_mm, file.source)  # refuses what it cannot be applied to
    probability = segment(model, facts, image.pixels, image.view, id, chest=image.chest)
    return Prediction(id, image, probability, facts["threshold"], options.least_area, facts["algorithm"])


def finding_rows(found: Prediction) -> list[Row]:
    """What stands in findings.csv of one image; the columns are FINDING."""
    weights = str(found.algorithm)
    return [{"id": found.id, **_known(found), **each.row(), "weights": weights} for each in found.findings]


def _known(found: Prediction) -> Row:
    return {"side": found.image.side, "view": found.image.view}


def _summary(found: Prediction) -> Row:
    return {
        "id": found.id,
        "series": digest(found.image.series) if found.image.series else None,
        **_known(found),
        "findings": len(found.findings),
        "outside_breast": sum(each.inside_breast is False for each in found.findings),
        "left_out": found.left_out,
        "area_px": int(found.mask.sum()),
    }


def remove_results(stem: Path) -> None:
    """Remove what an earlier batch wrote of an image, so that nothing old stands beside what this one says of it."""
    for ending in ENDINGS:
        Path(f"{stem}{ending}").unlink(missing_ok=True)


def write(found: Prediction, out: Path, options: Options, made: "Mapping[str, Dataset]") -> None:
    """The files of one image, in place of all that an earlier batch wrote of it: all of them, or none.

    `made`: its DICOM objects, by the ending of their files.
    """
    stem = out / found.id
    stem.parent.mkdir(parents=True, exist_ok=True)
    remove_results(stem)
    try:
        _write_files(found, stem, options)
        for kind, each in made.items():
            each.save_as(f"{stem}_{kind}.dcm", enforce_file_format=True)
    except BaseException:  # a full disk, or Ctrl-C
        remove_results(stem)
        raise


def _write_files(found: Prediction, stem: Path, options: Options) -> None:
    Image.fromarray(found.mask).convert("L").save(f"{stem}_mask.png")
    contour_picture(found).save(f"{stem}_contour.png", compress_level=FAST)
    if options.probabilities:
        Image.fromarray(as_stored(found.probability)).save(f"{stem}_probability.png", compress_level=FAST)
    if options.nrrd:
        Path(f"{stem}.seg.nrrd").write_bytes(seg_nrrd(found))
    Path(f"{stem}_findings.json").write_text(json.dumps(described(found), indent=1), encoding="utf-8")
