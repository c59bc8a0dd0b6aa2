"""The reader "nnunet": raw datasets of nnU-Net v2.

DatasetXXX_Name/dataset.json  imagesTr/CASE_0000.png  labelsTr/CASE.png  [imagesTs/  labelsTs/]
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from massmatch.data.errors import CohortError
from massmatch.data.folder import licence_of
from massmatch.data.images import misfit, read_grey, read_labels
from massmatch.data.masks import to_instances
from massmatch.data.readers.folder import NO_PATIENTS
from massmatch.data.readers.listing import Item, Listing, inside, relative
from massmatch.data.sample import Sample
from massmatch.errors import UsageError

ENDINGS = (".png", ".tif", ".tiff", ".bmp")
MASS = ("mass", "masses", "lesion", "tumor", "tumour")  # names of the label, if there are several
PATIENTS = "patients.csv"  # ours, beside dataset.json: nnU-Net has no place for patients
KNOWN = ("side", "view", "density", "spacing_row_mm", "spacing_col_mm")


def nnunet(source: Path, *, label: str | None = None, allow_outside_root: bool = False) -> Listing:
    """The labelled cases of a raw dataset, with the folds of `splits_final.json` as the column `nnunet_fold`.

    Args:
        source: DatasetXXX_Name.
        label: the name of the label that is the mass; not needed if there is one, or one called mass.
        allow_outside_root: also for a file map in dataset.json that leads out.

    Raises FileNotFoundError for a missing source, CohortError for what is no such dataset.
    """
    if not source.is_dir():
        raise UsageError(f"no such folder: {source}")
    facts = _facts(source)
    value = _value(facts["labels"], label)
    known = _known(source)
    folds = _folds(source)
    items, faults = [], dict[str, str]()
    for part, cases in _cases(source, facts).items():
        for case, (image, mask) in sorted(cases.items()):
            try:
                for file in (image, mask):
                    if not inside(source, file, allow_outside=allow_outside_root).is_file():
                        raise CohortError(f"{file}: no such file: add it, or remove its partner")
            except CohortError as error:
                faults[image] = str(error)
                continue
            row = {**known.get(case, {}), **({"split": part} if len(_parts(source)) > 1 else {})}
            if case in folds:
                row["nnunet_fold"] = folds[case]
            patient = str(row.pop("patient", case))
            id = str(row.pop("id", case))
            read = partial(read_case, source, id, patient, image, mask, value, row)
            items.append(Item(id, patient, (image, mask), read))
    remarks = [NO_PATIENTS] if items and not known else []
    if len(items) + len(faults) != facts.get("numTraining") and len(_parts(source)) == 1:
        remarks.append(f"dataset.json: numTraining is {facts.get('numTraining')}, but there are {len(items)} cases")
    summary = f"{len(items)} cases, label {value} is the mass"
    licence = str(facts.get("licence") or facts.get("license") or licence_of(source))
    return Listing(source, items, licence, faults=faults, remarks=remarks, summary=summary)


def _facts(source: Path) -> dict[str, Any]:
    """dataset.json. CohortError where something that is needed lacks, or cannot be read as a mammogram."""
    path = source / "dataset.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise CohortError("dataset.json: no such file: give the folder DatasetXXX_Name of a raw dataset") from None
    except ValueError as error:
        raise CohortError(f"dataset.json: cannot be read as JSON ({error}): mend it") from None
    needed = ("channel_names", "labels", "file_ending")
    if not isinstance(facts, dict) or (missing := [name for name in needed if name not in facts]):
        raise CohortError(f"dataset.json: must have {', '.join(needed)}, but lacks {', '.join(missing)}: add them")
    if len(facts["channel_names"]) != 1:
        names = ", ".join(map(str, facts["channel_names"].values()))
        raise CohortError(f"dataset.json: must have one channel, but has {names}: export the mammograms alone")
    if facts["file_ending"] not in ENDINGS:
        raise CohortError(
            f"dataset.json: file_ending must be one of {', '.join(ENDINGS)}, but is {facts['file_ending']!r}: "
            "convert the images"
        )
    return facts


def _value(labels: dict[str, Any], wanted: str | None) -> int:
    """The number of the label that is the mass."""
    if labels.get("background") != 0 or not all(isinstance(v, int) for v in labels.values()) or "ignore" in labels:
        raise CohortError(
            f"dataset.json: labels must be background 0 and whole numbers, without regions and ignore, but are {labels}"
        )
    others = {name: value for name, value in labels.items() if value != 0}
    if wanted is not None:
        if wanted not in others:
            raise CohortError(
                f"dataset.json: has no label {wanted!r}, but {', '.join(others)}: give --label one of them"
            )
        return int(others[wanted])
    called = [value for name, value in others.items() if name.casefold() in MASS]
    if len(others) == 1 or len(called) == 1:
        return int(called[0] if len(called) == 1 else next(iter(others.values())))
    raise CohortError(f"dataset.json: which label is the mass? Give --label one of {', '.join(others)}")


def _parts(source: Path) -> dict[str, str]:
    """Suffix of the folders by part, for the parts that have labels."""
    found = {"train": "Tr", "test": "Ts"}
    return {part: suffix for part, suffix in found.items() if (source / f"labels{suffix}").is_dir() or suffix == "Tr"}


def _cases(source: Path, facts: dict[str, Any]) -> dict[str, dict[str, tuple[str, str]]]:
    """Image and label by case, by part."""
    ending = facts["file_ending"]
    if isinstance(explicit := facts.get("dataset"), dict):
        return {"train": {case: (entry["images"][0], entry["label"]) for case, entry in explicit.items()}}
    found = {}
    for part, suffix in _parts(source).items():
        images, labels = source / f"images{suffix}", source / f"labels{suffix}"
        if not images.is_dir() or not labels.is_dir():
            raise CohortError(f"images{suffix}/, labels{suffix}/: no such folders: give a raw dataset with labels")
        cases = {path.name.removesuffix(ending) for path in labels.glob(f"*{ending}")}
        cases |= {path.name.removesuffix(f"_0000{ending}") for path in images.glob(f"*_0000{ending}")}
        found[part] = {
            case: (f"images{suffix}/{case}_0000{ending}", f"labels{suffix}/{case}{ending}") for case in cases
        }
    return found


def _known(source: Path) -> dict[str, dict[str, Any]]:
    """What our own export wrote about each case."""
    if not (source / PATIENTS).is_file():
        return {}
    table = pd.read_csv(source / PATIENTS, dtype={"case": str, "id": str, "patient": str})
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return {row["case"]: {str(k): v for k, v in row.items() if k != "case" and v is not None} for row in rows}


def _folds(source: Path) -> dict[str, int]:
    """In which fold each case is held out."""
    path = source / "splits_final.json"
    if not path.is_file():
        return {}
    try:
        return {case: fold for fold, parts in enumerate(json.loads(path.read_text())) for case in parts["val"]}
    except (ValueError, TypeError, KeyError) as error:
        raise CohortError(
            f"splits_final.json: must be a list of train and val ({type(error).__name__}): mend it"
        ) from None


def read_case(root: Path, id: str, patient: str, image: str, mask: str, value: int, known: dict[str, Any]) -> Sample:
    """One case; its masses are the 8-connected components of the label. CohortError names the file."""
    pixels, labels = read_grey(root, image), read_labels(root, mask)
    if pixels.shape != labels.shape:
        raise CohortError(f"{mask}: {misfit(pixels.shape, labels.shape)}")
    facts = dict(known)
    side, view, density, row, col = (facts.pop(name, None) for name in KNOWN)
    spacing, source = (None, "none") if row is None else ((float(row), float(col)), PATIENTS)
    if spacing is None and (sidecar := root / Path(image).with_suffix(".json")).is_file():
        spacing, source = _sidecar(sidecar, relative(root, sidecar)), "sidecar"
    return Sample(
        id=id,
        patient=patient,
        image=pixels,
        instances=to_instances((labels == value).astype(np.uint8), mask),
        side=side,
        view=view,
        density=None if density is None else int(density),
        spacing_mm=spacing,
        facts={"spacing_source": source, **facts},
    )


def _sidecar(path: Path, file: str) -> tuple[float, float]:
    """Row and column spacing that nnU-Net's TIFF reader takes from a json beside the image."""
    try:
        *_, row, col = json.loads(path.read_text())["spacing"]
        return float(row), float(col)
    except (ValueError, TypeError, KeyError) as error:
        raise CohortError(f"{file}: must hold a spacing ({type(error).__name__}): mend or remove it") from None
