"""Images as networks take them: refused when broken, on their way to a device."""

import numpy as np
import pytest
import torch

from vsuda_cli.config import Preprocessing
from vsuda_cli.errors import VsudaError
from vsuda_cli.prepared import Prepared, prepare_image

CPU = torch.device("cpu")


def image(shape: tuple[int, ...] = (8, 6, 4)) -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)


def prepared() -> Prepared:
    return prepare_image(image(), np.diag([2.0, 2, 3, 1]), Preprocessing((1, 1, 3)), "scan.nii")


def test_an_image_keeps_where_it_came_from() -> None:
    found = prepared()
    assert found.image.shape == (1, 1, 16, 12, 4)
    assert (found.shape, found.where) == ((8, 6, 4), "scan.nii")
    assert np.array_equal(found.spacing_mm, [2, 2, 3])


def test_no_image_is_refused_by_its_name() -> None:
    broken = image()
    broken[3, 2, 1] = np.nan
    for array in (broken, image((8, 6)), image((8, 6, 4, 2))):
        with pytest.raises(VsudaError, match=r"scan\.nii: of shape"):
            prepare_image(array, np.eye(4), Preprocessing(), "scan.nii")


def test_a_cpu_takes_it_as_it_is() -> None:
    found = prepared()
    assert found.ready_for(CPU) is found
    assert found.image_on(CPU) is found.image


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_fetches_it_from_pinned_memory() -> None:
    device, found = torch.device("cuda"), prepared()
    ready = found.ready_for(device)
    assert ready.image.is_pinned() and not found.image.is_pinned()
    assert torch.equal(ready.image_on(device).cpu(), found.image)
