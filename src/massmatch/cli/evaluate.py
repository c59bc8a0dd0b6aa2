"""The command `evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from massmatch.cli.screen import show, told, watching


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or a weights file.")],
    cohort: Annotated[Path, typer.Argument(help="A prepared cohort, or a folder with images/ and masks/.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for rows.csv and predictions of all images of another cohort.")
    ] = None,
) -> None:
    """Measure a run's weights again on its test part, or, with --out, on every image of another cohort."""
    with told():
        from massmatch.data import open_cohort
        from massmatch.inference.predict import load_network
        from massmatch.training import evaluate as measuring
        from massmatch.training.evaluate import evaluate_run

        opened = open_cohort(cohort)
        if out is None:
            if not (run / "experiment.yaml").is_file():
                raise FileNotFoundError(f"{run} is no run's folder; for a weights file give --out DIR")
            with watching(run.parent.name) as watch:
                evaluate_run(run, opened, watch)
            show([run])
            return
        model, facts = load_network(run)
        rows = measuring.evaluate(model, opened, opened.ids, facts["threshold"], out=out / "predictions")
        measuring.write_rows(out / "rows.csv", rows)
        show([out])
