"""What a compressed picture says of itself: its size and bits, read from the first bytes of its codestream.

Decoders answer to a header that says otherwise with other pixels, or by ending the program.
"""

import struct
from typing import NamedTuple

# Markers that begin a frame: SOF0 to SOF15 of JPEG (ISO 10918-1, without DHT, JPG and DAC), SOF55 of JPEG-LS.
FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length: TEM, RST and SOI
SIZ = b"\xff\x4f\xff\x51"  # begins JPEG 2000 (ISO 15444-1), also within the boxes of a jp2 file


class Frame(NamedTuple):
    """What the first frame of a codestream says of its picture."""

    rows: int
    columns: int
    bits: int
    signed: bool = False  # JPEG and JPEG-LS have no sign


def frame_of(stream: bytes) -> Frame | None:
    """What JPEG, JPEG-LS or JPEG 2000 says of its picture; None for other bytes, and for what says no number of rows.

    frame_of(Path("image.jpg").read_bytes())  # Frame(rows=480, columns=640, bits=8)
    """
    try:
        if (start := stream[:4096].find(SIZ)) >= 0:
            right, bottom, left, top = struct.unpack_from(">8x4I", stream, start)
            depth = stream[start + 42]
            return Frame(bottom - top, right - left, (depth & 0x7F) + 1, depth > 0x7F)
        return _of_jpeg(stream) if stream.startswith(b"\xff\xd8") else None
    except (struct.error, IndexError):  # cut off: the decoder says so
        return None


def _of_jpeg(stream: bytes) -> Frame | None:
    place = 2
    while stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker in FRAMES:
            bits, rows, columns = struct.unpack_from(">BHH", stream, place + 4)
            return Frame(rows, columns, bits) if rows else None
        if marker == 0xFF:  # fills
            place += 1
        else:
            place += 2 if marker in ALONE else 2 + struct.unpack_from(">H", stream, place + 2)[0]
    return None
