"""Files whose pixels a library hands out otherwise than a viewer shows them: read right, or refused by name."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from massmatch.data import DataError, DataWarning
from massmatch.data.images import read_grey, read_labels

RAMP8 = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
RAMP16 = np.arange(0, 60000, 2500, dtype=np.uint16).reshape(4, 6)
MASK = np.zeros((8, 10), np.uint8)
MASK[2:5, 3:7] = 1


def chunk(kind, content):
    """A part of a PNG, with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png(path, head, rows, *parts):
    """A PNG, chunk by chunk as its specification says. `head`: columns, rows, bits, colour type."""
    body = [chunk(b"IHDR", struct.pack(">IIBBBBB", *head, 0, 0, 0)), *parts, chunk(b"IDAT", zlib.compress(rows))]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b""))


def write_tiff(path, pixels, *, compressed=False, order="<", **tags):
    """A TIFF of one strip, byte by byte as TIFF 6.0 says, with any tags by number (t262 is the photometric)."""
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if compressed else data
    entries = {
        **{256: pixels.shape[1], 257: pixels.shape[0], 258: 8 * pixels.itemsize, 259: 8 if compressed else 1},
        **{262: 1, 273: 8, 277: 1, 278: pixels.shape[0], 279: len(data)},
        **{int(name[1:]): value for name, value in tags.items()},
    }
    start = 8 + len(data) + len(data) % 2
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, start) + data + b"\0" * (len(data) % 2)
    directory = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    path.write_bytes(head + struct.pack(f"{order}H", len(entries)) + directory + struct.pack(f"{order}I", 0))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("pixels", [RAMP8, RAMP16])
def test_a_tiff_with_white_at_zero_has_its_air_dark(tmp_path, pixels, compressed):
    write_tiff(tmp_path / "a.tif", pixels, compressed=compressed)
    assert np.array_equal(read_grey(tmp_path, "a.tif"), pixels)
    write_tiff(tmp_path / "a.tif", pixels, compressed=compressed, t262=0)
    for read in (read_grey, read_labels):
        assert np.array_equal(read(tmp_path, "a.tif"), np.iinfo(pixels.dtype).max - pixels)


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("pixels", [RAMP8, RAMP16])
def test_a_tiff_to_be_shown_turned_is_refused(tmp_path, pixels, compressed, orientation):
    write_tiff(tmp_path / "a.tif", pixels, compressed=compressed, t274=orientation)
    for read in (read_grey, read_labels):
        with pytest.raises(DataError, match=r"^a\.tif: an orientation tag asks to show it turned: save it upright"):
            read(tmp_path, "a.tif")


def test_a_tiff_that_says_it_is_upright_is_read(tmp_path):
    write_tiff(tmp_path / "a.tif", RAMP16, t274=1)
    assert np.array_equal(read_grey(tmp_path, "a.tif"), RAMP16)


@pytest.mark.parametrize("pixels", [RAMP8, RAMP16])
def test_a_tiff_that_lacks_strips_is_refused(tmp_path, pixels):
    """It says that a strip has two rows, and has one strip: the other rows would be black."""
    write_tiff(tmp_path / "a.tif", pixels, t278=2)
    for read in (read_grey, read_labels):
        with pytest.raises(DataError, match=r"^a\.tif: holds pixels for a part of its 4 rows only: replace the file"):
            read(tmp_path, "a.tif")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", [1, 2])
def test_16_bits_in_several_planes_are_refused(tmp_path, mode, order):
    """Pillow reads the bytes of 16 bits in planes (PlanarConfiguration 2) as 8-bit pixels, which scrambles them."""
    planes = np.stack([RAMP16] * 3, axis=0 if mode == 2 else 2)
    write_rgb16(tmp_path / "a.tif", planes, mode, order)
    for read in (read_grey, read_labels):
        with pytest.raises(DataError, match=r"^a\.tif: 16 bits in several channels would be cut to 8"):
            read(tmp_path, "a.tif")


def write_rgb16(path, planes, mode, order):
    """A TIFF of three channels of 16 bits, side by side (mode 1) or plane by plane (2)."""
    data = planes.astype(f"{order}u2").tobytes()
    count = 3 if mode == 2 else 1
    size = len(data) // count
    rows, cols = RAMP16.shape
    directory, far = 8 + len(data), 8 + len(data) + 2 + 11 * 12 + 4
    lists = struct.pack(f"{order}3H", 16, 16, 16) + b"\0\0"
    offsets, sizes = [8 + n * size for n in range(count)], [size] * count
    if count > 1:
        lists += struct.pack(f"{order}6I", *offsets, *sizes)
    strips = (far + 8, far + 20) if count > 1 else (8, size)
    entries = [
        *((256, 4, 1, cols), (257, 4, 1, rows), (258, 3, 3, far), (259, 4, 1, 1), (262, 4, 1, 2)),
        *((273, 4, count, strips[0]), (277, 4, 1, 3), (278, 4, 1, rows), (279, 4, count, strips[1])),
        *((284, 4, 1, mode), (339, 4, 1, 1)),
    ]
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, directory)
    table = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    path.write_bytes(head + data + struct.pack(f"{order}H", len(entries)) + table + b"\0" * 4 + lists)


def test_a_large_tiff_with_big_endian_bytes_is_named(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"MM\0+" + b"\0" * 60)
    with pytest.raises(DataError, match=r"^a\.tif: a BigTIFF with big-endian bytes: this kind is not read"):
        read_grey(tmp_path, "a.tif")


def test_negative_greys_of_8_bits_are_refused(tmp_path):
    write_tiff(tmp_path / "a.tif", RAMP8, t339=2)
    with pytest.raises(DataError, match=r"^a\.tif: .*signed 8 bits"):
        read_grey(tmp_path, "a.tif")


def test_16_bits_beside_an_alpha_channel_are_refused(tmp_path):
    """Pillow would cut them to 8. Written chunk by chunk as the PNG specification says: colour type 4, 16 bits."""
    rows = b"".join(b"\0" + np.stack([row, row], axis=1).astype(">u2").tobytes() for row in RAMP16)
    write_png(tmp_path / "a.png", (6, 4, 16, 4), rows)
    with pytest.raises(DataError, match=r"^a\.png: 16 bits in several channels would be cut to 8"):
        read_grey(tmp_path, "a.png")


@pytest.mark.parametrize("bits", [2, 4])
def test_labels_of_few_bits_keep_their_numbers(tmp_path, bits):
    labels = np.array([[0, 1, 2, 3]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "a.png", bits=bits)
    assert read_labels(tmp_path, "a.png").tolist() == labels.tolist()


@pytest.mark.parametrize("kind", ["jpg", "tif"])
@pytest.mark.parametrize("top", [1, 2, 5, 16, 100, 255])
def test_labels_in_jpeg_are_refused(tmp_path, top, kind):
    """Losses blur the edge of a mass of number 5 into 1 to 9: as labels, these rings would be nine masses."""
    row, col = np.mgrid[:64, :64]
    disc = (((row - 30) ** 2 + (col - 25) ** 2) < 100).astype(np.uint8)
    options = {"quality": 90} | ({"compression": "jpeg"} if kind == "tif" else {})
    Image.fromarray(disc * np.uint8(top)).save(tmp_path / f"a.{kind}", **options)
    if top == 255:
        assert np.array_equal(read_labels(tmp_path, f"a.{kind}") > 127, disc > 0)
    else:
        with pytest.raises(DataError, match=rf"^a\.{kind}: a mask in JPEG must be black and white, but its brightest"):
            read_labels(tmp_path, f"a.{kind}")
    Image.fromarray(disc * np.uint8(0)).save(tmp_path / f"empty.{kind}", **options)
    assert not read_labels(tmp_path, f"empty.{kind}").any()


def test_labels_in_dark_colours_are_refused(tmp_path):
    """Their luminance would be taken, in which (1, 0, 0) is 0."""
    Image.fromarray(np.stack([MASK, 0 * MASK, 0 * MASK], axis=2)).save(tmp_path / "a.png")
    with (
        pytest.warns(DataWarning, match="differ by up to 1"),
        pytest.raises(DataError, match=r"^a\.png: .*dark colours"),
    ):
        read_labels(tmp_path, "a.png")
    Image.fromarray(np.stack([3 * MASK] * 3, axis=2)).save(tmp_path / "a.png")
    assert np.array_equal(read_labels(tmp_path, "a.png"), 3 * MASK)


def test_a_smoothed_edge_in_4_bits_keeps_its_greys(tmp_path):
    """Programs that pack pictures store 16 greys in 4 bits: 15 labels, each a ring, would be made of one mass."""
    Image.fromarray(np.arange(16, dtype=np.uint8)[None]).save(tmp_path / "a.png", bits=4)
    assert read_labels(tmp_path, "a.png").tolist() == [list(range(0, 256, 17))]


# --- masks with a palette --------------------------------------------------------------------------------------------


def painted(path, numbers, colours):
    image = Image.fromarray(np.asarray(numbers, np.uint8)).convert("P")
    image.putdata(np.asarray(numbers, np.uint8).ravel().tolist())
    palette = np.zeros((256, 3), np.uint8)
    for number, colour in colours.items():
        palette[number] = colour
    image.putpalette(palette.ravel().tolist())
    image.save(path)


BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (200, 0, 0)


@pytest.mark.parametrize(
    ("colours", "numbers", "labels"),
    [
        ({0: BLACK, 1: RED, 2: WHITE}, [0, 1, 2], [0, 1, 2]),  # as PASCAL VOC has them
        ({0: WHITE, 1: BLACK}, [0, 1, 1], [1, 0, 0]),  # the mass is number 0
        ({0: RED, 5: BLACK, 7: WHITE}, [0, 5, 7], [1, 0, 2]),
        ({0: BLACK, 3: BLACK, 4: RED}, [0, 3, 4], [0, 0, 1]),  # two numbers look like background
        ({0: BLACK, 3: RED, 4: RED, 5: BLACK}, [3, 4, 5], [1, 1, 0]),
        ({3: BLACK}, [3, 3, 3], [0, 0, 0]),
    ],
)
def test_the_colours_of_a_palette_say_what_is_background(tmp_path, colours, numbers, labels):
    painted(tmp_path / "a.png", [numbers], colours)
    assert read_labels(tmp_path, "a.png").tolist() == [labels]


@pytest.mark.parametrize("greys", [(0, 127, 255), (0, 64, 128, 191, 255), (0, 255, 128)])
def test_a_palette_of_greys_is_refused_for_a_mask_and_read_for_an_image(tmp_path, greys):
    """They may be labels, or the smoothed edge of one mass, whose rings would be masses."""
    painted(tmp_path / "a.png", [range(len(greys))], {n: (grey,) * 3 for n, grey in enumerate(greys)})
    assert read_grey(tmp_path, "a.png").tolist() == [list(greys)]
    with pytest.raises(DataError, match=rf"^a\.png: its palette holds {len(greys) - 1} greys beside black"):
        read_labels(tmp_path, "a.png")


def test_a_palette_whose_greys_are_its_numbers_is_a_grey_picture(tmp_path):
    painted(tmp_path / "a.png", [[0, 1, 2, 2]], {n: (n, n, n) for n in range(256)})
    assert read_labels(tmp_path, "a.png").tolist() == read_grey(tmp_path, "a.png").tolist() == [[0, 1, 2, 2]]


def test_numbers_without_a_colour_are_refused(tmp_path):
    """A palette of two colours, and a pixel of number 2, which viewers show as black or not at all."""
    write_png(tmp_path / "a.png", (3, 1, 8, 3), b"\0\0\1\2", chunk(b"PLTE", b"\0\0\0\xff\xff\xff"))
    for read in (read_grey, read_labels):
        with pytest.raises(DataError, match=r"^a\.png: has numbers that its palette gives no colour"):
            read(tmp_path, "a.png")


def test_a_palette_without_black_is_refused(tmp_path):
    painted(tmp_path / "a.png", [[0, 1]], {0: WHITE, 1: RED})
    with pytest.raises(DataError, match=r"^a\.png: none of its palette's colours is black"):
        read_labels(tmp_path, "a.png")


def test_an_alpha_channel_that_hides_what_is_not_black_is_refused_in_an_image(tmp_path):
    grey, alpha = np.full((8, 8), 90, np.uint8), np.full((8, 8), 255, np.uint8)
    alpha[:, 4:] = 0
    for below, refused in ((0, False), (255, True)):  # air is black below its transparency, or white
        picture = Image.fromarray(np.stack([np.where(alpha > 0, grey, below).astype(np.uint8), alpha], axis=2))
        picture.save(tmp_path / "a.png")
        if refused:
            with pytest.raises(DataError, match=r"^a\.png: its alpha channel hides pixels that are not black"):
                read_grey(tmp_path, "a.png")
        else:
            assert read_grey(tmp_path, "a.png").max() == 90


# --- masks in an alpha channel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", [(0,), (255,), (0, 0, 0), RED])
def test_a_mask_in_the_alpha_channel_is_found(tmp_path, colour):
    planes = [np.full(MASK.shape, value, np.uint8) for value in colour]
    Image.fromarray(np.stack([*planes, 255 * MASK], axis=2), "LA" if len(colour) == 1 else "RGBA").save(
        tmp_path / "a.png"
    )
    assert np.array_equal(read_labels(tmp_path, "a.png"), 255 * MASK)


@pytest.mark.parametrize("alpha", [0, 255])
def test_an_even_alpha_channel_says_nothing(tmp_path, alpha):
    grey = 255 * MASK
    Image.fromarray(np.stack([grey, grey, grey, np.full_like(grey, alpha)], axis=2)).save(tmp_path / "a.png")
    assert np.array_equal(read_labels(tmp_path, "a.png"), grey)


def test_colours_and_alpha_channel_that_agree_are_one_mask_and_others_are_refused(tmp_path):
    grey = 255 * MASK
    Image.fromarray(np.stack([grey, grey], axis=2), "LA").save(tmp_path / "a.png")
    assert np.array_equal(read_labels(tmp_path, "a.png"), grey)
    Image.fromarray(np.stack([grey, 255 - grey], axis=2), "LA").save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"^a\.png: its colours and its alpha channel mark other pixels"):
        read_labels(tmp_path, "a.png")


# --- grey pictures stored in colour ----------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_grey, read_labels])
def test_channels_that_differ_by_noise_are_grey(tmp_path, read):
    colours = np.stack([RAMP8, RAMP8 + 3, RAMP8 + 1], axis=2)
    Image.fromarray(colours).save(tmp_path / "a.png")
    with pytest.warns(DataWarning, match=r"^a\.png: the colours of a grey picture differ by up to 3 levels"):
        found = read(tmp_path, "a.png")
    luminance = colours @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as JPEG has it
    assert np.abs(found - luminance).max() <= 1
    Image.fromarray(np.stack([RAMP8, RAMP8 + 9, RAMP8], axis=2)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"^a\.png: must be grey, but is in colour \(channels differ by 9 levels\)"):
        read(tmp_path, "a.png")


def test_a_torn_header_is_a_damaged_file_whatever_its_reader_raises(tmp_path):
    short = b"IHDR" + bytes(5)
    chunk = struct.pack(">I", 5) + short + struct.pack(">I", zlib.crc32(short))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(DataError, match=r"^a.png: cannot be read as an image \(ValueError\)"):
        read_grey(tmp_path, "a.png")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
def test_numbers_with_a_sign_keep_their_bytes_or_are_refused(tmp_path, compressed, order):
    """Labels 0 and 1 as int16, compressed and big-endian, would be 0 and 256: Pillow swaps bytes that are swapped."""
    write_tiff(tmp_path / "a.tif", MASK.astype(np.int16), compressed=compressed, order=order, t339=2)
    if compressed and order == ">":
        with pytest.raises(DataError, match=r"^a\.tif: compressed big-endian numbers with a sign would be swapped"):
            read_labels(tmp_path, "a.tif")
    else:
        assert np.array_equal(read_labels(tmp_path, "a.tif"), MASK)


@pytest.mark.parametrize(
    ("tags", "order", "kind"),
    [
        ({"t258": 12, "t262": 0}, "<", "a TIFF of 12 bits, little-endian bytes, white at zero"),
        ({"t262": 0}, ">", "a TIFF of 16 bits, big-endian bytes, white at zero"),
        ({"t277": 2}, "<", "a TIFF of 16 bits in 2 channels, little-endian bytes, black at zero"),
        ({"t262": 0, "t339": 2}, "<", "a TIFF of 16 bits with a sign, little-endian bytes, white at zero"),
    ],
)
def test_kinds_of_tiff_that_are_not_read_are_named(tmp_path, tags, order, kind):
    write_tiff(tmp_path / "a.tif", RAMP16, order=order, **tags)
    with pytest.raises(DataError, match=rf"^a\.tif: {kind}: this kind is not read: save it as 16-bit grey"):
        read_grey(tmp_path, "a.tif")


def test_a_jpeg_of_12_bits_is_named(tmp_path):
    Image.fromarray(RAMP8).save(tmp_path / "a.jpg")
    jpeg = bytearray((tmp_path / "a.jpg").read_bytes())
    jpeg[jpeg.find(b"\xff\xc0") + 4] = 12  # the precision in the header of the frame
    (tmp_path / "a.jpg").write_bytes(jpeg)
    with pytest.raises(DataError, match=r"^a\.jpg: a JPEG that is not read \(.*12-bit.*\): save it as 16-bit PNG"):
        read_grey(tmp_path, "a.jpg")


@pytest.mark.parametrize("damage", ["a pixel", "the last bytes"])
def test_row_36_a_damaged_png_is_refused_where_its_pixels_can_still_be_read(tmp_path, damage):
    """Its checksums tell, which Pillow does not compare where they stand in a part behind the last row."""
    rows = zlib.compress(bytes(16 * 17), 0)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0))
    parts = [head, chunk(b"IDAT", rows[:-4]), chunk(b"IDAT", rows[-4:]), chunk(b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    content = bytearray((tmp_path / "a.png").read_bytes())
    assert not read_grey(tmp_path, "a.png").any()
    content[100] ^= 64
    (tmp_path / "a.png").write_bytes(content if damage == "a pixel" else (tmp_path / "a.png").read_bytes()[:-14])
    with pytest.raises(DataError, match=r"^a\.png: cannot be read as an image \(\w+\): replace the file"):
        read_grey(tmp_path, "a.png")


@pytest.mark.parametrize(
    ("bits", "kind", "value", "line"),
    [(8, 0, 200, b"\xc8" * 8), (16, 0, 30000, b"\x75\x30" * 8), (1, 0, 1, b"\xff"), (8, 2, 200, b"\xc8" * 24)],
)
def test_one_grey_that_is_transparent_and_not_black_is_refused(tmp_path, bits, kind, value, line):
    """As an alpha channel that hides what is not black: air may be white below it. Black may be transparent."""
    for name, clear in (("a.png", value), ("b.png", 0)):
        part = chunk(b"tRNS", struct.pack(">H", clear) * (3 if kind else 1))
        write_png(tmp_path / name, (8, 8, bits, kind), (b"\0" + line) * 8, part)
    for read in (read_grey, read_labels):
        with pytest.raises(DataError, match=r"^a\.png: its pixels of .* are transparent, but not black: save it"):
            read(tmp_path, "a.png")
        assert read(tmp_path, "b.png").all()
