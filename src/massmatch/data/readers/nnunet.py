"""The reader "nnunet": raw datasets of nnU-Net v2.

DatasetXXX_Name/dataset.json  imagesTr/CASE_0000.png  labelsTr/CASE.png  [imagesTs/  labelsTs/]
"""

import json
import math
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from massmatch.data.errors import DataError
from massmatch.data.images import levels, misfit, read_grey, read_labels
from massmatch.data.masks import to_instances
from massmatch.data.open import licence_of
from massmatch.data.readers.folder import NO_PATIENTS, without_written
from massmatch.data.readers.listing import Item, Listing, forward, inside, is_data
from massmatch.data.sample import Sample
from massmatch.data.table import read_facts, refuse_one_gap_as_patient
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

    Raises UsageError for a missing source, DataError for what is no such dataset.
    """
    if not source.is_dir():
        raise UsageError(f"no such folder: {source}")
    facts = _facts(source)
    value = mass_value(facts["labels"], label, "dataset.json")
    declared = [int(number) for number in facts["labels"].values()]
    cases_of = _cases(source, facts)
    listed = {case for cases in cases_of.values() for case in cases}
    remarks = list[str]()
    known = _known(source, listed, remarks)
    folds = _folds(source)
    facts_from = [name for name in ("dataset.json", PATIENTS, "splits_final.json") if (source / name).is_file()]
    items, faults, named = [], dict[str, str](), 0
    for part, cases in cases_of.items():
        for case, (image, mask) in sorted(cases.items()):
            try:
                for file in (image, mask):
                    if not inside(source, file, allow_outside=allow_outside_root).is_file():
                        raise DataError(f"{file}: no such file: add it, or remove its partner")
            except DataError as error:
                faults[image] = str(error)
                continue
            row = {**known.get(case, {}), **({"split": part} if len(_parts(source)) > 1 else {})}
            if case in folds:
                row["nnunet_fold"] = folds[case]
            named += row.get("patient") is not None
            patient = str(row.pop("patient", None) or case)
            id = str(row.pop("id", case))
            read = partial(read_case, source, id, patient, image, mask, value, declared, row)
            beside = [file] if (source / (file := sidecar_of(image))).is_file() else []
            items.append(Item(id, patient, (image, mask, *beside, *facts_from), read))
    skipped = {file: f"{file}: {why}" for file, why in _left_out(source, facts).items()}
    if named < len(items):
        remarks.append(NO_PATIENTS.format(f"cases without a `patient` in a {PATIENTS} beside dataset.json"))
    if len(items) + len(faults) != facts.get("numTraining") and len(_parts(source)) == 1:
        remarks.append(f"dataset.json: numTraining is {facts.get('numTraining')}, but there are {len(items)} cases")
    if strangers := sorted(set(folds) - listed):
        remarks.append(f"splits_final.json: names cases that are not there: {', '.join(strangers[:5])}")
    if strangers := sorted(set(known) - listed):
        remarks.append(f"{PATIENTS}: names cases that are not there: {', '.join(strangers[:5])}")
    summary = f"{len(items)} cases, label {value} is the mass"
    licence = str(facts.get("licence") or facts.get("license") or licence_of(source))
    return Listing(source, items, licence, faults=faults, skipped=skipped, remarks=remarks, summary=summary)


def _facts(source: Path) -> dict[str, Any]:
    """dataset.json. DataError where something that is needed lacks, or cannot be read as a mammogram."""
    path = source / "dataset.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError("dataset.json: no such file: give the folder DatasetXXX_Name of a raw dataset") from None
    except ValueError as error:
        raise DataError(f"dataset.json: cannot be read as JSON ({error}): mend it") from None
    needed = ("channel_names", "labels", "file_ending")
    if missing := [name for name in needed if not isinstance(facts, dict) or name not in facts]:
        raise DataError(f"dataset.json: must have {', '.join(needed)}, but lacks {', '.join(missing)}: add them")
    for name in ("channel_names", "labels"):
        if not isinstance(facts[name], dict):
            raise DataError(f"dataset.json: {name} must be an object, as in v2, but is {facts[name]!r}: mend it")
    if len(facts["channel_names"]) != 1:
        names = ", ".join(map(str, facts["channel_names"].values()))
        raise DataError(f"dataset.json: must have one channel, but has {names}: export the mammograms alone")
    if facts["file_ending"] not in ENDINGS:
        raise DataError(
            f"dataset.json: file_ending must be one of {', '.join(ENDINGS)}, but is {facts['file_ending']!r}: "
            "convert the images"
        )
    return facts


def mass_value(labels: dict[str, Any], wanted: str | None, file: str) -> int:
    """Return the number of the label that is the mass. DataError, naming the file, where names do not decide it."""
    if labels.get("background") != 0 or not all(isinstance(v, int) for v in labels.values()) or "ignore" in labels:
        raise DataError(
            f"{file}: labels must be background 0 and whole numbers, without regions and ignore, but are {labels}"
        )
    others = {name: value for name, value in labels.items() if value != 0}
    if wanted is not None:
        if wanted not in others:
            raise DataError(f"{file}: has no label {wanted!r}, but {', '.join(others)}: give --label one of them")
        return int(others[wanted])
    called = [value for name, value in others.items() if name.casefold() in MASS]
    if len(others) == 1 or len(called) == 1:
        return int(called[0] if len(called) == 1 else next(iter(others.values())))
    raise DataError(f"{file}: which label is the mass? Give --label one of {', '.join(others)}")


def _parts(source: Path) -> dict[str, str]:
    """Suffix of the folders by part, for the parts that have labels."""
    found = {"train": "Tr", "test": "Ts"}
    folders = ("images", "labels")
    return {
        part: suffix
        for part, suffix in found.items()
        if suffix == "Tr" or all((source / f"{folder}{suffix}").is_dir() for folder in folders)
    }


def _cases(source: Path, facts: dict[str, Any]) -> dict[str, dict[str, tuple[str, str]]]:
    """Image and label by case, by part."""
    ending = facts["file_ending"]
    if isinstance(explicit := facts.get("dataset"), dict):
        return {"train": {case: _of_file_map(case, entry) for case, entry in explicit.items()}}
    found = {}
    for part, suffix in _parts(source).items():
        images, labels = source / f"images{suffix}", source / f"labels{suffix}"
        if not images.is_dir() or not labels.is_dir():
            raise DataError(f"images{suffix}/, labels{suffix}/: no such folders: give a raw dataset with labels")
        pictures, masks = _by_case(images, f"_0000{ending}"), _by_case(labels, ending)
        found[part] = {
            case: (
                f"images{suffix}/{pictures.get(case, f'{case}_0000{ending}')}",
                f"labels{suffix}/{masks.get(case, f'{case}{ending}')}",
            )
            for case in {*pictures, *masks}
        }
    return found


def _of_file_map(case: str, entry: Any) -> tuple[str, str]:
    """Image and label of a case in the file map of dataset.json."""
    match entry:
        case {"images": [str(image)], "label": str(label)}:
            return forward(image), forward(label)
    raise DataError(f'dataset.json: case {case} must be {{"images": [one path], "label": path}}: mend it')


def _by_case(folder: Path, ending: str) -> dict[str, str]:
    """File names by case; endings in capitals count, what file managers leave behind does not.

    Raises DataError for a case that has two files, whose endings differ in capitals.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if is_data(path) and path.name.lower().endswith(ending.lower()):
            case = path.name[: -len(ending)]
            if (other := found.setdefault(case, path.name)) != path.name:
                raise DataError(f"{folder.name}/{path.name}: {other} is the same case, {case!r}: remove one of them")
    return found


def _left_out(source: Path, facts: dict[str, Any]) -> dict[str, str]:
    """Files in the folders of the cases that have another ending, and labels whose images are missing as a whole.

    Images end in _0000 too, for the first channel; not those of a file map, which says how they are called.
    """
    ending = facts["file_ending"]
    channel = ending if isinstance(facts.get("dataset"), dict) else f"_0000{ending}"
    odd = {
        f"{folder}{suffix}/{path.name}": f"its name does not end in {wanted}, as dataset.json says"
        for suffix in _parts(source).values()
        for folder, endings in (("images", (ending, channel)), ("labels", (ending,)))
        if (source / f"{folder}{suffix}").is_dir()
        for path in sorted((source / f"{folder}{suffix}").iterdir())
        if is_data(path) and path.suffix.lower() != ".json"
        for wanted in [each for each in endings if not path.name.lower().endswith(each.lower())][:1]
    }
    alone = {"labelsTs/": "there is no imagesTs/ beside it"} if (source / "labelsTs").is_dir() else {}
    return odd if "test" in _parts(source) else {**odd, **alone}


def _known(source: Path, cases: Collection[str], remarks: list[str]) -> dict[str, dict[str, Any]]:
    """What our own export wrote about each case."""
    if not (source / PATIENTS).is_file():
        return {}
    table = read_facts(source / PATIENTS, key="case", files={case: case for case in cases})
    refuse_one_gap_as_patient(source / PATIENTS, table)
    table = without_written(source / PATIENTS, table, remarks).rename(columns={"id": "case", "case": "id"})
    rows = table.astype(object).where(table.notna() & (table != ""), None).to_dict("records")
    return {row["case"]: {str(k): v for k, v in row.items() if k != "case" and v is not None} for row in rows}


def _folds(source: Path) -> dict[str, int]:
    """In which fold each case is held out."""
    path = source / "splits_final.json"
    if not path.is_file():
        return {}
    try:
        held_out = [
            (str(case), fold) for fold, parts in enumerate(json.loads(path.read_text())) for case in parts["val"]
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"splits_final.json: must be a list of train and val ({type(error).__name__}): mend it"
        ) from None
    found: dict[str, int] = {}
    for case, fold in held_out:
        if (other := found.setdefault(case, fold)) != fold:
            raise DataError(
                f"splits_final.json: {case} is in val of the folds {other} and {fold}, but an image is held out in one "
                "fold alone: mend it, or move the file away"
            )
    return found


def read_case(
    root: Path, id: str, patient: str, image: str, mask: str, value: int, declared: list[int], known: dict[str, Any]
) -> Sample:
    """Read one case; its masses are the 8-connected components of the label's value. DataError names the file."""
    pixels, labels = read_grey(root, image), read_labels(root, mask)
    if pixels.shape != labels.shape:
        raise DataError(f"{mask}: {misfit(pixels.shape, labels.shape)}")
    facts = dict(known)
    side, view, density, row, col = (facts.pop(name, None) for name in KNOWN)
    spacing, source = (None, "none") if row is None else ((float(row), float(col)), PATIENTS)
    if spacing is None and (root / (sidecar := sidecar_of(image))).is_file():
        spacing, source = _sidecar(root / sidecar, sidecar), "sidecar"
    return Sample(
        id=id,
        patient=patient,
        image=pixels,
        instances=masses_of(labels, mask, value, declared, "dataset.json"),
        side=side,
        view=view,
        density=None if density is None else int(density),
        spacing_mm=spacing,
        facts={"spacing_source": source, **facts},
    )


def masses_of(labels: np.ndarray, path: str, value: int, declared: Collection[int], where: str) -> np.ndarray:
    """The masses in an (H, W) mask of several labels. DataError for values that are not declared in `where`.

    Such values would be background in silence: a mask of 0 and 255 under {"mass": 1} would be empty.
    """
    if odd := [number for number in levels(labels).tolist() if number not in declared]:
        raise DataError(
            f"{path}: holds the values {odd[:6]}, which {where} does not declare ({sorted(declared)}): save the mask "
            "with the declared values, or declare these"
        )
    return to_instances((labels == value).astype(np.uint8), path)


def sidecar_of(image: str) -> str:
    """The json beside an image from which nnU-Net's TIFF reader takes the spacing: its name lacks the channel.

    >>> sidecar_of("imagesTr/case_0000.tif")
    'imagesTr/case.json'
    """
    path = Path(image)
    return path.with_name(f"{path.stem.removesuffix('_0000')}.json").as_posix()


def _sidecar(path: Path, file: str) -> tuple[float, float]:
    """Row and column spacing of a sidecar."""
    try:
        *_, row, col = map(float, json.loads(path.read_text())["spacing"])
        if not (0 < row < math.inf and 0 < col < math.inf):
            raise ValueError
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{file}: must hold a spacing of numbers above 0 ({type(error).__name__}): mend or remove it"
        ) from None
    return row, col
