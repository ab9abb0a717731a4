"""Pictures show what is there, the right way up, and are reproducible."""

import io

import numpy as np
from PIL import Image

from vsuda_cli.images.pictures import CAPTION, COLOURS, TILE, Picture, contact_sheet

SPACING = np.array([1.0, 1.0, 2.0])


def pixels(items):
    return np.asarray(Image.open(io.BytesIO(contact_sheet(items, len(items)))))


def item(label=None, title="a"):
    array = np.full((20, 20, 10), 100.0, dtype=np.float32)
    # Bright towards the right, the front and the top.
    array[12:, 12:, 7:] = 500
    return Picture(title, array, SPACING, label)


def test_same_items_same_bytes():
    assert contact_sheet([item(), item()], 2) == contact_sheet([item(), item()], 2)


def test_right_and_top_are_where_they_belong():
    label = np.zeros((20, 20, 10), dtype=np.uint8)
    label[15, 15, 8] = 1
    shown = pixels([item(label)]).astype(int).sum(axis=2)
    coronal = shown[CAPTION : CAPTION + TILE, TILE : 2 * TILE]
    half = TILE // 2
    assert coronal[: half - 20, half + 25 :].mean() > coronal[: half - 20, : half - 5].mean() + 100
    assert coronal[: half - 20, half + 25 :].mean() > coronal[half + 20 :, half + 25 :].mean() + 100


def test_labels_are_outlined_in_their_colours():
    label = np.zeros((20, 20, 10), dtype=np.uint8)
    label[3:9, 3:9, 3:6] = 2
    shown = pixels([item(label)])
    assert (shown == COLOURS[1]).all(axis=-1).sum() > 50
    assert not (shown == COLOURS[0]).all(axis=-1).any()
    assert not (pixels([item()]) == COLOURS[1]).all(axis=-1).any()


def test_many_items_constant_images_and_odd_titles():
    constant = Picture("<é\n\u4e2d>", np.zeros((3, 4, 5), np.float32), SPACING)
    shown = pixels([constant] * 5)
    assert shown.shape[0] >= 2 * TILE
    assert shown.shape[1] >= 4 * 2 * TILE


def test_nothing_to_show_is_an_empty_sheet():
    assert contact_sheet([], 0).startswith(b"\x89PNG")
