"""INbreast in small: the real layout and names with every known quirk, and made-up images and outlines.

`write(root)` gives the healthy release; the functions below it break one thing each.
"""

import numpy as np

from mammograms import mammogram, write_dicom

P1, P2, P3, P4, P5 = (f"{n:016x}" for n in (0x1A, 0x2B, 0x3C, 0x4D, 0x5E))
SMALL, LARGE = (96, 80), (120, 100)  # rows, columns: the release has two sizes too


def box(left, top, width, height):
    """The four corners of a rectangle, not closed, as in the release; its pixels are width x height."""
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


def oval(column, row, width, height, points=200):
    """OsiriX stores an oval as 200 points."""
    turn = np.arange(points) * 2 * np.pi / points
    return list(zip(column + width * np.cos(turn), row + height * np.sin(turn), strict=True))


def shoelace(points):
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True))) / 2


def roi(name, points, *, counted=None, kind=15, area=None, style="({:.6f}, {:.6f})"):
    """One region, with the keys of the release in their order."""
    cm2 = float(shoelace(points)) * 0.07**2 / 100 if area is None else area
    zeros = "<string>(0.000000, 0.000000, 0.000000)</string>"
    strings = "".join(f"<string>{style.format(x, y)}</string>" for x, y in points)
    return (
        f"<dict><key>Area</key><real>{cm2!r}</real><key>Center</key>{zeros}<key>Dev</key><real>1.5</real>"
        f"<key>IndexInImage</key><integer>0</integer><key>Max</key><real>9</real><key>Mean</key><real>5</real>"
        f"<key>Min</key><real>1</real><key>Name</key><string>{name}</string>"
        f"<key>NumberOfPoints</key><integer>{len(points) if counted is None else counted}</integer>"
        f"<key>Point_mm</key><array>{zeros * len(points)}</array><key>Point_px</key><array>{strings}</array>"
        f"<key>Total</key><real>0</real><key>Type</key><integer>{kind}</integer></dict>"
    )


def plist(*rois):
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" '
        '"http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">\n<dict>\n\t<key>Images</key><array>'
        f"<dict><key>ImageIndex</key><integer>0</integer><key>NumberOfROIs</key><integer>{len(rois)}</integer>"
        f"<key>ROIs</key><array>{''.join(rois)}</array></dict></array>\n</dict>\n</plist>\n"
    )


# id: (patient, side, view, size, ACR, Bi-Rads, regions or None for no file)
IMAGES = {
    "20000001": (P1, "L", "CC", SMALL, "2", "5", [roi("Mass", box(20, 30, 20, 20))]),
    "20000002": (
        *(P1, "L", "ML", SMALL, "2", "4a"),
        [roi("Spiculated Region", oval(60, 40, 30, 28), kind=9), roi("Mass", box(50, 30, 12, 10))],
    ),
    "20000003": (
        *(P1, "R", "CC", LARGE, " " * 193, "2"),
        [roi("Calcification", [(n + 0.5, n + 1)], kind=19) for n in range(90)] + [roi("Mass", box(60, 40, 9, 7))],
    ),
    "20000004": (P2, "R", "ML", LARGE, "3", "5", [roi("Mass", box(40, 50, 10, 10)), roi("Mass", box(50, 50, 6, 10))]),
    "20000005": (
        *(P2, "L", "CC", LARGE, "4", "4c"),
        [roi("MASS ", box(30, 60, 8, 8)), roi("Espiculated Region", oval(34, 64, 20, 20), kind=9)],
    ),
    "20000006": (P2, "L", "ML", SMALL, "1", "3", [roi("Mass", box(25, 25, 10, 5), counted=5)]),
    "20000007": (P3, "R", "CC", SMALL, "1", "2", [roi("Mass", [(10, 10), (12, 12)]), roi("Cluster", box(5, 5, 3, 3))]),
    "20000008": (P3, "R", "ML", SMALL, "1", "1", None),
    "20000009": (P4, "L", "CC", LARGE, "2", "2", [roi("Point 1", [(9, 9)], kind=19), roi("", [(3, 3)], kind=19)]),
    "20000010": (P4, "L", "CC", LARGE, "2", "6", [roi("Mass", box(20, 20, 30, 20), style="{{{:.6f}, {:.6f}}}")]),
    "20000011": (P5, "R", "FB", SMALL, "2", "2", [roi("Assymetry", box(20, 20, 30, 20))]),
    "20000012": (P5, "L", "CC", SMALL, "3", "4b", [roi("Mass", box(-4, 10, 20, 10), style="({:.6f}, {:.6f}, 0.0)")]),
}
# By hand: label -> pixels, for every image
PIXELS = {
    **{"20000001": {1: 400}, "20000002": {1: 120}, "20000003": {1: 63}, "20000004": {1: 100, 2: 60}},
    **{"20000005": {1: 64}, "20000006": {1: 50}, "20000007": {}, "20000008": {}, "20000009": {}},
    **{"20000010": {1: 600}, "20000011": {}, "20000012": {1: 160}},
}
HEADER = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"


def write(root, *, table="csv"):
    """The healthy release; `table`: csv, xls or none."""
    for folder in ("AllDICOMs", "AllXML", "AllROI", "PectoralMuscle/Pectoral Muscle XML", "MedicalReports"):
        (root / folder).mkdir(parents=True)
    for number, (id, (patient, side, view, size, *_, rois)) in enumerate(IMAGES.items()):
        write_image(root, id, patient, side, view, size, spacing=number % 2 == 0)
        if rois is not None:
            (root / f"AllXML/{id}.xml").write_text(plist(*rois))
            (root / f"AllROI/{id}.roi").write_bytes(b"streamtyped")
    (root / "AllXML/._20000001.xml").write_bytes(b"\0\5\x16\7 what a Mac leaves")
    (root / "AllXML/.DS_Store").write_bytes(b"\0")
    muscle = plist(roi("Pectoral", box(0, 0, 20, 30), style="{{{:.6f}, {:.6f}}}"))
    (root / "PectoralMuscle/Pectoral Muscle XML/20000002_muscle.xml").write_text(muscle)
    for name in (P1, f"{P4}_2009_02"):
        (root / f"MedicalReports/{name}.txt").write_text("SENTINEL report")
    (root / "README.txt").write_text("the release")
    if table == "csv":
        (root / "INbreast.csv").write_bytes(csv_text().encode())
    elif table == "xls":
        write_xls(root / "INbreast.xls")


def write_image(root, id, patient, side, view, size, *, spacing=False):
    """14 bits in 16; the header has no PixelSpacing, in half of the files ImagerPixelSpacing."""
    image = mammogram(*size, "left" if side == "L" else "right")
    tags = {"ImagerPixelSpacing": [0.07, 0.07]} if spacing else {}
    names = {"PatientName": "SENTINEL^PHI", "ImageLaterality": side, "ViewPosition": "MLO" if view == "ML" else view}
    path = root / f"AllDICOMs/{id}_{patient}_MG_{side}_{view}_ANON.dcm"
    write_dicom(path, image, **names, **tags, remove=("PixelSpacing",))
    return path


def rows():
    for id, (_, side, view, _, acr, birads, _) in IMAGES.items():
        date = "200902" if id == "20000010" else "201001"  # the second exam of P4
        yield ["removed", "removed", side, "MLO" if view == "ML" else view, date, id, acr, birads]


def csv_text(*, newline="\r\n", delimiter=";"):
    return newline.join([HEADER, *(";".join(row) for row in rows())]).replace(";", delimiter) + newline


def write_xls(path):
    """As the release: 'Mass ' with its blank, floats, a blank row and totals, and a second sheet with names."""
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    lines = [[*HEADER.split(";"), "Mass "], *([*row, "X"] for row in rows()), [], ["", "", "", "", "", "12", 1, "5"]]
    for r, line in enumerate(lines):
        for c, cell in enumerate(line):
            number = r > 0 and str(cell).isdigit() and c in (5, 6, 7)
            sheet.write(r, c, float(cell) if number else cell)
    book.add_sheet("Sheet2").write(0, 0, "SENTINEL^PHI")
    book.save(str(path))


def without_annotation(root):
    """(j): Bi-Rads 5 and no XML."""
    (root / "AllXML/20000001.xml").unlink()


def doubled_annotation(root):
    """Two files of one id where the file system tells cases apart."""
    (root / "AllXML/20000001.XML").write_text(plist())


def outside(root):
    """(h): a polygon fully outside."""
    (root / "AllXML/20000001.xml").write_text(plist(roi("Mass", box(200, 10, 20, 10))))


def swapped(root):
    """Row and column exchanged, in an image of other proportions."""
    (root / "AllXML/20000003.xml").write_text(plist(roi("Mass", box(96, 40, 15, 7))))
