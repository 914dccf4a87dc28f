#!/usr/bin/env python3
"""Makes the AVIF pictures of this folder, and beside each what libavif makes of it, upright and over white, as PNG.

    apt install libavif-bin         # avifenc 0.11.1
    pip install pillow==13.0.0      # with libavif 1.4.2, which decodes them all
    python make.py ../../../samples/photos/tabby-cat.jpg
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from reference import save  # noqa: E402: beside the folder of this file
# What Pillow's encoder has no options for.
AVIFENC = {
    "ten_bits": ["--depth", "10", "--yuv", "420"],
    "twelve_bits": ["--depth", "12", "--yuv", "444"],
    "matrix_identity": ["--cicp", "1/13/0", "--yuv", "444"],
    "matrix_bt709_limited": ["--cicp", "1/13/1", "--range", "limited"],
    "matrix_ycgco": ["--cicp", "1/13/8", "--yuv", "444"],
    "matrix_bt2020": ["--cicp", "9/16/9", "--yuv", "444"],
    "turned_and_mirrored": ["--irot", "3", "--imir", "0"],
}


def main(photo: Path) -> None:
    whole = Image.open(photo).convert("RGB")
    small = whole.resize((49, 37), Image.Resampling.LANCZOS)
    clear = small.copy()
    clear.putalpha(Image.linear_gradient("L").resize(small.size))
    for chroma in ("4:2:0", "4:2:2", "4:4:4"):
        small.save(HERE / f"chroma_{chroma.replace(':', '')}.avif", quality=80, subsampling=chroma)
    small.convert("L").save(HERE / "grey.avif", quality=90, subsampling="4:0:0")
    clear.save(HERE / "alpha.avif", quality=90)
    clear.save(HERE / "alpha_premultiplied.avif", quality=90, alpha_premultiplied=True)
    small.save(HERE / "animated.avif", save_all=True, append_images=[ImageOps.flip(small)], quality=80)
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        tiny = small.resize((25, 19))
        tiny.save(HERE / f"orientation_{orientation}.avif", quality=60, exif=exif.tobytes(), subsampling="4:4:4")
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder) / "small.png"
        encode = ["avifenc", "--min", "10", "--max", "20", png]
        small.save(png)
        for name, options in AVIFENC.items():
            subprocess.run([*encode, *options, HERE / f"{name}.avif"], check=True, capture_output=True)
        whole.resize((128, 64), Image.Resampling.LANCZOS).save(png)
        subprocess.run([*encode, "--grid", "2x1", HERE / "grid.avif"], check=True, capture_output=True)
    for path in sorted(HERE.glob("*.avif")):
        picture = ImageOps.exif_transpose(Image.open(path))
        save(picture, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
