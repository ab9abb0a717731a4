"""Sample pictures of a run: what goes into the networks and what comes out, side by side."""

import io

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from vsuda_cli.images.pseudo_labels import IGNORED

# Okabe and Ito's palette: orange and blue stay apart for colour-blind readers.
LABEL_COLOURS = ((230, 159, 0), (0, 114, 178), (0, 158, 115), (204, 121, 167))
TILE = 192
TITLE_HEIGHT = 14


def panel_png(pictures: dict[str, Tensor]) -> bytes:
    """Return a PNG with one titled tile a picture.

    Each picture is (X, Y) or (X, Y, Z) in [0, 1], or an integer label map, of which the slice with
    most labelled voxels is chosen and shown for all volumes of the same depth.
    """
    depth = _best_slices(pictures)
    sheet = Image.new("RGB", (TILE * len(pictures), TILE + TITLE_HEIGHT))
    draw = ImageDraw.Draw(sheet)
    for column, (name, picture) in enumerate(pictures.items()):
        plane = picture if picture.ndim == 2 else picture[..., depth[picture.shape[-1]]]
        tile = Image.fromarray(_colours(plane)).resize((TILE, TILE), Image.Resampling.NEAREST)
        sheet.paste(tile, (column * TILE, TITLE_HEIGHT))
        draw.text((column * TILE + 3, 1), name, fill=(255, 255, 255))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()


def _best_slices(pictures: dict[str, Tensor]) -> dict[int, int]:
    chosen: dict[int, int] = {}
    for picture in pictures.values():
        if picture.ndim != 3:
            continue
        depth = picture.shape[-1]
        chosen.setdefault(depth, depth // 2)
        if not picture.is_floating_point():
            labelled = (picture > 0) & (picture != IGNORED)
            if labelled.any():
                chosen[depth] = int(labelled.sum(dim=(0, 1)).argmax())
    return chosen


def _colours(plane: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    # Array x grows to the right of the head and y to the front; rows are drawn from the front.
    values = plane.detach().cpu().flip(1).T
    if values.is_floating_point():
        grey = (values.float().clamp(0, 1) * 255).byte().numpy()
        return np.stack([grey] * 3, axis=-1)
    palette = np.array([(0, 0, 0), *LABEL_COLOURS], dtype=np.uint8)
    numbers = values.long().numpy()
    # Colours repeat; what is ignored looks like background.
    shown = np.where(
        (numbers > 0) & (numbers != IGNORED), (numbers - 1) % len(LABEL_COLOURS) + 1, 0
    )
    coloured: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = palette[shown]
    return coloured
