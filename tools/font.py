"""Build the Chinese font that figures use: a renamed subset of Noto Sans CJK SC, in two weights.

Needed only to change the font; the result is committed. The sources are the collections that
Debian's `fonts-noto-cjk` installs: run `python tools/font.py FOLDER` with the folder that holds
them. The bold face, for titles, has only the characters that this project uses.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection, TTFont

ROOT = Path(__file__).resolve().parents[1]
FONTS = ROOT / "src" / "evalkit" / "show" / "fonts"
FAMILY, POSTSCRIPT = "Evalkit Sans SC", "EvalkitSansSC"
FACES = {"Regular": "EvalkitSansSC.otf", "Bold": "EvalkitSansSC-Bold.otf"}
HAN = re.compile(r"[\u3400-\u9fff]")
TEXTS = ("book/*.md", "data/measures/*.csv", "notebooks/*.ipynb", "src/evalkit/**/*.py")
RANGES = (
    (0x20, 0x7E),  # ASCII
    (0xA0, 0x17F),  # Latin-1 and Latin Extended-A: accents of authors' names
    (0x1CD, 0x1DC),  # the third-tone vowels of pinyin
    (0x370, 0x3FF),  # Greek
    (0x2010, 0x2027),  # dashes, quotation marks, ellipsis
    (0x2030, 0x205E),
    (0x2070, 0x209C),  # superscripts and subscripts
    (0x20A0, 0x20BF),  # currency
    (0x2150, 0x218B),
    (0x2190, 0x21FF),  # arrows
    (0x2200, 0x22FF),  # mathematical operators; the minus sign is here
    (0x25A0, 0x25FF),  # geometric shapes
    (0x3000, 0x303F),  # CJK punctuation
    (0xFF00, 0xFF5E),  # full-width forms
)


def gb2312_level_1() -> set[int]:
    """The 3,755 most used characters: rows 16 to 55 of GB 2312."""
    points: set[int] = set()
    for row in range(16, 56):
        for cell in range(1, 95):
            try:
                points.add(ord(bytes([row + 0xA0, cell + 0xA0]).decode("gb2312")))
            except UnicodeDecodeError:  # row 55 is not full
                continue
    return points


def wanted(face: str) -> set[int]:
    points = gb2312_level_1() if face == "Regular" else set()
    for low, high in RANGES:
        points.update(range(low, high + 1))
    for pattern in TEXTS:
        for path in sorted(ROOT.glob(pattern)):
            points.update(ord(c) for c in HAN.findall(path.read_text(encoding="utf-8")))
    return points


def rename(font: TTFont, face: str) -> None:
    """Give the subset a name of its own, as the licence asks of modified versions."""
    for record in font["name"].names:
        text = str(record)
        if record.nameID in (1, 16, 21):
            text = FAMILY
        elif record.nameID == 3:
            text = f"{POSTSCRIPT}-{face};subset"
        elif record.nameID == 4:
            text = FAMILY if face == "Regular" else f"{FAMILY} {face}"
        elif record.nameID == 6:
            text = f"{POSTSCRIPT}-{face}"
        record.string = text
    cff = font["CFF "].cff
    cff.fontNames[0] = f"{POSTSCRIPT}-{face}"
    top = cff.topDictIndex[0]
    for field, value in (("FamilyName", FAMILY), ("FullName", FAMILY)):
        if hasattr(top, field):
            setattr(top, field, value)


def build(source: Path, face: str, out: Path) -> None:
    fonts = TTCollection(str(source)).fonts
    font = next(f for f in fonts if str(f["name"].getBestFamilyName()) == "Noto Sans CJK SC")
    options = Options()
    options.layout_features = ["kern"]
    options.hinting = False
    options.desubroutinize = False
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 7, 13, 14]
    options.name_languages = [0x409]
    options.notdef_outline = True
    options.recalc_timestamp = False
    options.drop_tables += ["vhea", "vmtx", "VORG", "BASE"]
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=wanted(face))
    subsetter.subset(font)
    rename(font, face)
    font.recalcTimestamp = False
    out.parent.mkdir(parents=True, exist_ok=True)
    font.save(str(out))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where NotoSansCJK-Regular.ttc and -Bold.ttc are")
    parser.add_argument("--out", type=Path, default=FONTS)
    args = parser.parse_args()
    for face, name in FACES.items():
        build(args.folder / f"NotoSansCJK-{face}.ttc", face, args.out / name)
        data = (args.out / name).read_bytes()
        print(f"{name}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
