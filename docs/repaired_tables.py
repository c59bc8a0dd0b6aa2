"""The tables of docs/results/soft_loss.md with several seeds or number formats, from the images of docs/results.

python docs/repaired_tables.py
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from massmatch.statistics.comparison import against
from massmatch.statistics.intervals import KEY, by_run, estimate, paired_difference

RESULTS = Path(__file__).parent / "results"
THREE_SEEDS = ("soft_matching_128.csv.gz", "three_folds_128.csv.gz")
FLOAT32 = ("float32_128.csv.gz",)
FULL = ("full_256.csv.gz",)
BASELINE = "hybrid"
TRAIN_IMAGES = 861  # 861 or 862 in each run
QUARTERS = ("smallest", "second", "third", "largest")


def systems(files: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The test images of every loss that was trained with all seeds, the best first, each with its quarter by size."""
    rows = pd.concat([pd.read_csv(RESULTS / name) for name in files]).drop_duplicates(["loss", *KEY])
    rows["train_images"] = TRAIN_IMAGES
    rows = rows[rows.groupby("loss")["seed"].transform("nunique") == rows["seed"].nunique()]
    size = rows.drop_duplicates(KEY).set_index(KEY)["mass_fraction"]
    quarter = pd.qcut(size, len(QUARTERS), labels=QUARTERS).rename("quarter")
    rows = rows.join(quarter, on=KEY)
    found = {str(name): of.reset_index(drop=True) for name, of in rows.groupby("loss")}
    return dict(sorted(found.items(), key=lambda each: -estimate(each[1], draws=1).value))


def overlap(of: dict[str, pd.DataFrame], by: str) -> None:
    """DSC and counts of each loss, and its difference to the baseline."""
    values = " / ".join(str(value) for value in sorted(of[BASELINE][by].unique()))
    print(f"| loss | DSC pooled | DSC | {by}s {values} | smallest to largest quarter | missed | predicted nothing "
          "| DSC minus `hybrid`: patients | trainings | p (Holm) |")  # fmt: skip
    print("| --- |" + " ---: |" * 9)
    lines = against(pd.concat([rows.assign(system=name) for name, rows in of.items()]), BASELINE).set_index("system")
    for name, rows in of.items():
        parts = by_run(rows).groupby(by).mean()
        quarters = [estimate(part, draws=1).value for _, part in rows.groupby("quarter", observed=True)]
        cells = [
            f"`{name}`",
            percent(estimate(rows, "dsc_pooled", draws=1).value),
            percent(by_run(rows).mean()),
            " / ".join(percent(value) for value in parts),
            ", ".join(percent(value) for value in quarters),
            str(rows["missed"].sum()),
            str(rows["prediction_empty"].sum()),
        ]
        if name != BASELINE:
            line = lines.loc[name]
            trainings = points(line["training_low"], line["training_high"])
            patients = f"{100 * line['difference']:+.1f} ({points(line['low'], line['high'])})"
            cells += [patients, trainings, probability(line["p_holm"])]
        print("| " + " | ".join([*cells, "", "", ""][:10]) + " |")


def masses_found(of: dict[str, pd.DataFrame]) -> None:
    """Masses found in percent and false pieces per image, in all images and by size, at each run's own threshold."""
    print("\n| loss | all | " + " | ".join(QUARTERS) + " | minus `hybrid`: patients | pieces false |")
    print("| --- |" + " ---: |" * 7)
    for name, rows in of.items():
        parts = [rows, *(part for _, part in rows.groupby("quarter", observed=True))]
        cells = [
            f"{percent(part['masses_found'].sum() / part['masses'].sum())} at {part['pieces_false'].mean():.1f}"
            for part in parts
        ]
        more = paired_difference(rows, of[BASELINE], "masses_found")
        told = "" if name == BASELINE else f"{100 * more.value:+.1f} ({points(more.low, more.high)})"
        print("| " + " | ".join([f"`{name}`", *cells, told, str(rows["pieces_false"].sum())]) + " |")


def against_r1(of: dict[str, pd.DataFrame]) -> None:
    """What each switch of the soft loss adds to R1 or takes from it, by its mean DSC."""
    print("\n| loss | DSC minus `soft-sm`: patients | trainings | p (Holm) |")
    print("| --- |" + " ---: |" * 3)
    switches = [rows.assign(system=name) for name, rows in of.items() if name.startswith("soft-sm")]
    for _, line in against(pd.concat(switches), "soft-sm").iterrows():
        patients = f"{100 * line['difference']:+.1f} ({points(line['low'], line['high'])})"
        print(f"| `{line['system']}` | {patients} | {points(line['training_low'], line['training_high'])} | "
              f"{probability(line['p_holm'])} |")  # fmt: skip


def percent(value: float) -> str:
    """With one decimal."""
    return f"{100 * value:.1f}"


def points(low: float, high: float) -> str:
    """An interval, in points."""
    return f"{percent(low)} to {percent(high)}"


def probability(p: float) -> str:
    """With two digits."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


if __name__ == "__main__":
    overlap(systems(THREE_SEEDS), "seed")
    against_r1(systems(THREE_SEEDS))
    masses_found(systems(THREE_SEEDS))
    for files in (FLOAT32, FULL):
        print()
        overlap(systems(files), "fold")
