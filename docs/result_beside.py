"""Single trainings beside one of the large table: readings of the paper, systems of its Table 2, parts of a recipe."""

import json
from typing import Any

import pandas as pd

from massmatch.statistics.comparison import against
from massmatch.statistics.intervals import estimate

NETWORK = "aunet"  # of the large table


def beside(rows: pd.DataFrame, table: pd.DataFrame, reference: str) -> pd.DataFrame:
    """The rows of single trainings and, of the large table, those of the loss `reference` on the same folds and seeds.

    `system` is the loss, with the network and each setting that differs from the training of the reference.
    """
    base = table[table["loss"] == reference].merge(rows[["seed", "fold"]].drop_duplicates(), on=["seed", "fold"])
    usual = json.loads(base["settings"].iloc[0])
    changed = {
        text: [f"{name} {value}" for name, value in json.loads(text).items() if value != usual.get(name)]
        for text in rows["settings"].unique()
    }
    names = [
        ", ".join([loss, *([] if network == NETWORK else [network]), *changed[settings]])
        for loss, network, settings in zip(rows["loss"], rows["model"], rows["settings"], strict=True)
    ]
    return pd.concat([base.assign(system=reference), rows.assign(system=names)], ignore_index=True)


def beside_lines(rows: pd.DataFrame, reference: str) -> tuple[list[str], list[list[str]]]:
    """A line per training, the reference first, the others by the pooled DSC of the validation part."""
    head = ["training", "validation, pooled", "DSC", "DSC pooled", "missed", f"DSC minus `{reference}`"]
    known = against(rows, reference).set_index("system")
    lines = {}
    for name, of in rows.groupby("system"):
        validation = 100 * of.drop_duplicates(["seed", "fold"])["val_dsc_pooled"].mean()
        scores = [f"{100 * estimate(of, metric, draws=1).value:.1f}" for metric in ("dsc", "dsc_pooled")]
        told = "" if name == reference else in_points(known.loc[name])
        lines[name != reference, -validation, name] = [
            f"`{name}`",
            f"{validation:.1f}",
            *scores,
            str(of["missed"].sum()),
            told,
        ]
    return head, [lines[key] for key in sorted(lines)]


def in_points(line: Any) -> str:
    """The difference of a line of `against`, in points, with its 95 % interval over the patients."""
    return f"{100 * line.difference:+.1f} ({100 * line.low:.1f} to {100 * line.high:.1f})"
