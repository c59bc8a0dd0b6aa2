"""Masses rather than pixels in a report: FROC curves, false alarms on images without mass."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from massmatch.metrics import FLOOR, RATES, cpm, froc, sensitivity_at
from massmatch.reports.blocks import Block, Chart, Heading, Lines, Words, table
from massmatch.reports.charts import axis, panel, percent
from massmatch.reports.subject import Subject, listed
from massmatch.reports.tables import other_runs
from massmatch.runs.collection import systems
from massmatch.statistics.froc import DRAWS, with_limits
from massmatch.statistics.intervals import by_run

PER = ("fp_per_image", "fp_per_normal")  # the second where there are images without mass
MOST_FALSE = 8.0  # per image: the highest rate of the CPM, and the end of the curves' axis


def froc_curves(of: Subject) -> list[Block]:
    """The FROC curve of every system with candidates and its sensitivities, or a sentence that says why there are
    none.
    """
    curves = _curves(of)
    lacking = [system for system in of.order if system not in curves]
    if not curves:
        return [Words("No FROC curve: the runs hold no candidates.csv. `massmatch evaluate RUN COHORT` writes it.")]
    words = [Words(f"Without candidates.csv, and so not shown: {listed(lacking)}.")] if lacking else []
    most = max(of.curve["fp_per_image"].max() for of in curves.values())
    false = axis([0.0, min(max(most, 1.0), MOST_FALSE)], most=5)
    share = axis([0.0, 1.0], percent=True, most=5)
    panels = []
    for system, (curve, *_) in curves.items():
        lines = [("faint", other, *_steps(points.curve)) for other, points in curves.items() if other != system]
        lines.append(("strong", system, *_steps(curve)))
        says = f"mean sensitivity at 1/8 to 8 false candidates per image (CPM) {percent(cpm(curve))} %"
        panels.append(
            panel(system, lines, false, share, labels=("false candidates per image", "masses found, %"), says=says)
        )
    return [
        Heading("FROC: masses found against false candidates"),
        *words,
        *([Lines(above, kind="warning")] if (above := understated(of)) else []),
        Chart(
            "FROC curves.",
            f"Each connected region of the probability map above {FLOOR:g} is cut at half of its own maximum; a "
            "candidate is a piece that is left, its score its highest probability. The threshold of the run plays no "
            f"part. Where plain tissue gets more than {FLOOR:g}, the breast is one region, and one candidate if no "
            f"peak is twice as high; a network that stays below {FLOOR:g} has no candidate. A candidate "
            "finds a mass if their IoU is at least 0.2. The curve of each loss is strong in its own panel and faint in "
            "the others. A curve that begins with a step: so many candidates share the highest score that none tells "
            "them apart. Images of all folds and seeds together.",
            panels=panels,
        ),
        *(_sensitivities(curves, per) for per in PER if all(of.curve[per].notna().all() for of in curves.values())),
    ]


def understated(of: Subject) -> list[str]:
    """A sentence for each system that found more masses at its threshold than its FROC shows at as many false ones."""
    told = []
    for system, (curve, _, rows) in _curves(of).items():
        if "pieces_false_iou20" not in rows or not rows["masses"].sum():
            continue
        share, false = rows["masses_found"].sum() / rows["masses"].sum(), rows["pieces_false_iou20"].sum() / len(rows)
        on_curve = sensitivity_at(curve, false)
        if round(share, 3) > round(on_curve, 3):  # as they are shown
            told.append(
                f"The FROC understates {system}: with its threshold it found {percent(share)} % of the masses of all "
                f"its runs together, with {false:.1f} false pieces per image, but its curve has {percent(on_curve)} % "
                "at as many false candidates, since these do not follow the threshold."
            )
    return told


class Froc(NamedTuple):
    """The FROC curve of one system, and the candidates and images that it is made of."""

    curve: pd.DataFrame
    pieces: pd.DataFrame
    rows: pd.DataFrame


def _curves(of: Subject) -> dict[str, Froc]:
    named = zip(of.runs, systems(of.runs), strict=True)
    has = {(run.seed, run.fold, system) for run, system in named if run.candidates is not None}
    if not has:
        return {}
    pieces = of.candidates  # without a row where all networks stay below FLOOR
    keys = zip(*(of.rows[name] for name in ("seed", "fold", "system")), strict=True)
    rows = of.rows[[key in has for key in keys]]
    shown = [system for system in of.order if system in set(rows["system"])]
    return {s: _froc(pieces[pieces["system"] == s], rows[rows["system"] == s]) for s in shown}


def _froc(pieces: pd.DataFrame, rows: pd.DataFrame) -> Froc:
    pieces, rows = _unique(pieces), _unique(rows)
    return Froc(froc(pieces, rows), pieces, rows)


def _unique(rows: pd.DataFrame) -> pd.DataFrame:
    """An image tested in several runs is an image of each."""
    return rows.assign(id=rows["seed"].astype(str) + "/" + rows["fold"].astype(str) + "/" + rows["id"])


def _steps(curve: pd.DataFrame) -> tuple[list[float], list[float]]:
    """As a staircase up to MOST_FALSE: between two thresholds nothing is known to be found."""
    inside = curve[curve["fp_per_image"] <= MOST_FALSE]
    found = inside.groupby("fp_per_image")["sensitivity"].max()
    xs, ys = [0.0], [float(found.iloc[0])]
    for x, y in found[found.diff() > 0].items():  # only where it rises: thousands of candidates find nothing
        xs, ys = [*xs, float(x), float(x)], [*ys, ys[-1], float(y)]  # type: ignore[arg-type]
    end = MOST_FALSE if len(inside) < len(curve) else float(found.index[-1])
    return [*xs, end], [*ys, ys[-1]]


def _sensitivities(curves: Mapping[str, Froc], per: str) -> Block:
    """At the rates of the CPM, and their mean with its interval."""
    lines = []
    for system, of in curves.items():
        found = with_limits(of.pieces, of.rows, per)
        line: dict[str, Any] = {"system": system}
        for rate, cell in found.iterrows():
            name = "cpm" if rate == "cpm" else f"at_{rate:g}"
            line |= {name: cell["value"], f"{name}_low": cell["low"], f"{name}_high": cell["high"]}
        ends = " to ".join(percent(line[f"cpm_{end}"]) for end in ("low", "high"))
        lines.append({**line, "interval": "–" if pd.isna(line["cpm_low"]) else ends})
    columns = {
        "system": ("loss", ""),
        **{f"at_{rate:g}": (f"at {_fraction(rate)}", "%1") for rate in RATES},
        "cpm": ("mean (CPM)", "%1"),
        "interval": ("95 % interval", ""),
    }
    normal = per == "fp_per_normal"
    title = f"Masses found, in percent, at so many false candidates per image{' without mass' if normal else ''}"
    note = (
        "The largest sensitivity of the curve at no more than that rate; nothing is interpolated. Interval: bootstrap "
        f"over patients, {DRAWS} draws, the networks as trained.{other_runs({s: of.rows for s, of in curves.items()})}"
    )
    return table("froc_normal" if normal else "froc", title, pd.DataFrame(lines), columns, note=note)


def _fraction(rate: float) -> str:
    return f"{rate:g}" if rate >= 1 else f"1/{1 / rate:g}"


def normal_images(of: Subject) -> list[Block]:
    """How much is predicted on images without mass, or a sentence that says that no such image was tested."""
    normal = of.rows[of.rows["truth_empty"].astype(bool)]
    heading = Heading("False alarms on images without mass")
    if normal.empty:
        return [heading, Words("Every test image holds a mass: nothing is known about false alarms on normal ones.")]
    numbers = pd.DataFrame([{"system": s, **_alarms(normal[normal["system"] == s])} for s in of.order])
    columns = {
        "system": ("loss", ""),
        "images": ("normal images", "d"),
        "alarmed": ("with an alarm, %", "%1"),
        "pieces": ("false pieces per normal image", "f2"),
        "area_px": ("mean false area, px", "f1"),
        "area_mm2": ("mean false area, mm²", "f1"),
    }
    note = "An alarm: any predicted pixel. Mean over runs; images are counted once per run."
    known = numbers.dropna(axis="columns", how="all")
    return [heading, table("normal_images", "Images without mass", known, columns, note=note)]


def _alarms(rows: pd.DataFrame) -> dict[str, float]:
    """Means over runs, as in all tables: runs have different numbers of images without mass."""
    shown = {"alarmed": "false_alarms", "pieces": "pieces_false", "area_px": "fp", "area_mm2": "fp_area_mm2"}
    known = {name: key for name, key in shown.items() if key == "false_alarms" or key in rows}
    return {"images": len(rows), **{name: float(by_run(rows, key).mean()) for name, key in known.items()}}
