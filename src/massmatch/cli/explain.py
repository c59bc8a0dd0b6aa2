"""The command `explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from massmatch.cli.arguments import present
from massmatch.cli.screen import screen, told
from massmatch.errors import UsageError, refusals_as_usage

if TYPE_CHECKING:
    from massmatch.explanations.ledger import Ledger
    from massmatch.explanations.subject import Subject

USAGE = "give IMAGE TRUTH PREDICTION --loss NAME (three files), or RUN ID (a run's folder, and an image)"
MOST_CELLS = 8  # rows of the table on the screen


def explain(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE TRUTH PREDICTION | RUN ID...",
            help="Three PNG files: the mammogram, its masses (labels, or 0 and one other value), and the prediction "
            "(probabilities in 8 or 16 bits, or a mask). Or the folder of a run and ids of its test images.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for <id>_explain.png, .html and .csv.")] = Path("explain"),
    loss: Annotated[
        str | None, typer.Option(help="A name of `massmatch losses`, options behind it; by default the run's own.")
    ] = None,
    cohort: Annotated[
        Path | None, typer.Option(help="The cohort of the run, where it has moved since.", callback=present("folder"))
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the ledger as <id>_explain.json too.")] = False,
) -> None:
    """Take the loss of one image apart: which cells count, with what weight, loss and share of the gradient.

    Three files and a loss:  massmatch explain IMAGE TRUTH PREDICTION --loss sm-tversky-s-a

    A run's own prediction:  massmatch explain RUN ID
    """
    with told():
        subjects, spec = of_run(what, loss, cohort) if Path(what[0]).is_dir() else of_files(what, loss, cohort)
        from massmatch.explanations.files import explain_subject

        for subject in subjects:
            with screen.status(f"{subject.id}: every variant of the loss"):
                ledger, written = explain_subject(subject, spec, out, as_json=as_json)
            show(subject, ledger)
            for path in written:
                screen.print(f"{path}", soft_wrap=True)


def of_files(what: list[str], loss: str | None, cohort: Path | None) -> "tuple[list[Subject], str]":
    """The subject of three files, and the loss. UsageError says what is missing."""
    if len(what) != 3:
        missing = "" if Path(what[0]).exists() else f"no such file or folder: {what[0]}; "
        raise UsageError(f"{missing}{USAGE}; got {len(what)}: {' '.join(what)}")
    image, truth, prediction = map(Path, what)
    if cohort is not None:
        raise UsageError(f"--cohort belongs to a run, but {image} is no folder: {USAGE}")
    if loss is None:
        raise UsageError("files do not say which loss to explain: give --loss NAME, such as --loss sm-tversky-s-a")
    present("file")([image, truth, prediction])
    from massmatch.explanations.subject import from_files

    return [from_files(image, truth, prediction)], loss


def of_run(what: list[str], loss: str | None, cohort: Path | None) -> "tuple[list[Subject], str]":
    """The subjects of a run, and the loss: its own, unless another one is asked for."""
    from massmatch.data import open_cohort
    from massmatch.explanations.subject import from_run
    from massmatch.losses import LossSpec
    from massmatch.runs.folder import PREDICTIONS, RunFolder
    from massmatch.runs.weights import warn_of_other_code

    run, ids = RunFolder.find(Path(what[0])), what[1:]
    own = run.experiment()["loss"]
    if not ids:
        raise UsageError(f"give the id of an image after {run.path}, a test image such as those in {run / PREDICTIONS}")
    if loss is None and LossSpec.parse(own).is_own:
        with refusals_as_usage():
            warn_of_other_code(run.path, LossSpec.parse(own).name, {"experiment": run.experiment()}, "the loss")
    opened = open_cohort(cohort or run.cohort())
    return [from_run(run.path, id, opened) for id in ids], loss or own


def show(subject: "Subject", ledger: "Ledger") -> None:
    """The formula with its numbers, and the cells that add most."""
    from rich.table import Table

    from massmatch.explanations.figure import percent

    what = f"prediction read as {subject.read_as}; contour: {subject.drawn_at(ledger.threshold)}"
    screen.print(f"{subject.id}: {what}", soft_wrap=True)
    screen.print(f"{ledger.name}: {in_words(ledger)}", soft_wrap=True)
    sort = "share_of_loss" if ledger.grid_weight else "share_of_gradient_by_logit"
    title = f"{min(MOST_CELLS, len(ledger.cells))} of {len(ledger.cells)} cells; shares in %, gradient by p and logit"
    table = Table(title=title, padding=0, collapse_padding=True)
    for name in ("row, col", "true", "pred", "kept", "d", "w", "L", "loss", "by p", "by logit"):
        table.add_column(name, justify="right")
    for cell in ledger.cells.nlargest(MOST_CELLS, sort).to_dict("records"):
        flags = ("yes" if cell[name] else "" for name in ("true", "predicted", "kept"))
        numbers = (f"{cell[name]:.3f}" for name in ("distance", "weight", "loss"))
        gradients = (percent(cell[f"share_of_gradient_by_{by}"]) for by in ("probability", "logit"))
        table.add_row(f"{cell['row']}, {cell['col']}", *flags, *numbers, percent(cell["share_of_loss"]), *gradients)
    screen.print(table)


def in_words(ledger: "Ledger") -> str:
    """The loss of an image as a sum of its terms, in words."""
    if not ledger.grid_weight:
        return f"L(P, Y) = {ledger.loss:.6f} (no grid: cells only divide its gradient)"
    weight = "" if ledger.grid_weight == 1 else f"{ledger.grid_weight:g} x "
    counts = f"{int(ledger.cells['kept'].sum())} of {len(ledger.cells)} cells kept"
    size = " x ".join(map(str, ledger.cell_size))
    if ledger.soft:
        parts = f"L = {ledger.image:.6f} + {ledger.grid:.6f} of the cells = {ledger.loss:.6f}"
        return f"{parts}; {len(ledger.cells)} cells of {size} pixels"
    return (
        f"L_SM = {ledger.image:.6f} + {weight}{ledger.ratio:.6f} x {ledger.grid:.6f} = {ledger.loss:.6f}; "
        f"S = {ledger.S:.4g}; {counts}, of {size} pixels"
    )
