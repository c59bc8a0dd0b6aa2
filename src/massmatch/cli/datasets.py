"""The commands that make, check and hand on cohorts: `prepare`, `check`, `export-nnunet`."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from massmatch.cli.arguments import CohortArgument, few_enough, present
from massmatch.cli.options import given, options_of
from massmatch.cli.screen import DATA, counting, errors, screen, told
from massmatch.data.preprocessing.options import PreprocessingOptions

MOST_REASONS = 3  # reasons for files left out that are printed
MOST_TOLD = 10  # warnings of one kind of run that are printed; all of them are in cohort.json


@options_of(PreprocessingOptions)
def prepare(
    context: typer.Context,
    reader: Annotated[str, typer.Argument(help="inbreast, cbis-ddsm, folder, nnunet or monai (docs/data.md).")],
    source: Annotated[Path, typer.Argument(help="The dataset as it was released.", callback=present("file or folder"))],
    out: Annotated[Path, typer.Argument(help="The cohort's folder.")],
    workers: Annotated[
        int | None, typer.Option(help="Processes; by default one per core.", min=1, callback=few_enough)
    ] = None,
    on_error: Annotated[
        Literal["stop", "skip"], typer.Option(help="skip: leave faulty images out, exit with 3.")
    ] = "stop",
    masses_only: Annotated[
        bool, typer.Option("--masses-only", help="inbreast: only images with a mass (the paper's 107).")
    ] = False,
    abnormality: Annotated[
        Literal["mass", "calc", "both"] | None, typer.Option(help="cbis-ddsm: what is taken; by default mass.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="nnunet, monai: the label that is the mass, if there are several and none is called mass."),
    ] = None,
    allow_missing_annotations: Annotated[
        bool,
        typer.Option("--allow-missing-annotations", help="inbreast without its table: an image without XML is normal."),
    ] = False,
    allow_for_processing: Annotated[
        bool, typer.Option("--allow-for-processing", help="Take raw detector data (DICOM FOR PROCESSING).")
    ] = False,
    modality: Annotated[
        str | None, typer.Option(help="MG; any: digitised film too, which DICOM calls RG, CR, DX or OT.")
    ] = None,
    allow_outside_root: Annotated[
        bool, typer.Option("--allow-outside-root", help="Follow links and paths that lead out of SOURCE.")
    ] = False,
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="folder, monai: keep DICOM file names that hold the patient's name.")
    ] = False,
    **options: Any,
) -> None:
    """Turn a dataset as it is on disk into a cohort. The same command again goes on after an interruption."""
    with told("finished image"):
        from massmatch.data.preparation.entry import prepare as run

        choices = {
            "masses_only": masses_only,
            "abnormality": abnormality,
            "label": label,
            "allow_missing_annotations": allow_missing_annotations,
            "allow_for_processing": allow_for_processing,
            "modality": modality,
            "allow_outside_root": allow_outside_root,
            "keep_names": keep_names,
        }
        chosen = {name: value for name, value in choices.items() if value} | given(context, options)
        with counting(f"{reader} ", "images") as tick:
            prepared = run(reader, source, out, workers=workers, on_error=on_error, tick=tick, **chosen)
        tell(prepared.warnings, out)
        for fault in sorted(prepared.skipped.values()):
            errors.print(f"skipped: {fault}", style="red")
        if prepared.left_out:
            reasons = Counter(prepared.left_out.values()).most_common(MOST_REASONS)
            why = ", ".join(f"{count}: {reason}" for reason, count in reasons)
            screen.print(
                f"{len(prepared.left_out)} files do not belong to the cohort ({why}); all in {out / 'cohort.json'}",
                soft_wrap=True,
            )
        if prepared.summary:
            screen.print(prepared.summary, soft_wrap=True)
        cohort = prepared.cohort
        state = "is there already" if prepared.kept else "is ready"
        screen.print(
            f"{out} {state}: {len(cohort)} images of {cohort.table['patient'].nunique()} patients",
            soft_wrap=True,
        )
        screen.print(f"Next: massmatch check {out}", soft_wrap=True)
        if prepared.skipped:
            sys.exit(DATA)


def tell(texts: list[str], out: Path) -> None:
    """The first warnings, and where the others are."""
    for text in texts[:MOST_TOLD]:
        errors.print(f"warning: {text}", style="yellow")
    if len(texts) > MOST_TOLD:
        errors.print(f"... and {len(texts) - MOST_TOLD} more warnings, in {out / 'cohort.json'}", style="yellow")


def check(
    cohort: CohortArgument,
    folds: Annotated[int, typer.Option(help="Folds whose patients are compared.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print the report for a program.")] = False,
) -> None:
    """Look for what makes results wrong: leakage, duplicates, odd masks, sizes, spacing. Errors exit with 3."""
    with told():
        from massmatch.cli.check import as_json, exit_code, show_report
        from massmatch.data import open_cohort
        from massmatch.data.checks.report import check as look

        opened = open_cohort(cohort)
        with counting(f"{opened.name} ", "images", hidden=json) as tick:
            done = iter(range(1, len(opened) + 1))
            report = look(opened, folds=folds, tick=lambda: tick(next(done, len(opened)), len(opened)))
        if json:
            print(as_json(report))
        else:
            show_report(report, opened.name)
        sys.exit(exit_code(report))


def export_nnunet(
    cohort: CohortArgument,
    out: Annotated[Path, typer.Argument(help="The raw dataset's folder, such as nnUNet_raw/Dataset101_Mass.")],
    folds: Annotated[int, typer.Option(help="Folds of splits_final.json, grouped by patient.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
) -> None:
    """Write a cohort as a raw dataset of nnU-Net v2, with folds that keep each patient's images together."""
    with told():
        from massmatch.data import open_cohort
        from massmatch.data.export import export_nnunet as export

        opened = open_cohort(cohort)
        export(opened, out, folds=folds, seed=seed)
        screen.print(f"{len(opened)} images in {out}", soft_wrap=True)
        screen.print(
            "Copy its splits_final.json into nnUNet_preprocessed after planning: nnU-Net's own folds ignore patients.",
            soft_wrap=True,
        )
