"""A cohort as a raw dataset of nnU-Net v2, and back with the reader "nnunet".

nnU-Net's own folds are random per case; `splits_final.json` gives it ours, grouped by patient.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from massmatch.data.cohort import Cohort
from massmatch.data.folds import official_parts, require_folds, split
from massmatch.data.readers.nnunet import KNOWN, PATIENTS
from massmatch.errors import UsageError
from massmatch.hold import held

NAME = re.compile(r"Dataset\d{3}_\w+")
CASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def export_nnunet(cohort: Cohort, out: Path, *, folds: int = 5, seed: int = 0) -> Path:
    """Write a cohort as a raw dataset; images of the part "test" (`official_parts`) go to imagesTs and labelsTs.

    Masks hold 0 and 1. `patients.csv` keeps ids, patients and facts; `splits_final.json` has `folds` folds by patient,
    to be copied into nnUNet_preprocessed/DatasetXXX_Name after planning.

    Raises UsageError for a folder that nnU-Net would not find, or that is not empty, for fewer than two folds, and for
    parts that the scheme "official" refuses.
    """
    require_folds(folds, seed)
    parts = official_parts(cohort.table)
    if not NAME.fullmatch(out.name):
        raise UsageError(f"{out.name}: nnU-Net wants a folder named like Dataset101_Mass: choose such a name")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty: remove it or choose another folder")
    part = out.with_name(f"{out.name}.part")
    out.parent.mkdir(parents=True, exist_ok=True)
    with held(part, out.with_name(f".{out.name}.lock")):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        _write_dataset(cohort, part, parts, folds, seed)
        if out.exists():
            out.rmdir()
        part.rename(out)
    return out


def _write_dataset(cohort: Cohort, part: Path, parts: pd.Series | None, folds: int, seed: int) -> None:
    """Write all files of an nnU-Net dataset into the folder `part`: cases, splits and the key to the ids."""
    table = cohort.table.assign(case=_case_names(cohort.ids))
    test = pd.Series(False, table.index) if parts is None else parts == "test"
    for suffix, rows in (("Tr", table[~test]), ("Ts", table[test])):
        if len(rows):
            _write_cases(cohort, part, suffix, rows)
    training = table[~test]
    _write_json(part / "splits_final.json", _splits(cohort, training, folds, seed))
    columns = [name for name in ("case", "id", "patient", *KNOWN) if name in table]
    table[columns].to_csv(part / PATIENTS, index=False)
    _write_json(
        part / "dataset.json",
        {
            "channel_names": {"0": "mammogram"},  # no special name: nnU-Net normalises by z-score
            "labels": {"background": 0, "mass": 1},
            "numTraining": len(training),
            "file_ending": ".png",
            "licence": cohort.licence,
        },
    )


def _case_names(ids: list[str]) -> list[str]:
    """Ids that can be case names as they are; others with _ for what nnU-Net cannot have, and a number on a clash."""
    names: list[str] = []
    for id in ids:
        name = id if CASE.fullmatch(id) else re.sub(r"[^A-Za-z0-9_-]+", "_", id).strip("_-") or "case"
        if name in names or (name != id and name in ids):
            name = f"{name}_{len(names):04}"
        names.append(name)
    return names


def _write_cases(cohort: Cohort, part: Path, suffix: str, rows: pd.DataFrame) -> None:
    images, labels = part / f"images{suffix}", part / f"labels{suffix}"
    images.mkdir()
    labels.mkdir()
    for id, case in zip(rows["id"], rows["case"], strict=True):
        sample = cohort.load(id)
        Image.fromarray(sample.image).save(images / f"{case}_0000.png")
        Image.fromarray(sample.mask.astype(np.uint8)).save(labels / f"{case}.png")


def _splits(cohort: Cohort, training: pd.DataFrame, folds: int, seed: int) -> list[dict[str, list[str]]]:
    """Each case is held out once; nnU-Net knows two parts, so that ours for validation trains."""
    case = dict(zip(training["id"], training["case"], strict=True))
    masses = cohort.mass_fraction[training["id"]]
    found = []
    for fold in range(folds):
        parts = split(training, masses, scheme="kfold", fold=fold, folds=folds, seed=seed)
        held = [case[id] for id in parts.test]
        found.append({"train": [case[id] for id in training["id"] if case[id] not in held], "val": held})
    return found


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
