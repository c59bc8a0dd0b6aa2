"""How long whole commands take: the report of many runs, and the dry run of a sweep."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Goal, Section, seconds, table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # made-up runs
from made_up_runs import system_rows, write_run
from massmatch.data import write_cohort
from massmatch.data.phantom import phantoms

LOSSES, SEEDS, FOLDS = 10, 4, 5
REAL = os.environ.get("MASSMATCH_REAL_COHORT", "")  # a folder of real mammograms, where there is one


def massmatch(*arguments: str) -> float:
    """Seconds of a command that succeeds."""
    return seconds(lambda: subprocess.run([sys.executable, "-m", "massmatch", *arguments], check=True, stdout=-3))


def report(root: Path, runs: int) -> float:
    """Seconds of the report on so many made-up runs."""
    for n in range(runs):
        loss, seed, fold = n % LOSSES, n // LOSSES % SEEDS, n // LOSSES // SEEDS
        rows = system_rows(f"loss{loss}", 0.01 * loss, folds=FOLDS, patients=400, seed=n)
        images = [name for name in rows if name not in ("system", "loss", "model", "width", "seed", "fold", "scheme")]
        write_run(
            root / "runs",
            rows=rows.loc[rows["fold"] == fold, images].drop(columns="train_images"),
            loss=("hybrid", *(f"tversky:fn_weight=0.{k}" for k in range(1, LOSSES)))[loss],
            seed=seed,
            fold=fold,
            folds=FOLDS,
        )
    return massmatch("report", str(root / "runs"), "--out", str(root / "report"))


def section(*, quick: bool = False) -> Section:
    """The chapter on commands."""
    runs = 20 if quick else LOSSES * SEEDS * FOLDS
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        of_report = report(root, runs)
        real = bool(REAL) and not quick
        cohort = Path(REAL) if real else root / "phantoms"
        if not real:
            write_cohort(phantoms(20, seed=0, size=64), cohort, reader="phantom", options={}, licence="made up")
        dry = massmatch("sweep", str(cohort), "--dry-run", "--losses", "bce", "--out", str(root / "swept"))
    what = "real mammograms" if real else "made-up images of 64 x 64"
    rows = [(f"report of {runs} runs, 10 000 draws", of_report), (f"sweep --dry-run, aunet of width 64, {what}", dry)]
    steps = "two thirds of it are the ten steps of the full network that find its fastest number format and layout"
    goals = [
        Goal(f"report of {runs} runs", 60, of_report, " s"),
        Goal(f"sweep --dry-run at its defaults, {what}", 20, dry, " s", steps),
    ]
    return Section("Whole commands", goals, table(("command", "seconds"), rows))
