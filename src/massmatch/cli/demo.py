"""The commands `phantom` and `demo`: what can be seen without data."""

from pathlib import Path
from typing import Annotated, Any

import typer

from massmatch.cli.screen import errors, screen, told, watching


def phantom(
    out: Annotated[Path, typer.Argument(help="The cohort's folder.")],
    patients: Annotated[int, typer.Option(help="How many made-up women, with 2 or 4 images each.")] = 50,
    seed: Annotated[int, typer.Option(help="The same seed makes the same images.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the square images in pixels, at least 64.")] = 256,
    normal_fraction: Annotated[float, typer.Option(help="Share of the images without mass.")] = 0.15,
) -> None:
    """Make a cohort of made-up mammograms."""
    with told():
        cohort = make_phantoms(out, patients, seed, size, normal_fraction)
        screen.print(f"{len(cohort)} images of {cohort.table['patient'].nunique()} made-up patients in {out}")


def demo(
    out: Annotated[Path, typer.Argument(help="Folder for the made-up cohort, the runs and the page.")] = Path("demo"),
) -> None:
    """See it all work without data: made-up mammograms, four trained networks, one page. Minutes on two cores."""
    with told("finished epoch"):
        from massmatch.inference.packaged import show_packaged
        from massmatch.reports.page import write_showcase
        from massmatch.runs.collection import collect
        from massmatch.runs.experiment import experiment_on
        from massmatch.runs.folder import RunFolder
        from massmatch.runs.precision import Speed
        from massmatch.training.run import run

        screen.print("The packaged network on film mammograms of women it has not learned from (CBIS-DDSM, CC BY 3.0):")
        for each in show_packaged(out / "packaged"):
            screen.print(f"  {each.picture}: its {each.kind} of the test images, DSC {each.dsc:.2f}", soft_wrap=True)
        screen.print("  green: the mass that was marked, blue: the prediction; for research, not for diagnosis\n")
        cohort = make_phantoms(out / "phantoms", **DEMO_COHORT)
        screen.print(f"{len(cohort)} made-up mammograms in {out / 'phantoms'}")
        folders, speed = [], None
        for loss in DEMO_LOSSES:
            experiment = experiment_on(cohort, loss=loss, optimizer="adamw", schedule="one-cycle", **DEMO_TRAINING)
            with watching(loss) as watch:
                folders.append(run(experiment, cohort, 0, out / "runs", watch, speed=speed))
            decided = RunFolder(folders[0]).resolved()  # all compute as the first does, as in a sweep
            speed = Speed(decided["precision"], decided["memory"])
        warn_of_other_versions(folders)
        page = out / "index.html"
        title = "massmatch on made-up mammograms"
        write_showcase(page, collect(*folders), cohort, title=title, remark=DEMO_REMARK)
        screen.print(f"\n{DEMO_REMARK}", soft_wrap=True)
        screen.print(f"\nOpen this page: {page.resolve()}", soft_wrap=True)


def warn_of_other_versions(runs: list[Path]) -> None:
    """Say which version of massmatch made runs that are kept, where it is not this one."""
    from importlib.metadata import version

    from massmatch.runs.folder import RunFolder

    for run in runs:
        made = RunFolder(run).resolved().get("versions", {}).get("massmatch", "an unknown version")
        if made != version("massmatch"):
            errors.print(
                f"warning: {run} was made by massmatch {made}, and is kept: for this version's, give another folder",
                style="yellow",
                soft_wrap=True,
            )


DEMO_COHORT: dict[str, Any] = {"patients": 80, "seed": 0, "size": 64, "normal_fraction": 0.05}
DEMO_REMARK = (
    "Made-up images say nothing about patients: this shows that everything works, not which loss is better. So the "
    "losses stand here in the order of their names. What was measured on real mammograms is in docs/results.md."
)
DEMO_LOSSES = ("hybrid", "tversky", "sm-tversky-sd-nz", "soft-sm:random_phase=true")
DEMO_TRAINING: dict[str, Any] = {
    "model": "aunet",
    "width": 8,
    "scheme": "split",
    "epochs": 14,  # 560 steps
    "learning_rate": 2e-3,  # with 3e-3 and more, the hybrid loss learns nothing in so few steps
}


def make_phantoms(out: Path, patients: int, seed: int, size: int, normal_fraction: float) -> Any:
    """A cohort of made-up mammograms in `out`; one that is there already from the same options is kept."""
    from massmatch.data import write_cohort
    from massmatch.data.phantom import phantoms

    options = {"patients": patients, "seed": seed, "size": size, "normal_fraction": normal_fraction}
    samples = phantoms(patients, seed=seed, size=size, normal_fraction=normal_fraction)
    return write_cohort(samples, out, reader="phantom", options=options, licence="made up; no licence needed")
