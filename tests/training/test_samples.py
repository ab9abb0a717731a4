"""Sample pictures: orientation, colours, the slice that is shown."""

import io

import numpy as np
import torch
from PIL import Image

from vsuda_cli.training.samples import LABEL_COLOURS, TILE, TITLE_HEIGHT, panel_png


def tiles(png: bytes, count: int) -> list[np.ndarray]:
    sheet = np.asarray(Image.open(io.BytesIO(png)))
    assert sheet.shape == (TILE + TITLE_HEIGHT, TILE * count, 3)
    return [sheet[TITLE_HEIGHT:, TILE * i : TILE * (i + 1)] for i in range(count)]


def test_x_goes_right_and_y_up() -> None:
    picture = torch.zeros(4, 4)
    picture[3, 0] = 0.5  # largest x, smallest y: right, and at the bottom
    picture[0, 3] = 7.0  # beyond 1 is white
    (tile,) = tiles(panel_png({"image": picture}), 1)
    assert tile[-1, -1].tolist() == [127, 127, 127]
    assert tile[0, 0].tolist() == [255, 255, 255]
    assert tile[-1, 0].tolist() == [0, 0, 0]


def test_the_slice_with_most_labels_is_shown_for_all_volumes_of_its_depth() -> None:
    label = torch.zeros((4, 4, 5), dtype=torch.uint8)
    label[:, :, 4] = 2
    label[0, 0, 1] = 1
    image = torch.linspace(0, 1, 5).expand(4, 4, 5)
    other = torch.linspace(0, 1, 3).expand(4, 4, 3)
    found = tiles(panel_png({"image": image, "label": label, "other": other}), 3)
    assert found[0][0, 0].tolist() == [255, 255, 255]
    assert found[1][9, 9].tolist() == list(LABEL_COLOURS[1])
    assert found[2][0, 0].tolist() == [127, 127, 127]  # its own middle


def test_an_empty_label_shows_the_middle() -> None:
    image = torch.zeros(4, 4, 5)
    image[:, :, 2] = 1
    label = torch.zeros((4, 4, 5), dtype=torch.long)
    image_tile, label_tile = tiles(panel_png({"image": image, "label": label}), 2)
    assert image_tile.min() == 255
    assert label_tile.max() == 0


def test_many_classes_have_colours() -> None:
    label = torch.arange(16, dtype=torch.uint8).view(4, 4)
    (tile,) = tiles(panel_png({"label": label}), 1)
    assert len(np.unique(tile.reshape(-1, 3), axis=0)) == len(LABEL_COLOURS) + 1


def test_what_is_ignored_is_drawn_as_background() -> None:
    label = torch.full((4, 4, 3), 255, dtype=torch.uint8)
    label[:, :, 2] = 0
    label[0, :, 2] = 5
    label[1, :, 0] = 0
    (tile,) = tiles(panel_png({"label": label}), 1)
    # The slice of the structure, not that of most voxels; the fifth has the first one's colour.
    assert tile[0, 0].tolist() == list(LABEL_COLOURS[0])
    assert tile[0, -1].tolist() == [0, 0, 0]
    (plane,) = tiles(panel_png({"label": label[:, :, 0]}), 1)
    assert plane.max() == 0


def test_the_same_pictures_give_the_same_bytes() -> None:
    picture = {"a": torch.rand(5, 7, generator=torch.Generator().manual_seed(0))}
    assert panel_png(picture) == panel_png(picture)
