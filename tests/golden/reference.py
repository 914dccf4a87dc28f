"""What the makers of golden pictures share."""

from pathlib import Path

from PIL import Image


def save(picture: Image.Image, path: Path) -> None:
    """Writes what a reference decoder made of the file `path` beside it: as PNG, over white."""
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    picture.save(path.with_suffix(".png"), optimize=True)
    print(path.name, path.stat().st_size, picture.mode, picture.size)
