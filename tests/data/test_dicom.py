"""DICOM as it is met: values by hand for every rule of the standard that is applied, one line for what is refused."""

import os
import shutil
import subprocess
from io import BytesIO

import numpy as np
import pydicom
import pydicom.encaps
import pytest
from PIL import Image
from pydicom import uid

from mammograms import mammogram, sequence, write_dicom
from massmatch.data import DataError, DataWarning
from massmatch.data.dicom import is_dicom, read_dicom, read_dicom_mask, read_header
from massmatch.data.dicom_patient import names_patient, patient_key

RAMP = np.array([[0, 10, 20], [30, 40, 50]], np.uint16)
GREY = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) % 4000  # 12 bits


def read(folder, pixels=RAMP, **tags):
    write_dicom(folder / "a.dcm", pixels, **tags)
    return read_dicom(folder, "a.dcm")


# --- pixels: row 43 ------------------------------------------------------------------------------------------------


def test_row_43_stored_values_with_black_at_zero(tmp_path):
    assert read(tmp_path, RAMP + 5).pixels.tolist() == RAMP.tolist()


@pytest.mark.filterwarnings("ignore:a.dcm. its PresentationLUTShape")
@pytest.mark.parametrize("shape", [None, "INVERSE", "IDENTITY"])
def test_row_43_monochrome1_is_inverted_whatever_the_lut_shape_says(tmp_path, shape):
    tags = {} if shape is None else {"PresentationLUTShape": shape}
    found = read(tmp_path, PhotometricInterpretation="MONOCHROME1", **tags)
    assert found.pixels.tolist() == [[50, 40, 30], [20, 10, 0]]


@pytest.mark.filterwarnings("ignore:a.dcm. its PresentationLUTShape")
@pytest.mark.parametrize("shape", [None, "INVERSE", "IDENTITY"])
def test_row_43_monochrome2_is_not(tmp_path, shape):
    tags = {} if shape is None else {"PresentationLUTShape": shape}
    assert read(tmp_path, **tags).pixels.tolist() == RAMP.tolist()


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (
            {"PresentationLUTShape": "INVERSE"},
            "INVERSE, which does not belong to MONOCHROME2: it is read with air dark",
        ),
        (
            {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"},
            "IDENTITY, which does not belong to MONOCHROME1: it is read with air bright",
        ),
        ({"Laterality": "R"}, "ImageLaterality says L, but its Laterality says R: the first is taken"),
        ({"ViewPosition": "RMLO"}, "ImageLaterality says L, but its ViewPosition says R: the first is taken"),
        ({"PixelAspectRatio": [2, 1]}, "says 2 high and 1 wide: pixels are measured as squares, for want of a spacing"),
        (
            {"PixelAspectRatio": [2, 1], "PixelSpacing": [0.1, 0.1]},
            "says 2 high and 1 wide: pixels are measured as 0.1 x 0.1 mm, as its spacing says",
        ),
    ],
)
def test_a_header_that_says_two_things_is_told(tmp_path, tags, said):
    with pytest.warns(DataWarning, match=rf"^a\.dcm: its .*{said}"):
        read(tmp_path, **tags)


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelAspectRatio": [1, 1]},
        {"Laterality": "L"},
        {"PixelAspectRatio": [2, 1], "ImagerPixelSpacing": [0.2, 0.1]},
        {"ImagerPixelSpacing": [0.2, 0.1]},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ],
)
def test_a_header_that_says_one_thing_is_read_without_a_word(tmp_path, tags):
    read(tmp_path, **tags)


@pytest.mark.parametrize(
    "copied",
    [
        {},
        {"PixelPaddingValue": 0},
        {"PixelPaddingValue": 1},
        {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 1},
        {"RescaleSlope": -1, "RescaleIntercept": 4095},
        {"RescaleSlope": 2, "RescaleIntercept": 0},
        {"PixelSpacing": [1, 1]},
    ],
)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_mask_keeps_its_numbers_whatever_was_copied_from_the_header_of_its_image(tmp_path, copied, kind):
    """With a padding of 0, which counts as no image, the lowest number of a mass became background."""
    mask = np.zeros((16, 16), kind)
    mask[2:6, 3:8], mask[9:14, 5:11] = 1, 2
    for labels in (mask, (mask == 1).astype(kind), np.ones_like(mask)):
        write_dicom(tmp_path / "a.dcm", labels, **copied)
        assert read_dicom_mask(tmp_path, "a.dcm").tolist() == labels.tolist()


def test_a_mask_with_numbers_below_0_is_refused(tmp_path):
    write_dicom(tmp_path / "a.dcm", np.array([[-1, 0], [0, 1]], np.int16))
    with pytest.raises(DataError, match=r"^a\.dcm: a mask must hold numbers from 0 to 65535, but holds -1 to 1"):
        read_dicom_mask(tmp_path, "a.dcm")


def test_labels_that_were_compressed_with_losses_are_refused(tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 5:11] = 3
    write_dicom(tmp_path / "a.dcm", mask)
    assert np.array_equal(read_dicom_mask(tmp_path, "a.dcm"), mask)
    write_dicom(tmp_path / "a.dcm", mask, LossyImageCompression="01")
    with pytest.raises(
        DataError, match=r"^a\.dcm: a mask in JPEG must be black and white, but its brightest pixel is 3"
    ):
        read_dicom_mask(tmp_path, "a.dcm")
    write_dicom(tmp_path / "a.dcm", mask * 85, LossyImageCompression="01")
    assert np.array_equal(read_dicom_mask(tmp_path, "a.dcm"), mask * 85)


def test_pixels_of_no_length_are_no_pixels(tmp_path):
    with pytest.raises(DataError, match=r"^a\.dcm: holds no pixels"):
        read(tmp_path, PixelData=b"")


def test_row_43_polarity_on_pixels(tmp_path):
    """A mammogram stored inverted comes back with dark air."""
    image = mammogram(60, 50)
    found = read(tmp_path, image.max() - image, PhotometricInterpretation="MONOCHROME1")
    assert found.pixels[30, 5] > found.pixels[30, 48]
    np.testing.assert_array_equal(found.pixels, image - image.min())


def test_row_43_signed(tmp_path):
    found = read(tmp_path, np.array([[-100, 0], [5, 200]], np.int16))
    assert found.pixels.tolist() == [[0, 100], [105, 300]]


@pytest.mark.parametrize(("kind", "shift"), [(np.int8, 0), (np.int16, 0), (np.int32, 16)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_signed_pixels_of_the_whole_range_keep_their_order(tmp_path, kind, shift, photometric):
    limits = np.iinfo(kind)
    image = np.linspace(limits.min, limits.max, 6).astype(kind).reshape(2, 3)
    found = read(tmp_path, image, BitsStored=limits.bits, PhotometricInterpretation=photometric)
    expected = (image.astype(np.int64) - limits.min) / 2**shift
    expected = expected if photometric == "MONOCHROME2" else expected.max() - expected
    np.testing.assert_allclose(found.pixels, expected, atol=1)


def test_row_43_rescale(tmp_path):
    assert read(tmp_path, RescaleSlope="2", RescaleIntercept="-7").pixels.tolist() == (2 * RAMP).tolist()


def test_row_43_a_falling_rescale_turns_the_order(tmp_path):
    assert read(tmp_path, RescaleSlope="-1", RescaleIntercept="0").pixels.tolist() == (50 - RAMP).tolist()


def test_row_43_a_fractional_rescale_is_stretched(tmp_path):
    found = read(tmp_path, RescaleSlope="0.25", RescaleIntercept="0")
    assert found.pixels.tolist() == np.rint(RAMP / 50 * 65535).astype(int).tolist()


@pytest.mark.parametrize("bits", [12, 16])
def test_row_43_modality_lut(tmp_path, bits):
    squares = np.arange(51, dtype=np.uint16) ** 2
    lut = sequence(LUTDescriptor=[51, 0, bits], LUTData=squares.tobytes(), ModalityLUTType="US")
    assert read(tmp_path, ModalityLUTSequence=lut).pixels.tolist() == (RAMP * RAMP).tolist()


def test_a_modality_lut_of_other_bits_is_refused(tmp_path):
    lut = sequence(LUTDescriptor=[51, 0, 32], LUTData=bytes(102), ModalityLUTType="US")
    with pytest.raises(DataError, match=r"^a\.dcm: the table of its grey levels .* 8 to 16 bits, .* 32 .LUTDescriptor"):
        read(tmp_path, ModalityLUTSequence=lut)


def test_a_modality_lut_of_signed_pixels_over_the_whole_range(tmp_path):
    """The place of 30000 in a table that begins at -20000 is 50000, which 16 bits with a sign do not hold."""
    lut = sequence(LUTDescriptor=[0, -20000, 16], LUTData=np.arange(65536, dtype="<u2").tobytes())
    pixels = np.array([[-20000, 30000], [0, -30000]], np.int16)
    assert read(tmp_path, pixels, BitsStored=16, ModalityLUTSequence=lut).pixels.tolist() == [[0, 50000], [20000, 0]]


def test_row_43_overlays_above_the_stored_bits_are_left_out(tmp_path):
    overlay = np.array([[0x8000, 0, 0], [0, 0xF000, 0]], np.uint16)
    write_dicom(tmp_path / "a.dcm", RAMP + overlay, BitsStored=12)
    file = pydicom.dcmread(tmp_path / "a.dcm")
    file.add_new(0x60000100, "US", 16)  # bits of an overlay, then the place of its bit in the word
    file.add_new(0x60000102, "US", 15)
    file.save_as(tmp_path / "a.dcm")
    assert read_dicom(tmp_path, "a.dcm").pixels.tolist() == RAMP.tolist()


@pytest.mark.parametrize("pixels", [RAMP * 100, np.array([[-900, 5], [7, 8]], np.int16)])
def test_more_bits_than_the_header_says_are_refused(tmp_path, pixels):
    """They would be cut off, so that bright tissue turns dark."""
    with pytest.raises(DataError, match=r"^a\.dcm: its pixels have \d+ bits, but .* says 10 \(BitsStored\): mend"):
        read(tmp_path, pixels, BitsStored=10)


def test_bits_that_lie_higher_in_the_word_are_refused(tmp_path):
    """12 bits that end at bit 15 would be read 16 times too bright, and cut off."""
    with pytest.raises(DataError, match=r"^a\.dcm: its highest bit .* must be 11 with 12 bits, but is 15: mend"):
        read(tmp_path, RAMP, BitsStored=12, HighBit=15)


def test_signed_pixels_without_a_repeated_sign(tmp_path):
    """-1 in 12 bits is 4095, with nothing above."""
    words = np.array([[4095, 0], [5, 200]], np.uint16)
    found = read(tmp_path, words, BitsStored=12, PixelRepresentation=1)
    assert found.pixels.tolist() == [[0, 1], [6, 201]]


@pytest.mark.parametrize(
    ("pixels", "padding"),
    [
        (np.array([[-2000, 20], [30, 40]], np.int16), 63536),
        (np.array([[63536, 20], [30, 40]], np.uint16), -2000),
    ],
)
@pytest.mark.parametrize("bits", [16, 12])
def test_padding_of_the_other_sign_is_air(tmp_path, pixels, padding, bits):
    write_dicom(tmp_path / "a.dcm", pixels, BitsStored=bits)
    file = pydicom.dcmread(tmp_path / "a.dcm")
    file.add_new("PixelPaddingValue", "US" if padding > 0 else "SS", padding)
    file.save_as(tmp_path / "a.dcm")
    assert read_dicom(tmp_path, "a.dcm").pixels.tolist() == [[0, 0], [10, 20]]


@pytest.mark.parametrize("modality", ["RG", "CR", "DX", "OT"])
def test_digitised_film_is_taken_when_it_is_asked_for(tmp_path, modality):
    with pytest.raises(DataError, match=f"has the modality {modality}: .*--modality any"):
        read(tmp_path, Modality=modality)
    assert read_dicom(tmp_path, "a.dcm", modality="any").pixels.tolist() == RAMP.tolist()


def test_jpeg_extended_of_12_bits_is_named_with_the_way_out(tmp_path):
    write_dicom(tmp_path / "a.dcm", RAMP, BitsStored=12)
    file = pydicom.dcmread(tmp_path / "a.dcm")
    file.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    file.file_meta.TransferSyntaxUID = uid.JPEGExtended12Bit
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    file.save_as(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"^a\.dcm: JPEG Extended of 12 bits needs a decoder .*dcmdjpeg"):
        read_dicom(tmp_path, "a.dcm")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_row_43_padding_is_air(tmp_path, photometric):
    pixels = np.array([[9999, 9999, 20], [30, 40, 50]], np.uint16)
    found = read(tmp_path, pixels, PixelPaddingValue=9999, PhotometricInterpretation=photometric).pixels
    rest = [[0, 0, 0], [10, 20, 30]] if photometric == "MONOCHROME2" else [[0, 0, 30], [20, 10, 0]]
    assert found.tolist() == rest


def test_row_43_a_range_of_padding(tmp_path):
    pixels = np.array([[9990, 9999, 20], [30, 40, 50]], np.uint16)
    found = read(tmp_path, pixels, PixelPaddingValue=9999, PixelPaddingRangeLimit=9990).pixels
    assert found.tolist() == [[0, 0, 0], [10, 20, 30]]


def test_a_range_of_padding_on_both_sides_of_0_in_signed_pixels_without_repeated_sign(tmp_path):
    """-2000 in 12 bits is 2096, with nothing above; where a 0 stood beside it, that alone was taken for padding."""
    words = np.array([[2096, 0, 20], [30, 40, 50]], np.uint16)
    found = read(tmp_path, words.view(np.int16), BitsStored=12, PixelPaddingValue=-2000, PixelPaddingRangeLimit=0)
    assert found.pixels.tolist() == [[0, 0, 0], [10, 20, 30]]


def big_endian(folder, pixels, **tags):
    """What is read of these pixels, written with the most significant byte first."""
    file = pydicom.dcmread(write_dicom(folder / "a.dcm", pixels, **tags))
    file.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    file.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    pydicom.dcmwrite(folder / "a.dcm", file)
    return read_dicom(folder, "a.dcm").pixels.tolist()


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_padding_and_stored_bits_of_big_endian_pixels(tmp_path, kind):
    """Turned to the other order of bytes, 4000 is no padding, and 20 has 13 bits."""
    assert big_endian(tmp_path, np.array([[4000, 20], [30, 40]], kind), PixelPaddingValue=4000) == [[0, 0], [10, 20]]
    words = np.array([[4095, 0], [5, 200]], np.uint16)  # -1 in 12 bits is 4095, with nothing above
    assert big_endian(tmp_path, words, BitsStored=12, PixelRepresentation=1) == [[0, 1], [6, 201]]


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": ["20", "30"], "WindowWidth": ["5", "10"]},
        {"WindowCenter": "20", "WindowWidth": "5", "VOILUTFunction": "SIGMOID"},
    ],
)
def test_row_43_windows_are_for_display(tmp_path, window):
    assert read(tmp_path, **window).pixels.tolist() == RAMP.tolist()


def test_eight_bits(tmp_path):
    assert read(tmp_path, RAMP.astype(np.uint8)).pixels.tolist() == RAMP.tolist()


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ({"PresentationIntentType": "FOR PROCESSING"}, "is FOR PROCESSING.*--allow-for-processing"),
        (
            {"PresentationIntentType": "", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1"},
            "is FOR PROCESSING.*--allow-for-processing",
        ),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, "tomosynthesis"),
        ({"NumberOfFrames": "2", "PixelData": RAMP.tobytes() * 2}, "several frames.*give a 2-D"),
        ({"Modality": "OT"}, "must be a mammogram"),
        ({"Modality": "MR"}, "must be a mammogram"),
        ({"remove": ("PixelData",)}, "holds no pixels"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}, "in colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "in colour"),
        ({"Rows": 60000, "Columns": 60000}, "at most|1 to 100 million pixels, but its header says 3600"),
        ({"Rows": 0}, "1 to 100 million"),
        ({"remove": ("Rows",)}, "its header lacks Rows.*: export the image anew"),
        ({"remove": ("BitsStored",)}, "its header lacks BitsStored"),
        ({"remove": ("PhotometricInterpretation",)}, "its header lacks PhotometricInterpretation"),
        ({"Rows": 500}, "cut off or damaged"),
    ],
)
def test_row_43_refused_by_name(tmp_path, tags, what):
    with pytest.raises(DataError, match=rf"^a\.dcm: .*({what})"):
        read(tmp_path, **tags)


def test_raw_data_when_asked_for(tmp_path):
    write_dicom(tmp_path / "a.dcm", RAMP, PresentationIntentType="FOR PROCESSING")
    assert read_dicom(tmp_path, "a.dcm", allow_for_processing=True).pixels.tolist() == RAMP.tolist()


# --- damaged files: row 45 -----------------------------------------------------------------------------------------


def test_row_45_cut_off(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", mammogram(60, 50))
    whole = path.read_bytes()
    for length in (0, 100, 140, 300, 700, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"^a\.dcm: "):
            read_dicom(tmp_path, "a.dcm")


def test_row_45_no_dicom_and_no_preamble(tmp_path):
    (tmp_path / "a.dcm").write_text("<html>not found</html>")
    (tmp_path / "b.dcm").write_bytes(write_dicom(tmp_path / "c.dcm", RAMP).read_bytes()[132:])
    for name in ("a.dcm", "b.dcm"):
        with pytest.raises(DataError, match=rf"^{name}: is no DICOM file"):
            read_dicom(tmp_path, name)


def test_row_45_a_dicomdir(tmp_path):
    with pytest.raises(DataError, match="is a DICOMDIR, a table of contents"):
        read(tmp_path, SOPClassUID="1.2.840.10008.1.3.10")


@pytest.mark.parametrize("seed", range(20))
def test_row_45_flipped_bytes_never_give_a_traceback(tmp_path, seed):
    path = write_dicom(tmp_path / "a.dcm", mammogram(60, 50))
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for where in rng.integers(128, 1200, 30):
        data[where] = rng.integers(256)
    path.write_bytes(data)
    try:
        read_dicom(tmp_path, "a.dcm")
    except DataError as error:
        told = str(error)
    else:
        told = "a.dcm: "
    assert told.startswith("a.dcm: ")
    assert "SENTINEL" not in told


def test_no_such_file_and_no_right(tmp_path):
    with pytest.raises(DataError, match=r"^a\.dcm: no such file"):
        read_dicom(tmp_path, "a.dcm")
    path = write_dicom(tmp_path / "b.dcm", RAMP)
    path.chmod(0)
    if not os.access(path, os.R_OK):
        with pytest.raises(DataError, match=r"^b\.dcm: may not be read"):
            read_dicom(tmp_path, "b.dcm")


# --- transfer syntaxes: row 44 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "syntax",
    [
        uid.RLELossless,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
        uid.ImplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
    ids=lambda s: s.name,
)
def test_lossless_syntaxes_give_the_same_pixels(tmp_path, syntax):
    image = mammogram(64, 48)
    found = read(tmp_path, image, syntax=syntax, encode=syntax.is_compressed and syntax.is_encapsulated)
    np.testing.assert_array_equal(found.pixels, image - image.min())


def test_jpeg_lossless_gives_the_same_pixels(tmp_path):
    compressed(tmp_path, uid.JPEGLosslessSV1)
    assert read_header(tmp_path, "a.dcm").file_meta.TransferSyntaxUID == uid.JPEGLosslessSV1
    np.testing.assert_array_equal(read_dicom(tmp_path, "a.dcm").pixels, GREY)


def test_row_44_a_missing_decoder_is_named(tmp_path, monkeypatch):
    write_dicom(tmp_path / "a.dcm", mammogram(64, 48), syntax=uid.JPEG2000Lossless)
    decoder = pydicom.pixels.get_decoder(uid.JPEG2000Lossless)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(DataError, match=r"^a\.dcm: JPEG 2000 .* needs a decoder: pip install pylibjpeg-openjpeg"):
        read_dicom(tmp_path, "a.dcm")


def test_row_44_video_is_no_mammogram(tmp_path):
    with pytest.raises(DataError, match=r"^a\.dcm: holds no still image|damaged"):
        read(tmp_path, syntax=uid.MPEG2MPML, encode=False, PixelData=pydicom.encaps.encapsulate([b"x" * 64]))


@pytest.mark.parametrize(
    ("syntax", "said"),
    [
        (uid.UID("1.2.840.113619.5.2"), "its transfer syntax 1.2.840.113619.5.2 is none of the standard: convert"),
        (uid.UID("1.2.840.10008.1.2.4.55"), "its transfer syntax, JPEG Full Progression, .*, is not read: convert"),
        (uid.UID("1.2.840.10008.1.2.4.94"), "its transfer syntax, JPIP Referenced, is not read: convert"),
    ],
)
def test_an_unread_transfer_syntax_is_named_with_the_way_out(tmp_path, syntax, said):
    path = write_dicom(tmp_path / "a.dcm", mammogram(64, 48))
    header = pydicom.dcmread(path)
    header.PixelData = pydicom.encaps.encapsulate([b"x" * 64])
    header["PixelData"].VR = "OB"
    header["PixelData"].is_undefined_length = True
    header.file_meta.TransferSyntaxUID = syntax
    header.save_as(path, enforce_file_format=False, implicit_vr=False, little_endian=True)
    with pytest.raises(DataError, match=rf"^a\.dcm: {said}"):
        read_dicom(tmp_path, "a.dcm")


def test_a_torn_jpeg_is_told_in_our_words_alone(tmp_path, capfd):
    """The decoder of GDCM writes to stderr itself."""
    path = write_dicom(tmp_path / "a.dcm", mammogram(64, 48))
    if shutil.which("dcmcjpeg") is None:
        pytest.skip("needs dcmcjpeg of DCMTK")
    subprocess.run(["dcmcjpeg", "+e1", path, path], check=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : -20] = bytes(255 * (n % 2) for n in range(len(content) - 20 - len(content) // 2))
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^a\.dcm: its pixels are cut off or damaged .*JPEG Lossless"):
        read_dicom(tmp_path, "a.dcm")
    assert capfd.readouterr() == ("", "")


def test_row_45_a_jpeg_that_lacks_bytes_in_its_middle(tmp_path, capfd):
    """Its decoder says so to stderr, and fills the rest with grey."""
    stream = BytesIO()
    Image.fromarray((mammogram(64, 48) >> 4).astype(np.uint8)).save(stream, "JPEG", quality=90)
    whole = stream.getvalue()
    for name, data in {"a.dcm": whole, "b.dcm": whole[: len(whole) // 2] + whole[len(whole) // 2 + 40 :]}.items():
        pixels = pydicom.encaps.encapsulate([data])
        write_dicom(
            tmp_path / name, np.zeros((64, 48), np.uint8), syntax=uid.JPEGBaseline8Bit, encode=False, PixelData=pixels
        )
    assert np.ptp(read_dicom(tmp_path, "a.dcm").pixels) > 100
    with pytest.raises(DataError, match=r"^b\.dcm: its pixels are cut off or damaged .*JPEG Baseline"):
        read_dicom(tmp_path, "b.dcm")
    assert capfd.readouterr() == ("", "")


def test_row_45_cut_off_compressed_pixels(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", mammogram(64, 48), syntax=uid.JPEG2000Lossless)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"^a\.dcm: .*(damaged|no pixels)"):
        read_dicom(tmp_path, "a.dcm")


def test_row_43_a_sign_of_which_the_header_knows_nothing_is_refused(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", GREY.astype(np.int16) - 2000, syntax=uid.JPEG2000Lossless, BitsStored=16)
    assert np.array_equal(read_dicom(tmp_path, "a.dcm").pixels, GREY - GREY.min())
    header = pydicom.dcmread(path)
    header.PixelRepresentation = 0  # read so, all below 0 were brighter than all above
    header.save_as(path)
    with pytest.raises(DataError, match=r"^a\.dcm: its pixels have a sign, but its header says none"):
        read_dicom(tmp_path, "a.dcm")


# --- spacing, side, view -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "spacing", "source"),
    [
        ({}, None, "none"),
        ({"ImagerPixelSpacing": [0.07, 0.08]}, (0.07, 0.08), "ImagerPixelSpacing"),
        (
            {"ImagerPixelSpacing": [0.07, 0.08], "EstimatedRadiographicMagnificationFactor": "1.6"},
            (0.04375, 0.05),
            "ImagerPixelSpacing/magnification",
        ),
        ({"PixelSpacing": [0.06, 0.05], "ImagerPixelSpacing": [0.07, 0.07]}, (0.06, 0.05), "PixelSpacing"),
        ({"PixelSpacing": [0.07, 0.07], "ImagerPixelSpacing": [0.07, 0.07]}, (0.07, 0.07), "ImagerPixelSpacing"),
        ({"PixelSpacing": [0, 0]}, None, "none"),
    ],
)
def test_spacing_says_where_it_is_from(tmp_path, tags, spacing, source):
    found = read(tmp_path, **tags)
    assert found.spacing_mm == (None if spacing is None else pytest.approx(spacing))
    assert found.spacing_source == source


def test_side_and_view(tmp_path):
    assert (read(tmp_path).side, read(tmp_path).view) == ("L", "CC")
    assert read(tmp_path, Laterality="R", remove=("ImageLaterality",)).side == "R"
    assert read(tmp_path, remove=("ImageLaterality",)).side is None
    code = sequence(CodeValue="399368009", CodingSchemeDesignator="SCT", CodeMeaning="medio-lateral oblique")
    assert read(tmp_path, ViewCodeSequence=code, remove=("ViewPosition",)).view == "MLO"
    assert read(tmp_path, remove=("ViewPosition",)).view is None
    both = read(tmp_path, ViewPosition="RMLO", remove=("ImageLaterality",))
    assert (both.side, both.view) == ("R", "MLO")  # RMLO was a view of its own, of which no muscle was darkened
    both = read(tmp_path, ViewPosition="RT MLO", ImageLaterality="U")
    assert (both.side, both.view) == ("R", "MLO")
    assert read(tmp_path, ImageLaterality="RIGHT").side == "R"
    assert read(tmp_path, ImageLaterality="U", Laterality="L").side == "L"
    assert (read(tmp_path, ViewPosition="L CC").side, read(tmp_path, ViewPosition="L CC").view) == ("L", "CC")
    assert read(tmp_path, ViewPosition="DOE JANE").view is None  # no text of the header but a view gets out


# --- names stay in the header: rows 51-53 --------------------------------------------------------------------------


def test_row_52_a_patients_name_in_a_file_name_is_seen(tmp_path):
    header = read_header(tmp_path, write_dicom(tmp_path / "a.dcm", RAMP, PatientName="Doe^Jane").name)
    assert names_patient(header, "2024_doe_left")
    assert names_patient(header, "x-SENTINEL-ID-x")
    assert not names_patient(header, "left_cc_0007")


@pytest.mark.parametrize(
    ("name", "id", "text"),
    [
        ("X^Y", "000123", "case_123_left"),  # files are called without the zeros of the ID
        ("X^Y", "000", None),
        ("Müller^Ann", "1", "mueller_left"),
        ("Müller^Ann", "1", "MULLER"),
        ("Mueller^Ann", "1", "mu\N{COMBINING DIAERESIS}ller"),
        ("Muñoz^Ann", "1", "munoz"),
        ("Groß^X", "1", "GROSS"),
        ("Müller-Lüdenscheid^Ann", "1", "mueller_LCC"),
        ("García-López^X", "1", "lopez"),
        ("O'Brien^X", "1", "OBrien"),
        ("Doe,Jane", "1", "doe_1"),
        ("Sørensen^X", "1", "soerensen"),
        ("Sørensen^X", "1", "sorensen"),
        ("Wałęsa^X", "1", "walesa"),
        ("山田^太郎", "1", "山田_左"),
        ("X^Y", "12-345-67", "1234567"),
        ("X^Y", "PAT/0042", "PAT_0042"),
    ],
)
def test_row_52_a_name_is_seen_in_any_spelling(tmp_path, name, id, text):
    kept = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": name, "PatientID": id}
    header = read_header(tmp_path, write_dicom(tmp_path / "a.dcm", RAMP, **kept).name)
    assert not names_patient(header, "left_cc_0007")
    assert text is None or names_patient(header, text)


def test_one_patient_has_one_key_that_does_not_tell_the_id(tmp_path):
    a = read_header(tmp_path, write_dicom(tmp_path / "a.dcm", RAMP, PatientID="123").name)
    b = read_header(tmp_path, write_dicom(tmp_path / "b.dcm", RAMP, PatientID="123 ").name)
    c = read_header(tmp_path, write_dicom(tmp_path / "c.dcm", RAMP, PatientID="124").name)
    assert patient_key(a) == patient_key(b) != patient_key(c)
    assert "123" not in patient_key(a) or len(patient_key(a)) == 12


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("007", "7", True),
        ("P12", "p12", True),
        ("P012", "P12", False),
        ("7", "70", False),
        ("7.0", "7", True),
        ("０７", "7", True),
    ],
)
def test_spellings_of_one_id_are_one_patient(tmp_path, one, other, same):
    """As in a csv, where they are refused: apart, images of one woman could stand in training and test."""
    keys = {
        patient_key(read_header(tmp_path, write_dicom(tmp_path / "a.dcm", RAMP, **tags).name))
        for tags in ({"PatientID": one, "SpecificCharacterSet": "ISO_IR 192"}, {"PatientID": other})
    }
    assert (len(keys) == 1) is same


@pytest.mark.parametrize("id", ["", " ", "Anonymous", "REMOVED", "N/A", None])
def test_an_id_that_is_everybodys_is_nobodys(tmp_path, id):
    def key(name, **tags):
        left_out = ("PatientID",) if id is None else ()
        return patient_key(
            read_header(tmp_path, write_dicom(tmp_path / name, RAMP, PatientID=id, remove=left_out, **tags).name)
        )

    first, again = key("a.dcm", StudyInstanceUID="1.2.3"), key("b.dcm", StudyInstanceUID="1.2.3")
    assert first == again != key("c.dcm", StudyInstanceUID="1.2.4")
    assert key("d.dcm", StudyInstanceUID="") is None


def test_dicom_is_known_by_its_content(tmp_path):
    write_dicom(tmp_path / "IM0001", RAMP)
    (tmp_path / "text").write_text("text")
    assert is_dicom(tmp_path / "IM0001")
    assert not is_dicom(tmp_path / "text")


# --- header and pixels disagree --------------------------------------------------------------------------------------


def changed(folder, file, **tags):
    """The file with other tags in its header, read."""
    header = pydicom.dcmread(folder / file)
    for keyword, value in tags.items():
        setattr(header, keyword, value)
    header.save_as(folder / "changed.dcm")
    return read_dicom(folder, "changed.dcm")


@pytest.mark.parametrize("tags", [{"Rows": 50}, {"Columns": 70}, {"Rows": 32}, {"Rows": 30, "Columns": 40}])
def test_pixels_that_would_be_left_over_are_refused(tmp_path, tags):
    write_dicom(tmp_path / "a.dcm", GREY)
    with pytest.raises(DataError, match=r"^changed\.dcm: its pixels are \d+ bytes longer than the image, but its head"):
        changed(tmp_path, "a.dcm", **tags)


def test_a_few_bytes_behind_the_pixels_are_padding(tmp_path):
    write_dicom(tmp_path / "a.dcm", GREY)
    found = changed(tmp_path, "a.dcm", PixelData=GREY.tobytes() + bytes(60))
    np.testing.assert_array_equal(found.pixels, GREY)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.JPEGLosslessSV1])
@pytest.mark.parametrize("size", [(50, 96), (64, 70), (96, 64), (70, 96), (200, 200)])
def test_compressed_pixels_of_another_size_are_refused(tmp_path, syntax, size):
    """Some decoders give other pixels, and one of JPEG-LS ends the whole program."""
    compressed(tmp_path, syntax)
    with pytest.raises(DataError, match=r"^changed\.dcm: its pixels have 64 rows and 96 columns, but its header says"):
        changed(tmp_path, "a.dcm", Rows=size[0], Columns=size[1])


@pytest.mark.parametrize("size", [(50, 96), (64, 70), (32, 48)])
def test_run_lengths_that_would_be_left_over_are_refused(tmp_path, size):
    compressed(tmp_path, uid.RLELossless)
    np.testing.assert_array_equal(read_dicom(tmp_path, "a.dcm").pixels, GREY)
    with pytest.raises(DataError, match=rf"more than the {size[0]} rows and {size[1]} columns that its header says"):
        changed(tmp_path, "a.dcm", Rows=size[0], Columns=size[1])


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.JPEGLosslessSV1])
def test_compressed_pixels_of_more_bits_are_refused(tmp_path, syntax):
    compressed(tmp_path, syntax)
    with pytest.raises(DataError, match=r"^changed\.dcm: its pixels have 12 bits, but its header says 10 \(BitsStored"):
        changed(tmp_path, "a.dcm", BitsStored=10, HighBit=9)
    with pytest.raises(DataError, match=r"^changed\.dcm: its pixels have 1[26] bits, .* says 8 \(BitsAllocated\)"):
        changed(tmp_path, "a.dcm", BitsAllocated=8, BitsStored=8, HighBit=7)
    np.testing.assert_array_equal(changed(tmp_path, "a.dcm", BitsStored=13, HighBit=12).pixels, GREY)


def compressed(folder, syntax):
    """GREY as a.dcm in this transfer syntax; JPEG Lossless by GDCM, since neither pydicom nor pylibjpeg can."""
    write_dicom(folder / "a.dcm", GREY, BitsStored=12)
    if syntax != uid.JPEGLosslessSV1:
        file = pydicom.dcmread(folder / "a.dcm")
        file.compress(syntax)
        file.save_as(folder / "a.dcm")
        return
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "a.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "a.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize("tags", [{"RescaleSlope": "0"}, {"RescaleSlope": "0", "RescaleIntercept": "5"}])
def test_a_slope_of_nought_is_refused(tmp_path, tags):
    """It would make every image black."""
    with pytest.raises(DataError, match=r"^a\.dcm: its grey levels must be rescaled by a slope"):
        read(tmp_path, **tags)


def test_a_slope_without_intercept_is_a_slope(tmp_path):
    assert read(tmp_path, RescaleSlope="-1").pixels.tolist() == (50 - RAMP).tolist()
    assert read(tmp_path, RescaleSlope="", RescaleIntercept="").pixels.tolist() == RAMP.tolist()


@pytest.mark.parametrize("photometric", ["MONOCHROME", "MONOCHROME 2", "MONOCHROME3"])
def test_grey_of_an_unknown_kind_is_refused_by_name(tmp_path, photometric):
    with pytest.raises(DataError, match=rf"must be MONOCHROME1 or MONOCHROME2, but is {photometric}:"):
        read(tmp_path, PhotometricInterpretation=photometric)


def test_a_spacing_that_no_detector_has_is_unknown(tmp_path):
    """gdcmconv writes 1 x 1 mm where there was none."""
    image = mammogram(600, 400)
    with pytest.warns(DataWarning, match=r"^a\.dcm: ImagerPixelSpacing of 1 x 1 mm would make the image more than 500"):
        found = read(tmp_path, image, ImagerPixelSpacing=[1, 1])
    assert (found.spacing_mm, found.spacing_source) == (None, "none")
    with pytest.warns(DataWarning, match="PixelSpacing of 1 x 1 mm"):
        found = read(tmp_path, image, PixelSpacing=[1, 1], ImagerPixelSpacing=[0.07, 0.07])
    assert found.spacing_mm == (0.07, 0.07)
    assert read(tmp_path, mammogram(256, 200), PixelSpacing=[1, 1]).spacing_mm == (1, 1)  # a small copy


def test_a_mask_in_monochrome1_is_refused(tmp_path):
    write_dicom(tmp_path / "mask.dcm", (RAMP > 20).astype(np.uint16), PhotometricInterpretation="MONOCHROME1")
    with pytest.raises(DataError, match=r"^mask\.dcm: a mask must be MONOCHROME2, with 0 for background"):
        read_dicom_mask(tmp_path, "mask.dcm")
    write_dicom(tmp_path / "mask.dcm", (RAMP > 20).astype(np.uint16))
    assert read_dicom_mask(tmp_path, "mask.dcm").tolist() == (RAMP > 20).astype(int).tolist()


@pytest.mark.parametrize("modality", ["MG", "any"])
@pytest.mark.parametrize("bits", [1, 8])
def test_a_segmentation_object_is_a_mask_if_it_has_one_frame(tmp_path, bits, modality):
    """It was told to be tomosynthesis, and one of one frame to be no mammogram."""
    mask = np.zeros((16, 24), np.uint8)
    mask[4:9, 5:11] = 1
    stored = np.packbits(mask, bitorder="little") if bits == 1 else mask
    tags = {"Modality": "SEG", "BitsAllocated": bits, "BitsStored": bits, "Rows": 16, "Columns": 24}
    write_dicom(tmp_path / "mask.dcm", mask, **tags, NumberOfFrames=1, PixelData=stored.tobytes())
    assert np.array_equal(read_dicom_mask(tmp_path, "mask.dcm", modality=modality), mask)
    write_dicom(tmp_path / "mask.dcm", mask, **tags, NumberOfFrames=2, PixelData=2 * stored.tobytes())
    with pytest.raises(DataError, match=r"^mask\.dcm: a mask must have one frame, but has 2 .*one segment.*as PNG"):
        read_dicom_mask(tmp_path, "mask.dcm", modality=modality)
    with pytest.raises(DataError, match=r"^mask\.dcm: is tomosynthesis"):
        read_dicom(tmp_path, "mask.dcm")
