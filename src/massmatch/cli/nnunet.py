"""The commands `nnunet ...`."""

from pathlib import Path
from typing import Annotated

import typer

from massmatch.cli.screen import screen, told

nnunet = typer.Typer(no_args_is_help=True, help="The Spatial Matching loss in nnU-Net v2.")


@nnunet.callback()
def group() -> None:
    """The Spatial Matching loss in nnU-Net v2."""


@nnunet.command("install-trainer")
def install_trainer(
    folder: Annotated[Path, typer.Argument(help="A folder for the variable nnUNet_extTrainer.")],
    loss: Annotated[str, typer.Option(help="A name sm-..., options behind it as in name:a=1,b=2.")] = "sm-tversky-s-a",
    name: Annotated[str, typer.Option(help="Of the trainer's class, for -tr.")] = "nnUNetTrainerSpatialMatching",
) -> None:
    """Write a trainer that nnU-Net finds through nnUNet_extTrainer."""
    with told():
        from massmatch.integrations.nnunet import install_trainer as install
        from massmatch.losses import LOSSES
        from massmatch.training.experiment import make_loss, options_of

        make_loss(loss)
        kind, _, text = loss.partition(":")
        if not kind.startswith("sm-"):
            raise ValueError(f"--loss: must be one of the losses sm-..., but is {kind}")
        own = {option: LOSSES[kind].keywords[option] for option in ("scale", "distance", "nonzero")}  # type: ignore[attr-defined]
        path = install(folder, kind.split("-")[1], {**own, **options_of(text, loss)}, name)
        screen.print(
            f"{path}\nexport nnUNet_extTrainer={folder.resolve()}\nnnUNetv2_train DATASET 2d FOLD -tr {name}",
            soft_wrap=True,
        )
