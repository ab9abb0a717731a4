"""Pictures of volumes for the eye: contact sheets with label outlines."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from vsuda_cli.images.no_signal import no_signal_value

TILE = 144
CAPTION = 14
GAP = 4
COLUMNS = 8
PERCENTILES = (1.0, 99.5)
# Outline colours of labels 1, 2, ..., repeated: readable on grey for all kinds of colour vision.
COLOURS = ((230, 85, 60), (70, 180, 230), (240, 220, 60), (60, 200, 140), (220, 120, 200))

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A volume (X, Y, Z) in canonical order to be shown, with its labels if there are any."""

    title: str
    array: NDArray[np.float32]
    spacing_mm: NDArray[np.float64]
    label: NDArray[np.uint8] | None = None


def contact_sheet(items: Iterable[Picture], count: int) -> bytes:
    """Return a PNG with an axial and a coronal slice of each of `count` items, labels outlined.

    Slices go through the middle of the labels, or of the volume. Front and top are up; the first
    array axis runs to the right of the picture. The same items give the same bytes. Items may be
    loaded as they are drawn: no more than one is held.
    """
    columns = max(1, min(COLUMNS // 2, count))
    rows = max(1, -(-count // columns))
    width, height = 2 * TILE + GAP, TILE + CAPTION + GAP
    sheet = Image.new("RGB", (columns * width, rows * height), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for number, item in enumerate(items):
        left, top = number % columns * width, number // columns * height
        # The built-in font knows Latin letters only.
        title = item.title.encode("latin-1", "replace").decode("latin-1")
        draw.text((left + 2, top + 1), title[-46:], fill=(220, 220, 220))
        for panel, axis in enumerate((2, 1)):
            tile = Image.fromarray(_slice(item, axis))
            sheet.paste(tile, (left + panel * TILE, top + CAPTION))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()


def _slice(item: Picture, axis: int) -> Pixels:
    """Return one slice as a square RGB tile, its sides in proportion to millimetres."""
    index = _middle(item, axis)
    grey = np.take(item.array, index, axis=axis)
    spacing = np.delete(item.spacing_mm, axis)
    scale = (TILE - 1) / float((np.array(grey.shape) * spacing).max())
    zoom = np.maximum(1, np.rint(np.array(grey.shape) * spacing * scale)).astype(int)
    shown = _resize(_to_grey(grey, item.array), zoom, order=1)
    tile = np.zeros((TILE, TILE, 3), dtype=np.uint8)
    rgb = np.repeat(shown[..., None], 3, axis=2)
    if item.label is not None:
        labels = _resize(np.take(item.label, index, axis=axis), zoom, order=0)
        for value in np.unique(labels[labels > 0]):
            mask = labels == value
            outline = mask & ~ndimage.binary_erosion(mask)
            rgb[outline] = COLOURS[(int(value) - 1) % len(COLOURS)]
    # Array axes run right and up; a picture's rows run down.
    upright = rgb.transpose(1, 0, 2)[::-1]
    top, left = (TILE - upright.shape[0]) // 2, (TILE - upright.shape[1]) // 2
    tile[top : top + upright.shape[0], left : left + upright.shape[1]] = upright
    return tile


def _middle(item: Picture, axis: int) -> int:
    if item.label is None or not item.label.any():
        return int(item.array.shape[axis]) // 2
    others = tuple(other for other in range(3) if other != axis)
    # The slice with most of the rarest label: a cochlea is easily missed beside a tumour.
    values, counts = np.unique(item.label[item.label > 0], return_counts=True)
    return int(np.argmax((item.label == values[np.argmin(counts)]).sum(axis=others)))


def _to_grey(pixels: NDArray[np.float32], volume: NDArray[np.float32]) -> Pixels:
    tissue = volume[volume != no_signal_value(volume)]
    low, high = np.percentile(tissue, PERCENTILES) if tissue.size else (0.0, 1.0)
    scaled = (pixels - low) / max(float(high - low), 1e-12)
    return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def _resize(pixels: Pixels, shape: NDArray[np.intp], order: int) -> Pixels:
    method = Image.Resampling.NEAREST if order == 0 else Image.Resampling.BILINEAR
    image = Image.fromarray(np.ascontiguousarray(pixels))
    # PIL counts columns first.
    return np.asarray(image.resize((int(shape[1]), int(shape[0])), method))
