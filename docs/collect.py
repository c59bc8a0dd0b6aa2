"""Collects the test images of finished runs in one table that outlives the run folders.

    python docs/collect.py RUNS... --into docs/results/table_128.csv.gz

A run that the table holds already is not added again, so the same command may follow every hour of a sweep, and runs of
several machines end up in one table. Runs are the same if they agree in all settings, loss, network, width, seed and
fold. A run that was trained a second time and came out differently is named and left out: the first one stays.
"""

import argparse
import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from massmatch.runs.atomic import write_atomic
from massmatch.runs.collection import NEUTRAL, VARIED, Run, collect
from massmatch.runs.experiment import Experiment

KEY = ["loss", "model", "width", "seed", "fold", "settings"]  # one run
TEXT = {"id": str, "patient": str, "settings": str, "computed": str}  # columns in which numbers and "NA" are names
MEASURED = [
    *("id", "patient", "mass_fraction", "dsc", "sen", "acc", "delta_a", "hau_px", "hau95_px"),
    *("tp", "fp", "fn", "tn", "rows", "cols", "truth_empty", "prediction_empty", "missed"),
    *("masses", "masses_found", "pieces", "pieces_false"),
]
DIGITS = 6  # of fractions and distances; all overlap metrics follow exactly from the counts beside them


def rows_of(run: Run) -> pd.DataFrame:
    """A row per test image of the run, and in each what is known of the run.

    val_dsc_pooled and val_threshold are those of the best epoch, whose weights were tested; val_epoch is its number.
    `settings` and `computed` are JSON: what must agree between runs that are compared, and what the run was computed
    with. Where the cohort lay is left out: it holds for one machine alone.
    """
    best = run.history.loc[run.history["val_dsc_pooled"][::-1].idxmax()]  # the last of equally good ones, as trained
    resolved = run.experiment.get("resolved", {})
    computed = {name: value for name, value in resolved.items() if name != "cohort_path"}
    known = {
        **{name: getattr(run, name) for name in ("loss", "model", "width", "seed", "fold")},
        "train_images": resolved.get("images", {}).get("train"),
        "epochs_done": len(run.history),
        "val_epoch": int(best["epoch"]),
        "val_dsc_pooled": round(float(best["val_dsc_pooled"]), DIGITS),
        "val_threshold": best.get("val_threshold"),
        "settings": json.dumps(run.facts | _start(run.experiment), sort_keys=True),
        "computed": json.dumps(computed, sort_keys=True),
    }
    return run.rows[MEASURED].round(DIGITS).assign(**known)[[*known, *MEASURED]]


def read_table(path: Path) -> pd.DataFrame:
    """The table at `path`, with the settings of each row as they are told today."""
    table = pd.read_csv(path, dtype=TEXT, keep_default_na=False, na_values={"val_threshold": [""], "hau_px": [""]})
    return table.assign(settings=table["settings"].map({text: _as_today(text) for text in table["settings"].unique()}))


def _start(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """What the training started from, where that was not chance: another start is another run."""
    start = {name: experiment.get(name) for name in ("start", "start_sha256")}
    return {name: value for name, value in start.items() if value not in (None, "random")}


def _as_today(settings: str) -> str:
    """An option that came later than the row has its default, and what no longer must agree is left out."""
    defaults = {name: of.default for name, of in Experiment.model_fields.items() if not of.is_required()}
    known = {**defaults, **json.loads(settings)}
    kept = {k: v for k, v in known.items() if k not in (*VARIED, *NEUTRAL)}
    return json.dumps(kept | _start(known), sort_keys=True)


def merge(table: pd.DataFrame, more: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The table with the runs of `more` that it lacks; which were added; which it holds with other values."""
    held = dict(list(table.groupby(KEY))) if len(table) else {}
    added, differ, parts = [], [], [table] if len(table) else []
    for key, rows in more.groupby(KEY):
        name = f"{key[0]}, seed {key[3]}, fold {key[4]}"
        if key not in held:
            added.append(name)
            parts.append(rows)
        elif not _same(held[key], rows):
            differ.append(name)
    whole = pd.concat(parts, ignore_index=True).sort_values([*KEY, "id"], kind="stable", ignore_index=True)
    return whole, added, differ


def _same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether both hold the same counts for the same images."""
    counts = ["id", "tp", "fp", "fn"]
    return one[counts].sort_values("id").to_numpy().tolist() == other[counts].sort_values("id").to_numpy().tolist()


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write it so that a crash leaves the old file, and so that the same table is the same file."""
    text = io.StringIO()
    table.to_csv(text, index=False)
    write_atomic(path, gzip.compress(text.getvalue().encode(), mtime=0))


def main(arguments: list[str] | None = None) -> None:
    """Add the finished runs and say which they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, or folders that hold such folders")
    parser.add_argument("--into", type=Path, required=True, help="the table, a .csv.gz file; made if it is not there")
    given = parser.parse_args(arguments)
    found = collect(*given.runs)
    if not found.finished:
        raise SystemExit(f"no run is finished yet; {len(found.unfinished)} have begun")
    table = read_table(given.into) if given.into.is_file() else pd.DataFrame()
    table, added, differ = merge(table, pd.concat([rows_of(run) for run in found.finished], ignore_index=True))
    if added:
        write_table(given.into, table)
    said = [f"added: {name}" for name in added]
    said += [f"left out, since the table holds it with other values: {name}" for name in differ]
    print(*said, f"{given.into}: {table.groupby(KEY).ngroups} runs, {len(table)} images", sep="\n")


if __name__ == "__main__":
    main()
