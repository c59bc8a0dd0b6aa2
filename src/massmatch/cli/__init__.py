"""The command line. Each command imports what it needs when it runs, so that --help needs no torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from massmatch.cli.datasets import check, export_nnunet, prepare
from massmatch.cli.losses import losses
from massmatch.cli.nnunet import nnunet
from massmatch.cli.screen import screen, show, told, watching

if TYPE_CHECKING:
    from massmatch.training.experiment import Experiment

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Breast mass segmentation on whole mammograms, and a fair comparison of the losses. "
    "For research, not for diagnosis.",
)
CohortArgument = Annotated[Path, typer.Argument(help="A prepared cohort, or a folder with images/ and masks/.")]
Runs = Annotated[Path, typer.Option("--out", help="Where the folders of runs are.")]


@app.command()
def models() -> None:
    """List the networks: parameters and floating point operations for one image of 256 x 256."""
    from rich.table import Table

    from massmatch.models import MODELS
    from massmatch.models.cost import cost, published_width

    table = Table("network", "width", "million parameters", "GFLOP", box=None, pad_edge=False)
    for name, network in MODELS.items():
        for width in (8, published_width(network)):
            parameters, operations = cost(network, width)
            table.add_row(name, str(width), f"{parameters / 1e6:.2f}", f"{operations / 1e9:.1f}")
    screen.print(table)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="The cohort's folder.")],
    patients: Annotated[int, typer.Option(help="How many made-up women, with 2 to 4 images each.")] = 50,
    seed: Annotated[int, typer.Option(help="The same seed makes the same images.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the square images in pixels.")] = 256,
    normal_fraction: Annotated[float, typer.Option(help="Share of the images without mass.")] = 0.15,
) -> None:
    """Make a cohort of made-up mammograms."""
    with told():
        cohort = make_phantoms(out, patients, seed, size, normal_fraction)
        screen.print(f"{len(cohort)} images of {cohort.table['patient'].nunique()} made-up patients in {out}")


app.add_typer(losses, name="losses")
app.add_typer(nnunet, name="nnunet")
app.command()(prepare)
app.command()(check)
app.command("export-nnunet")(export_nnunet)


@app.command()
def train(
    cohort: CohortArgument,
    loss: Annotated[
        str, typer.Option(help="A name of `massmatch losses`, options behind it as in name:a=1,b=2.")
    ] = "sm-tversky-s-a",
    model: Annotated[str, typer.Option(help="A name of `massmatch models`.")] = "aunet",
    width: Annotated[int, typer.Option(help="Channels of the first level; 64 is the paper's, 8 suits a CPU.")] = 64,
    fold: Annotated[int, typer.Option(help="Which fold, from 0.")] = 0,
    folds: Annotated[int, typer.Option(help="How many folds.")] = 5,
    scheme: Annotated[str, typer.Option(help="kfold, paper (80/10/10), split or official.")] = "kfold",
    epochs: Annotated[int, typer.Option(help="Rounds through the training images.")] = 50,
    seed: Annotated[int, typer.Option(help="Of folds, first weights and order.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Images per step (the paper's 4).")] = 4,
    optimizer: Annotated[str, typer.Option(help="adam or adamw.")] = "adam",
    schedule: Annotated[
        str, typer.Option(help="constant, or one-cycle, which learns far faster in a short run.")
    ] = "constant",
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak of one-cycle. By default 1e-4 (the paper's), 2e-3 with one-cycle."),
    ] = None,
    adversarial: Annotated[
        float, typer.Option(help="Weight of critics that learn to tell predictions from truth; 0: none.")
    ] = 0.0,
    precision: Annotated[str, typer.Option(help="float32, bfloat16, or auto: the faster, by a short timing.")] = "auto",
    memory: Annotated[str, typer.Option(help="contiguous, channels-last, or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    threshold: Annotated[float, typer.Option(help="A pixel above it is predicted mass.")] = 0.5,
    out: Runs = Path("runs"),
) -> None:
    """Train on one fold and measure it on its test part. The same command again goes on, or shows the result."""
    with told():
        from massmatch.data import open_cohort
        from massmatch.training.experiment import PEAK
        from massmatch.training.fit import run

        opened = open_cohort(cohort)
        experiment = resolved(
            cohort=opened.name,
            fingerprint=opened.fingerprint,
            loss=loss,
            model=model,
            width=width,
            scheme=scheme,
            folds=folds,
            seed=seed,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            schedule=schedule,
            learning_rate=learning_rate if learning_rate is not None else PEAK.get(schedule, 1e-4),
            adversarial=adversarial,
            precision=precision,
            memory=memory,
            threads=threads,
            threshold=threshold,
        )
        with watching(loss) as watch:
            folder = run(experiment, opened, fold, out, watch)
        show([folder])
        screen.print(f"{folder}", soft_wrap=True)


@app.command()
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
        from massmatch.training.fit import evaluate_run

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


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or a weights file.")],
    images: Annotated[
        list[Path], typer.Argument(help="Mammograms in DICOM, or grey PNG, TIFF or JPEG; or folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for <name>_mask.png, <name>_contour.png, <name>_contours.json.")],
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Name results of DICOM after the file, not after a hash of its UID.")
    ] = False,
    allow_for_processing: Annotated[
        bool, typer.Option("--allow-for-processing", help="Take raw detector data (DICOM FOR PROCESSING).")
    ] = False,
) -> None:
    """Segment mammograms: a mask (0 and 255), a picture with contours, and the contours' points, in the stored pixels.

    A file that cannot be segmented is named at the end, the others are done, and the exit code is 3.
    """
    with told():
        from massmatch.cli.predicting import predict_all

        predict_all(run, images, out, keep_names=keep_names, allow_for_processing=allow_for_processing)


@app.command()
def compare(
    cohort: CohortArgument,
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs on this cohort, such as runs/*/fold0.")],
    page: Annotated[Path | None, typer.Option(help="An HTML file to write, with table, contours and curves.")] = None,
    table: Annotated[Path | None, typer.Option(help="A Markdown file to write, with the table.")] = None,
) -> None:
    """Put finished runs side by side: a table on the screen, in a file, and a page."""
    with told():
        import pandas as pd

        from massmatch.data import open_cohort
        from massmatch.reporting.page import write_page
        from massmatch.reporting.tables import NOTE, comparison, markdown

        named = show(runs)
        if table is not None:
            rows = {name: pd.read_csv(folder / "rows.csv") for name, folder in named.items()}
            table.write_text(f"{markdown(comparison(rows))}\n{NOTE}\n", encoding="utf-8")
        if page is not None:
            write_page(page, "Losses side by side", open_cohort(cohort), named)
            screen.print(f"{page}", soft_wrap=True)


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(help="Folder for the made-up cohort, the runs and the page.")] = Path("demo"),
) -> None:
    """See it all work without data: made-up mammograms, two trained networks, one page. About two minutes."""
    with told():
        from massmatch.reporting.page import write_page
        from massmatch.training.fit import run

        cohort = make_phantoms(out / "phantoms", **DEMO_COHORT)
        screen.print(f"{len(cohort)} made-up mammograms in {out / 'phantoms'}")
        folders = []
        for loss in DEMO_LOSSES:
            experiment = resolved(
                cohort=cohort.name,
                fingerprint=cohort.fingerprint,
                loss=loss,
                optimizer="adamw",
                schedule="one-cycle",
                **DEMO_TRAINING,
            )
            with watching(loss) as watch:
                folders.append(run(experiment, cohort, 0, out / "runs", watch))
        page = out / "index.html"
        write_page(page, "massmatch on made-up mammograms", cohort, show(folders), remark=DEMO_REMARK)
        screen.print(f"\nOpen this page: {page.resolve()}", soft_wrap=True)


DEMO_COHORT: dict[str, Any] = {"patients": 80, "seed": 0, "size": 128, "normal_fraction": 0.05}
DEMO_REMARK = (
    "Made-up images, small networks and a minute of training each: this shows that everything works, not which loss "
    "is better on patients; on real mammograms the order was another one (docs/results.md)."
)
DEMO_LOSSES = ("tversky", "sm-tversky-s-a")
DEMO_TRAINING: dict[str, Any] = {
    "width": 8,
    "scheme": "split",
    "epochs": 12,
    "learning_rate": 4e-3,
    "precision": "bfloat16",
    "memory": "channels-last",
}


def make_phantoms(out: Path, patients: int, seed: int, size: int, normal_fraction: float) -> Any:
    """A cohort of made-up mammograms in `out`; one that is there already from the same options is kept."""
    from massmatch.data import write_cohort
    from massmatch.data.phantom import phantoms

    options = {"patients": patients, "seed": seed, "size": size, "normal_fraction": normal_fraction}
    samples = phantoms(patients, seed=seed, size=size, normal_fraction=normal_fraction)
    return write_cohort(samples, out, reader="phantom", options=options, licence="made up; no licence needed")


def resolved(**fields: Any) -> "Experiment":
    """The experiment, with wrong values in one line each and names checked before anything runs."""
    from pydantic import ValidationError

    from massmatch.training.experiment import Experiment, make_loss, make_model

    try:
        experiment = Experiment(**fields)
    except ValidationError as error:
        lines = [f"--{str(e['loc'][0]).replace('_', '-')}: {e['msg']}, but is {e['input']!r}" for e in error.errors()]
        raise ValueError("\n".join(lines)) from None
    make_loss(experiment.loss)
    make_model(experiment.model, 1)
    return experiment


def main() -> None:
    """The console script."""
    app(prog_name="massmatch")
