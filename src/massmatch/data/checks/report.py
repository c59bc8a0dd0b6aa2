"""What makes results wrong, looked for in a whole cohort: leakage, duplicates, odd masks, sizes, spacing.

Every image is read once. Errors are what must be mended before a training means anything, warnings what one should
look at, notes what one should know.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from massmatch.data.checks.appearance import Look, look
from massmatch.data.checks.counts import counted
from massmatch.data.cohort import Cohort
from massmatch.data.errors import DataError
from massmatch.data.folds import SCHEMES, require_folds, split
from massmatch.data.masks import FRAMED, INVERTED, LARGE, speck_limit
from massmatch.data.preprocessing.frame import LEAST_GREYS, SQUEEZED

SEVERITIES = ("error", "warning", "note")
ALIKE = 0.998  # correlation of thumbnails; the most alike of 1231 real images of other women reach 0.992
OFF = 0.5  # share of a mass on air
SATURATED = 0.2  # share of the breast at the highest grey
SPACINGS = (0.01, 2.0)  # mm: detectors have 0.02 to 0.1, images resized to 256 pixels about 1
PERSON = re.compile(r"P_\d{5}|[0-9a-f]{16}")  # how CBIS-DDSM and INbreast name patients
SIDE = re.compile(r"(?:^|_)(LEFT|RIGHT|L|R)(?:_|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """One thing that was found, in one line, with the images that it concerns."""

    name: str
    severity: str
    text: str
    ids: list[str]

    @property
    def count(self) -> int:
        """How many images the finding concerns."""
        return len(self.ids)


@dataclass(frozen=True)
class Report:
    """Findings, errors first, and counts."""

    findings: list[Finding]
    facts: dict[str, Any]


def check(cohort: Cohort, *, folds: int = 5, seed: int = 0, tick: Callable[[], None] = lambda: None) -> Report:
    """Look at every image of a cohort, and at what its table says. `tick` is called after each image.

    Raises UsageError for fewer than two folds.
    """
    require_folds(folds, seed)
    looks, unreadable = [], {}
    for id in cohort.ids:
        try:
            looks.append(look(cohort.load(id)))
        except DataError as error:
            unreadable[id] = str(error)
        tick()
    table = cohort.table.set_index("id", drop=False)
    found = [Finding("unreadable", "error", text, [id]) for id, text in unreadable.items()]
    for probe in (_images, _masks, _counts, _duplicates, _patients, _sides, _spacing, _density):
        found += probe(looks, table)
    if not unreadable:
        found += _leakage(cohort, folds, seed)
    found = sorted((f for f in found if f.ids), key=lambda f: SEVERITIES.index(f.severity))
    return Report(found, counted(looks, table))


def _if(name: str, severity: str, text: str, looks: Iterable[Look], holds: Callable[[Look], bool]) -> Finding:
    """A finding on the images for which something holds; it is dropped where there are none."""
    return Finding(name, severity, text, [x.id for x in looks if holds(x)])


# --- single images ---------------------------------------------------------------------------------------------------


def _images(looks: list[Look], table: pd.DataFrame) -> Iterator[Finding]:
    yield _if("even-image", "error", "images without any contrast: replace them", looks, lambda x: x.even)
    yield _if("polarity", "warning", "air is brighter than the breast: inverted images?", looks, lambda x: x.inverted)
    text = "a white run at the left or right edge: the border of a film; it is in every network's view"
    yield _if("bright-edge", "note", text, looks, lambda x: x.bright_edge)
    text = (
        f"{SQUEEZED} has less than {100 * LEAST_GREYS:.0f} % of the greys: give it the grey of the air, or prepare "
        "with --range breast"
    )
    yield _if("squeezed", "warning", text, looks, lambda x: x.greys < LEAST_GREYS)
    text = f"more than {100 * SATURATED:.0f} % of the breast at the highest grey: clipped?"
    yield _if("saturated", "warning", text, looks, lambda x: x.saturated > SATURATED)
    sizes = Counter(x.shape for x in looks)
    if len(sizes) > 1:
        usual = sizes.most_common(1)[0][0]
        text = f"{len(sizes)} sizes of images, which cannot share a batch: prepare them with one --size"
        yield _if("sizes", "warning", text, looks, lambda x: x.shape != usual)


def _masks(looks: list[Look], table: pd.DataFrame) -> Iterator[Finding]:
    none = [x.id for x in looks if not x.areas]
    if looks and len(none) == len(looks):
        yield Finding("no-mass", "error", "no mask holds a mass: nothing can be learned", none)
    else:
        yield Finding("without-mass", "note", "images without a mass", none)
    limits = sorted({speck_limit(x.shape) for x in looks})
    pixels = " to ".join(map(str, [*limits[:1], *limits[1:][-1:]]))
    text = f"masks with a piece of fewer than {pixels} pixels: slips of the hand? They size the grid of the SM loss"
    yield _if("specks", "warning", text, looks, lambda x: any(area < speck_limit(x.shape) for area in x.pieces))
    text = "a mass lies for the most part on air: another image's mask, or a flipped one?"
    yield _if("off-breast", "warning", text, looks, lambda x: any(share > OFF for share in x.off_breast))
    text = f"masses cover more than a quarter of the image: {INVERTED}"
    yield _if("large", "warning", text, looks, lambda x: sum(x.areas) > LARGE * x.shape[0] * x.shape[1])
    text = (
        "a label lies in pieces far apart, which count as one mass: classes instead of masses? Then give each its own"
    )
    yield _if("scattered", "note", text, looks, lambda x: x.scattered)
    yield _if("frame", "warning", f"a mass {FRAMED}", looks, lambda x: x.framed)


def _counts(looks: list[Look], table: pd.DataFrame) -> Iterator[Finding]:
    """What the csv says of a mask, against its pixels; where they are those that it speaks of."""
    if "crop_rows" in table:
        sides = ["native_rows", "native_cols", "crop_rows", "crop_cols"]
        native_and_cut = table[sides].astype(int).apply(tuple, axis=1).to_dict()
        whole = [x for x in looks if native_and_cut[x.id] == x.shape * 2]
    else:
        whole = looks
    for column, of, text in (
        ("mask_px", lambda x: sum(x.areas), "the csv's mask_px is not the area of the mask"),
        ("n_components", lambda x: len(x.pieces), "the csv's n_components is not the number of pieces of the mask"),
    ):
        if column in table:
            said = table[column].dropna().to_dict()
            wrong = [x.id for x in whole if x.id in said and int(said[x.id]) != of(x)]
            yield Finding(f"csv-{column.replace('_', '-')}", "warning", text, wrong)
    if "n_abnormalities" in table:
        said = table["n_abnormalities"].dropna().astype(int).to_dict()
        fewer = [x.id for x in looks if len(x.areas) < said.get(x.id, 0)]
        more = [x.id for x in looks if x.id in said and len(x.areas) > said[x.id]]
        yield Finding(
            "merged-masses", "note", "fewer masses than the csv's n_abnormalities: touching ones count as one", fewer
        )
        yield Finding("split-masses", "note", "more masses than the csv's n_abnormalities: one in several pieces", more)


# --- pairs of images -------------------------------------------------------------------------------------------------


def _duplicates(looks: list[Look], table: pd.DataFrame) -> Iterator[Finding]:
    patient = table["patient"]
    same = _groups(looks, lambda x: x.image_digest)
    between = [ids for ids in same if patient[ids].nunique() > 1]
    text = "the same pixels under several patients: they may stand in training and test at once"
    yield Finding("duplicates-of-patients", "error", text, [id for ids in between for id in ids])
    text = "the same pixels twice, of one patient: a mass counts twice"
    yield Finding("duplicates", "warning", text, [id for ids in same if ids not in between for id in ids])
    masks = _groups((x for x in looks if x.areas), lambda x: x.mask_digest)
    known = {frozenset(ids) for ids in same}
    text = "the same mask on different images: whose is it?"
    yield Finding("same-mask", "warning", text, [id for ids in masks if frozenset(ids) not in known for id in ids])
    near = [pair for pair in alike(looks) if not any(set(pair) <= set(ids) for ids in same)]
    text = "nearly the same image, perhaps flipped, under several patients: look at the pairs"
    yield Finding("alike-of-patients", "warning", text, _flat(p for p in near if patient[list(p)].nunique() > 1))
    text = "nearly the same image twice, perhaps flipped, of one patient"
    yield Finding("alike", "note", text, _flat(p for p in near if patient[list(p)].nunique() == 1))


def _flat(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(id for pair in pairs for id in pair))


def _groups(looks: Iterable[Look], key: Callable[[Look], str]) -> list[list[str]]:
    """Ids that share a key, where several do."""
    groups: dict[str, list[str]] = defaultdict(list)
    for x in looks:
        groups[key(x)].append(x.id)
    return [ids for ids in groups.values() if len(ids) > 1]


def alike(looks: list[Look], block: int = 1024) -> list[tuple[str, str]]:
    """Pairs whose thumbnails correlate, as they are or mirrored, in blocks so that memory does not grow."""
    clear = [x for x in looks if x.thumb.any()]
    if not clear:
        return []
    thumbs = np.stack([x.thumb.ravel() for x in clear])
    mirrored = np.stack([x.thumb[:, ::-1].ravel() for x in clear])
    found = []
    for start in range(0, len(clear), block):
        rows = thumbs[start : start + block]
        near = np.maximum(rows @ thumbs.T, rows @ mirrored.T) > ALIKE
        found += [(clear[start + i].id, clear[j].id) for i, j in np.argwhere(near) if start + i < j]
    return found


# --- patients, sides, spacing, density -------------------------------------------------------------------------------


def _patients(looks: list[Look], table: pd.DataFrame) -> Iterator[Finding]:
    people = {id: m[0] for id in table["id"] if (m := PERSON.search(id))}
    by_person: dict[str, list[str]] = defaultdict(list)
    for id, person in people.items():
        by_person[person].append(id)
    several = [id for ids in by_person.values() if table.loc[ids, "patient"].nunique() > 1 for id in ids]
    text = "ids name one patient, but the column patient has several: images of one woman may be trained and tested on"
    yield Finding("patients-split", "error", text, several)
    alone = (table["patient"] == table["id"]).all() and len(table) > 1
    text = "every image counts as a patient of its own: give a column patient, or images of one woman may leak"
    yield Finding("no-patients", "warning", text, table["id"].tolist() if alone else [])


def _sides(looks: list[Look], table: pd.DataFrame) -> Iterator[Finding]:
    named = {id: m[1][0].upper() for id in table["id"] if (m := SIDE.search(id))}
    wrong = [id for id, side in named.items() if table.at[id, "side"] in ("L", "R") and table.at[id, "side"] != side]
    yield Finding("side-of-name", "warning", "the column side contradicts the id", wrong)
    clear = [x for x in looks if not x.even]
    faces = Counter(x.chest for x in clear)
    sides = table.loc[[x.id for x in clear], "side"].dropna()
    if len(clear) > 3 and len(faces) == 1 and sides.nunique() == 2:
        side = next(iter(faces))
        yield Finding(
            "one-way",
            "note",
            f"left and right breasts all have the chest wall on the {side}: flipped",
            [x.id for x in clear],
        )
    elif len(clear) > 3 and sides.nunique() == 2:
        usual = Counter((table.at[x.id, "side"], x.chest) for x in clear).most_common(2)
        expected = dict(pair for pair, _ in usual)
        if len(expected) == 2 and len(set(expected.values())) == 2:
            odd = [x.id for x in clear if expected.get(table.at[x.id, "side"], x.chest) != x.chest]
            yield Finding(
                "facing", "warning", "the chest wall is on the other side than in most images of this side", odd
            )


def _spacing(looks: list[Look], table: pd.DataFrame) -> Iterator[Finding]:
    spacing = table[["spacing_row_mm", "spacing_col_mm"]].astype(float)
    unknown = spacing.isna().any(axis=1)
    yield Finding(
        "no-spacing", "note", "no spacing is known: distances are in pixels only", table["id"][unknown].tolist()
    )
    native = spacing.copy()
    if "crop_rows" in table:
        shapes = pd.DataFrame([x.shape for x in looks], index=[x.id for x in looks], columns=["rows", "cols"])
        native["spacing_row_mm"] *= shapes["rows"] / table["crop_rows"]
        native["spacing_col_mm"] *= shapes["cols"] / table["crop_cols"]
    absurd = ~unknown & ~((native > SPACINGS[0]) & (native < SPACINGS[1])).all(axis=1)
    text = f"a spacing outside of {SPACINGS[0]} to {SPACINGS[1]} mm: in other units?"
    yield Finding("absurd-spacing", "warning", text, table["id"][absurd].tolist())
    ratio = native["spacing_row_mm"] / native["spacing_col_mm"]
    uneven = ~unknown & ((ratio - 1).abs() > 0.01)
    yield Finding("anisotropic", "note", "native pixels are not square", table["id"][uneven].tolist())


def _density(looks: list[Look], table: pd.DataFrame) -> Iterator[Finding]:
    number = pd.to_numeric(table["density"], errors="coerce")
    if number.notna().any():
        text = "no density: losses that need it will refuse these images"
        yield Finding("no-density", "note", text, table["id"][number.isna()].tolist())
        several = table.assign(number=number).groupby("patient")["number"].transform("nunique") > 1
        yield Finding("densities", "note", "patients with images of several densities", table["id"][several].tolist())


def _leakage(cohort: Cohort, folds: int, seed: int) -> Iterator[Finding]:
    """Patients in two parts, for every scheme that the cohort has."""
    patient = cohort.table.set_index("id")["patient"]
    for scheme in SCHEMES:
        if scheme == "official" and "split" not in cohort.table and "official_split" not in cohort.table:
            continue
        for fold in range(1 if scheme in ("split", "official") else folds):
            try:
                parts = split(cohort.table, cohort.mass_fraction, scheme=scheme, fold=fold, folds=folds, seed=seed)
            except ValueError as error:
                severity = "error" if scheme in ("kfold", "official") else "note"
                yield Finding("folds", severity, f"scheme {scheme} is not possible: {error}", cohort.ids)
                break
            shared = {p for a, b in combinations(parts, 2) for p in set(patient[a]) & set(patient[b])}
            leaking = [id for id in cohort.ids if patient[id] in shared]
            yield Finding("leakage", "error", f"scheme {scheme}, fold {fold}: patients in two parts", leaking)
