"""The commands `nnunet ...`."""

from pathlib import Path
from typing import Annotated

import typer

from massmatch.cli.screen import screen, told
from massmatch.errors import UsageError, refusals_as_usage

nnunet = typer.Typer(no_args_is_help=True, help="The Spatial Matching loss in nnU-Net v2.")


@nnunet.callback()
def group() -> None:
    """The Spatial Matching loss in nnU-Net v2."""


@nnunet.command("install-trainer")
def install_trainer(
    folder: Annotated[Path, typer.Argument(help="A folder for the variable nnUNet_extTrainer.")],
    loss: Annotated[
        str, typer.Option(help="soft-sm or a name sm-..., options behind it as in name:a=1,b=2.")
    ] = "soft-sm:random_phase=true",
    name: Annotated[str, typer.Option(help="Of the trainer's class, for -tr.")] = "nnUNetTrainerSpatialMatching",
) -> None:
    """Write a trainer that nnU-Net finds through nnUNet_extTrainer."""
    with told():
        from massmatch.integrations.nnunet import install_trainer as install
        from massmatch.losses import LOSSES, LossSpec

        with refusals_as_usage():
            spec = LossSpec.parse(loss).canonical()
            spec.make()
        options, variant, soft = dict(spec.options), LOSSES[spec.name].variant, spec.name == "soft-sm"
        if soft:
            core = str(options.pop("core", "hybrid"))
        elif variant:
            core, options = variant.core, {**variant.switches, **options}
        else:
            raise UsageError(f"--loss: must be soft-sm or one of the losses sm-..., but is {spec.name}")
        path = install(folder, core, options, name, soft=soft)
        screen.print(
            f"{path}\nexport nnUNet_extTrainer={folder.resolve()}\nnnUNetv2_train DATASET 2d FOLD -tr {name}",
            soft_wrap=True,
        )
