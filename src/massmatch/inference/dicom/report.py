"""A DICOM report of measurements (TID 1500): the outline, area, long axis and probability of each finding."""

from typing import TYPE_CHECKING, Any

from massmatch import __version__
from massmatch.inference.contours import outline
from massmatch.inference.dicom.source import MAKER, about, codes, parameters
from massmatch.inference.findings import Finding, Prediction

if TYPE_CHECKING:
    from highdicom.sr import ComprehensiveSR, ObservationContext
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

SIDES = {"L": "Left", "R": "Right"}


def report(of: Prediction, source: "Dataset") -> "ComprehensiveSR":
    """The report on an image; where nothing was found it says that masses are absent.

    Outlines are ImageRegions of the mammogram itself, which OHIF draws; by reference to a SEG it draws none.

    Args:
        of: the prediction.
        source: the header of its image, by `read_source`.
    """
    from highdicom.sr import ComprehensiveSR, MeasurementReport

    (mammography,) = codes("Mammography")
    content = MeasurementReport(
        _observer(), mammography, [_group(of, each, source) for each in of.findings] or [_absence(source)]
    )
    return ComprehensiveSR([source], content[0], is_complete=True, **about("SR"))


def _observer() -> "ObservationContext":
    from highdicom import UID
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes as known

    device = DeviceObserverIdentifyingAttributes(
        UID(), name=MAKER, manufacturer_name=MAKER, model_name=MAKER, serial_number=__version__
    )
    return ObservationContext(observer_device_context=ObserverContext(known.DCM.Device, device))


def _group(of: Prediction, finding: Finding, source: "Dataset") -> Any:
    from highdicom import UID
    from highdicom.sr import (
        AlgorithmIdentification,
        FindingSite,
        ImageRegion,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        SourceImageForRegion,
        TrackingIdentifier,
    )

    mass, breast = codes("Mass", "Breast")
    side = codes(SIDES[of.image.side])[0] if of.image.side else None
    region = ImageRegion(
        "POLYLINE",
        outline(of.labels == finding.number)[:, ::-1] + 0.5,  # column, row; (0, 0) is the first pixel's outer corner
        SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID),
    )
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(UID(), f"mass {finding.number}"),
        referenced_region=region,
        finding_type=mass,
        algorithm_id=AlgorithmIdentification(
            MAKER, __version__, [f"{name} = {value}" for name, value in parameters(of).items()]
        ),
        finding_sites=[FindingSite(breast, side)],
        measurements=_measurements(finding),
    )


def _measurements(finding: Finding) -> list[Any]:
    """Area and long axis in mm where the header has a spacing, otherwise in pixels; the probability of the pixels."""
    from highdicom.sr import Measurement
    from pydicom.sr.codedict import codes as known
    from pydicom.sr.coding import Code

    pixels, one = Code("{pixels}", "UCUM", "pixels"), Code("1", "UCUM", "no units")
    area, axis, mean, highest = codes("Area", "LongAxis", "Mean", "Maximum")

    def size(name: "Code", mm: float | None, unit: "Code", px: float) -> Measurement:
        return Measurement(name, round(px, 2), pixels) if mm is None else Measurement(name, round(mm, 2), unit)

    return [
        size(area, finding.area_mm2, known.UCUM.SquareMillimeter, finding.area_px),
        size(axis, finding.axis_mm, known.UCUM.Millimeter, finding.axis_px),
        Measurement(known.DCM.Probability, round(finding.mean_probability, 4), one, derivation=mean),
        Measurement(known.DCM.Probability, round(finding.highest_probability, 4), one, derivation=highest),
    ]


def _absence(source: "Dataset") -> Any:
    from highdicom import UID
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    mass, absent = codes("Mass", "Absent")
    return MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(UID(), "no mass"),
        source_images=[SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)],
        qualitative_evaluations=[QualitativeEvaluation(mass, absent)],
    )
