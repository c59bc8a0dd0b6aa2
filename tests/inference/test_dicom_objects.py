"""SEG and SR of a mammogram: what a viewer reads from them is what was found, and an archive takes them."""

import io
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from bright import MADE_UP, marked
from bright import predicted as segmented
from dicom_tools import by_dcmqi, complaints, needs_dciodvfy, needs_dcmqi, needs_orthanc, orthanc, retrieve, store
from mammograms import write_dicom
from massmatch import __version__
from massmatch.cli.predicting import predict_all
from massmatch.data import DataError
from massmatch.errors import UsageError
from massmatch.inference.algorithm import Algorithm, WeightsFile
from massmatch.inference.batch import predict
from massmatch.inference.contours import outline
from massmatch.inference.dicom import source
from massmatch.inference.dicom.files import objects
from massmatch.inference.dicom.segmentation import segmentation
from massmatch.inference.images import image_files

LACKING = ("PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime")


def masses(*boxes):
    """A drawn mammogram with bright rectangles of (row, column, rows, columns), and where they are."""
    image, _ = marked("left")
    image = np.minimum(image, 4000)
    truth = np.zeros(image.shape, bool)
    for row, col, rows, cols in boxes:
        truth[row : row + rows, col : col + cols] = True
    image[truth] = 8000
    return image, truth


TWO = ((40, 20, 12, 9), (90, 30, 7, 11))
TOUCHING = ((40, 20, 12, 9), (52, 29, 7, 11))  # at a corner


def made(folder, boxes=TWO, name="a.dcm", **tags):
    """The prediction of a written mammogram, its objects saved beside it and read again, and the truth."""
    image, truth = masses(*boxes)
    if tags.get("PhotometricInterpretation") == "MONOCHROME1":
        image = image.max() - image
    path = write_dicom(folder / name, image, **{"ImagerPixelSpacing": [0.1, 0.2], **tags})
    found = segmented(path)
    if not boxes:  # the network of these tests always finds what is brightest
        found = replace(found, probability=np.zeros_like(found.probability))
    (file,) = image_files([path])
    read = {}
    for kind, each in objects(found, file).items():
        each.save_as(folder / f"{kind}.dcm", enforce_file_format=True)
        read[kind] = pydicom.dcmread(folder / f"{kind}.dcm")
    return found, read, truth


def pixels_of(seg):
    """(segments, H, W) bool of a SEG, by highdicom's reader."""
    (image,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    planes = hd.seg.Segmentation.from_dataset(seg).get_pixels_by_source_instance(
        [image.ReferencedSOPInstanceUID], ignore_spatial_locations=True
    )
    return planes[0].transpose(2, 0, 1) > 0


def groups(sr):
    """The measurement groups of a report with an outline, by highdicom's reader."""
    return hd.sr.ComprehensiveSR.from_dataset(sr).content.get_planar_roi_measurement_groups()


@pytest.mark.parametrize("tags", [{}, {"remove": LACKING}, {"PhotometricInterpretation": "MONOCHROME1"}], ids=str)
@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize(("boxes", "count"), [(TWO, 2), (TOUCHING, 1)])
def test_the_segments_are_the_findings_to_the_pixel(boxes, count, side, tags, tmp_path):
    _, read, truth = made(tmp_path, boxes, ImageLaterality=side, **tags)
    found = pixels_of(read["seg"])
    assert len(found) == len(read["seg"].SegmentSequence) == len(groups(read["sr"])) == count
    assert (found.sum(axis=0) == truth).all()
    for group in groups(read["sr"]):
        (site,) = group.finding_sites
        assert site.value.meaning == "Breast"
        assert site.laterality.meaning == {"L": "Left", "R": "Right"}[side]


@needs_dciodvfy
@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"remove": LACKING},
        {"PatientOrientation": ["P", "F"], "PatientSex": "F", "StudyDate": "20200102", "StudyTime": "101112"},
        {"remove": ("ImageLaterality", "ViewPosition", "ImagerPixelSpacing")},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},  # secondary capture, as CBIS-DDSM's
    ],
    ids=str,
)
@pytest.mark.parametrize("boxes", [TWO, ()])
def test_dciodvfy_has_nothing_to_say(boxes, tags, tmp_path):
    made(tmp_path, boxes, **tags)
    assert (tmp_path / "seg.dcm").is_file() == bool(boxes)
    for path in tmp_path.glob("s*.dcm"):
        assert complaints(path) == []


def test_a_seg_has_what_viewers_need_of_a_mammogram(tmp_path):
    _, read, _ = made(tmp_path, PatientOrientation=["A", "F"])
    seg = read["seg"]
    assert seg.SegmentationType == "BINARY"
    assert "FrameOfReferenceUID" not in seg
    assert seg.PatientOrientation == ["A", "F"]
    (shared,) = seg.SharedFunctionalGroupsSequence
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.1, 0.2]
    for frame in seg.PerFrameFunctionalGroupsSequence:
        assert frame.PlanePositionSequence[0].ImagePositionPatient == [0, 0, 0]
    assert "no position in the patient" in seg.ContentDescription
    assert str(seg.ContentCreatorName) == "massmatch^"
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("massmatch", __version__)
    assert algorithm.AlgorithmParameters == ",".join(
        [f"network={MADE_UP.network}", f"weights={MADE_UP.name}", f"SHA-256={MADE_UP.sha256}", "threshold=0.5"]
    )


def test_the_objects_name_each_network_of_an_ensemble_and_the_digest_of_its_weights(tmp_path):
    other = WeightsFile("run/fold1", "aunet of width 8", "f" * 64)
    found, _, _ = made(tmp_path)
    (file,) = image_files([tmp_path / "a.dcm"])
    read = objects(replace(found, algorithm=Algorithm((MADE_UP, other), tta=True)), file)
    (algorithm,) = read["seg"].SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    expected = {
        **{"network 1": MADE_UP.network, "weights 1": MADE_UP.name, "SHA-256 1": MADE_UP.sha256},
        **{"network 2": other.network, "weights 2": "run/fold1", "SHA-256 2": other.sha256},
        **{"test-time augmentation": "mirror image", "threshold": "0.5"},
    }
    assert algorithm.AlgorithmParameters == ",".join(f"{name}={value}" for name, value in expected.items())
    texts = [element.value for element in read["sr"].iterall() if element.keyword == "TextValue"]
    said = [text for text in texts if " = " in text]
    assert said == len(found.findings) * [f"{name} = {value}" for name, value in expected.items()]


def test_without_a_spacing_sizes_are_said_to_be_pixels(tmp_path):
    _, read, _ = made(tmp_path, remove=("ImagerPixelSpacing",))
    assert "size is not known" in read["seg"].ContentDescription
    assert [each.unit.value for each in groups(read["sr"])[0].get_measurements()][:2] == ["{pixels}"] * 2


def test_the_report_measures_what_findings_csv_says(tmp_path):
    found, read, _ = made(tmp_path)
    for finding, group in zip(found.findings, groups(read["sr"]), strict=True):
        row = finding.row()
        area, axis, mean, highest = group.get_measurements()
        assert (area.name.meaning, area.unit.value, area.value) == ("Area", "mm2", row["area_mm2"])
        assert (axis.name.meaning, axis.unit.value, axis.value) == ("Long axis", "mm", row["longest_axis_mm"])
        assert (mean.value, highest.value) == (row["mean_probability"], row["highest_probability"])
        assert group.tracking_identifier == f"mass {finding.number}"


def inside(polygon, shape):
    """(H, W) bool: the pixels whose centres lie in a polygon of (column, row) from the image's outer corner."""
    fine = 8  # drawn so much larger that a pixel's centre falls on a pixel of the drawing
    canvas = Image.new("1", (shape[1] * fine, shape[0] * fine))
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in (polygon * fine - 0.5).tolist()], fill=1)
    return np.asarray(canvas)[fine // 2 :: fine, fine // 2 :: fine]


def test_the_outline_of_the_report_encloses_the_finding(tmp_path):
    found, read, _ = made(tmp_path, TWO)
    for finding, group in zip(found.findings, groups(read["sr"]), strict=True):
        region = group.roi
        assert region.graphic_type.value == "POLYLINE"
        assert (region.value[0] == region.value[-1]).all()
        np.testing.assert_array_equal(inside(region.value, found.mask.shape), found.labels == finding.number)


def test_an_outline_is_one_line_around_corners_and_holes():
    rng = np.random.default_rng(0)
    for _ in range(30):
        labels, _ = ndimage.label(rng.random((13, 17)) < 0.35, np.ones((3, 3)))
        mask = labels == np.bincount(labels.ravel())[1:].argmax() + 1
        line = outline(mask)
        assert (line[0] == line[-1]).all()
        full = ndimage.binary_fill_holes(mask)  # holes of 4-connected background
        np.testing.assert_array_equal(inside(line[:, ::-1] + 0.5, mask.shape), full)


def test_where_nothing_was_found_the_report_says_so_and_there_is_no_segmentation(tmp_path):
    _, read, _ = made(tmp_path, ())
    assert set(read) == {"sr"}
    (group,) = hd.sr.ComprehensiveSR.from_dataset(read["sr"]).content.get_image_measurement_groups()
    (said,) = group.get_qualitative_evaluations()
    assert (said.name.meaning, said.value.meaning) == ("Mass", "Absent")


def test_the_objects_belong_to_the_patient_and_study_of_the_image(tmp_path):
    _, read, _ = made(tmp_path, SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", PatientSex="X")
    image = pydicom.dcmread(tmp_path / "a.dcm")
    for each in read.values():
        assert str(each.PatientName) == "Müller^Jörg"
        assert (each.PatientID, each.StudyInstanceUID) == (image.PatientID, image.StudyInstanceUID)
        assert each.PatientSex in ("", None)
        assert each.SeriesInstanceUID != image.SeriesInstanceUID
    assert read["seg"].SeriesInstanceUID != read["sr"].SeriesInstanceUID


def test_names_stand_in_the_objects_and_nowhere_else(weights, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    write_dicom(tmp_path / "in/SENTINEL_Jane.dcm", marked("left")[0], ImagerPixelSpacing=[0.1, 0.1])
    predict_all([tmp_path / "in"], tmp_path / "out", weights=[weights], dicom=True, nrrd=True)
    written = {path.name.split("_", 1)[-1]: path for path in (tmp_path / "out").iterdir() if path.name != "index.csv"}
    assert "sr.dcm" in written
    for name, path in written.items():
        assert (b"SENTINEL" in path.read_bytes()) == (name in ("seg.dcm", "sr.dcm"))
        assert "SENTINEL" not in path.name
    assert "SENTINEL" not in capsys.readouterr().out


def test_files_that_no_object_can_be_made_of_are_rows_with_an_error(weights, tmp_path):
    image, _ = marked("left")
    Image.fromarray(image).save(tmp_path / "a.png")
    write_dicom(tmp_path / "b.dcm", image, remove=("StudyInstanceUID",))
    write_dicom(tmp_path / "c.dcm", image)
    failed = predict(tmp_path, tmp_path / "out", weights=weights, dicom=True).failed
    assert set(failed) == {"a.png", "b.dcm"}
    assert failed["a.png"] == "a.png: must be DICOM for --dicom, but is not: leave the file or the option out"
    assert failed["b.dcm"].startswith("b.dcm: has no StudyInstanceUID")


def test_a_header_that_highdicom_refuses_is_an_error_without_its_values(tmp_path, monkeypatch):
    image, _ = masses(*TWO)
    path = write_dicom(tmp_path / "a.dcm", image)
    found = segmented(path)
    (file,) = image_files([path])

    def refuse(*_, **__):
        raise ValueError("SENTINEL^PHI is wrong")

    monkeypatch.setattr(hd.sr, "ComprehensiveSR", refuse)
    with pytest.raises(DataError, match=r"^a\.dcm: its header does not let a DICOM object be made \(ValueError\)"):
        objects(found, file)


def test_a_missing_package_is_named_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--dicom needs highdicom.*massmatch\[dicom\]"):
        predict(tmp_path, tmp_path / "out", weights=tmp_path / "nowhere", dicom=True)


@pytest.mark.long
def test_many_findings_are_as_many_segments(tmp_path):
    boxes = [(20 + 6 * row, 10 + 6 * col, 3, 3) for row in range(18) for col in range(15)]  # more than 255
    image, truth = masses(*boxes)
    path = write_dicom(tmp_path / "a.dcm", image, ImagerPixelSpacing=[0.1, 0.2])
    (file,) = image_files([path])
    found = segmented(path)
    segmentation(found, source.read_source(file.root, file.source)).save_as(tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert len(found.findings) == len(seg.SegmentSequence) == 270
    assert (pixels_of(seg).any(axis=0) == truth).all()


@pytest.mark.long
@needs_dcmqi
def test_the_loader_of_3d_slicer_reads_each_segment_to_the_pixel(tmp_path):
    found, _, truth = made(tmp_path)
    planes, spacings = by_dcmqi(tmp_path / "seg.dcm", tmp_path / "read")
    np.testing.assert_array_equal(planes, [found.labels == number for number in (1, 2)])
    np.testing.assert_array_equal(planes.any(axis=0), truth)
    np.testing.assert_allclose(spacings, [(0.1, 0.2)] * 2)


@pytest.mark.long
@needs_orthanc
def test_an_archive_takes_the_objects_and_gives_them_back_equal(tmp_path):
    _, read, truth = made(tmp_path)
    with orthanc(tmp_path) as address:
        answer = store(address, [tmp_path / name for name in ("a.dcm", "seg.dcm", "sr.dcm")])
        assert answer.get("00081198", {}).get("Value", []) == []  # Failed SOP Sequence
        assert len(answer["00081199"]["Value"]) == 3  # Referenced SOP Sequence: what it keeps
        for each in read.values():
            data = retrieve(address, each.StudyInstanceUID, each.SeriesInstanceUID, each.SOPInstanceUID)
            assert pydicom.dcmread(io.BytesIO(data)) == each
            if each.Modality == "SEG":
                assert (pixels_of(pydicom.dcmread(io.BytesIO(data))).sum(axis=0) == truth).all()


def test_replaced_predictions_keep_their_labels(tmp_path):
    """The objects follow the threshold of the prediction that they are made of."""
    found, _, _ = made(tmp_path)
    (file,) = image_files([tmp_path / "a.dcm"])
    assert "seg" not in objects(replace(found, threshold=1.0), file)
