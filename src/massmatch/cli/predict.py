"""The command `predict`."""

from pathlib import Path
from typing import Annotated

import typer

from massmatch.cli.arguments import present
from massmatch.cli.screen import told


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Mammograms in DICOM, or grey PNG, TIFF or JPEG; or folders of them.", callback=present("image")
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for masks, pictures, findings.csv and index.csv.")],
    run: Annotated[
        Path | None, typer.Option(help="The folder of a run, whose network is taken.", callback=present("run"))
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A weights file, whose network is taken.", callback=present("weights"))
    ] = None,
    ensemble: Annotated[
        list[Path] | None,
        typer.Option(
            help="Runs or weights files, such as the folds of one run: the mean of their log-odds.",
            callback=present("run or weights"),
        ),
    ] = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Mean over each image and its mirror image, in twice the time.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(help="A pixel is mass above this probability; by default that of the weights.")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write <id>_probability.png too (16 bits, 65535 is 1).")
    ] = False,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="Write a report (SR) and a segmentation (SEG) too, which name the patient.")
    ] = False,
    nrrd: Annotated[bool, typer.Option("--nrrd", help="Write <id>.seg.nrrd too, for 3D Slicer.")] = False,
    least_area: Annotated[
        str | None, typer.Option(help="Of a finding, with its unit: 20mm2 or 500px; smaller ones are left out.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Where to compute, such as cpu or cuda:1; by default the accelerator, if any."),
    ] = None,
    chest_wall: Annotated[
        str | None,
        typer.Option(help="left, right or mixed: where the training images showed it, for weights that do not say it."),
    ] = None,
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Name results of DICOM after the file, not after a hash of its UID.")
    ] = False,
    allow_for_processing: Annotated[
        bool, typer.Option("--allow-for-processing", help="Take raw detector data (DICOM FOR PROCESSING).")
    ] = False,
    modality: Annotated[
        str, typer.Option(help="Which a DICOM file must name; any takes digitised film too (RG, CR, DX, OT).")
    ] = "MG",
    own_network: Annotated[
        list[str] | None, typer.Option(help="A network of one's own, module:Class, that the weights may be of.")
    ] = None,
) -> None:
    """Segment mammograms: for each a mask, a picture with contours, and its findings, in the stored pixels.

    By default with the network in this package, which was trained on film scans (docs/model_card.md).
    findings.csv lists all findings; index.csv says which result belongs to which file. A file that cannot be segmented
    is named at the end, the others are done, and the exit code is 3.
    """
    with told():
        from massmatch.cli.predicting import chosen_weights, predict_all

        predict_all(
            images,
            out,
            weights=chosen_weights(run, weights, ensemble or []),
            tta=tta,
            threshold=threshold,
            probabilities=probabilities,
            dicom=dicom,
            nrrd=nrrd,
            least_area=least_area,
            device=device,
            chest_wall=chest_wall,
            keep_names=keep_names,
            allow_for_processing=allow_for_processing,
            modality=modality,
            own=own_network or (),
        )
