"""NiiVue from the installed package, and the volumes it loads."""

import base64
import gzip
import importlib.util
from pathlib import Path

import nibabel
import numpy as np
import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.report import viewer
from vsuda_cli.report.viewer import LARGEST_VOLUME, niivue_script, viewer_volumes

AFFINE = np.array([[0.5, 0, 0, -60], [0, 0.6, 0, -70], [0, 0, 1.5, 10], [0, 0, 0, 1.0]])


def unpacked(text: str) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def test_the_module_comes_from_the_installed_package() -> None:
    if importlib.util.find_spec("ipyniivue") is None:
        pytest.skip("ipyniivue is not installed")
    module = gzip.decompress(base64.b64decode(niivue_script())).decode()
    assert "Niivue" in module[-2000:]
    assert "NVImage" in module[-2000:]


def test_a_missing_or_foreign_package_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "PACKAGE", "surely_absent")
    with pytest.raises(VsudaError, match=r"vsuda\[viewer\]"):
        niivue_script()
    (tmp_path / "foreign" / "static").mkdir(parents=True)
    (tmp_path / "foreign" / "__init__.py").touch()
    (tmp_path / "foreign" / "static" / "widget.js").write_text("export default {};")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(viewer, "PACKAGE", "foreign")
    with pytest.raises(VsudaError, match="does not hold NiiVue"):
        niivue_script()


def test_what_is_shown_stays_in_its_place() -> None:
    truth = np.zeros((240, 240, 60), dtype=np.uint8)
    truth[100:120, 90:110, 20:30] = 1
    found = np.roll(truth, 4, axis=0)
    greys = np.random.default_rng(0).integers(0, 255, truth.shape).astype(np.uint8)
    volumes = viewer_volumes(truth, found, greys, AFFINE)
    scan, reference = unpacked(volumes.scan), unpacked(volumes.reference)
    assert np.prod(scan.shape) <= LARGEST_VOLUME
    assert np.allclose(scan.affine, reference.affine)
    shown = np.argwhere(np.asarray(reference.dataobj) > 0)
    for ends, index in ((shown.min(axis=0), (100, 90, 20)), (shown.max(axis=0), (119, 109, 29))):
        world = reference.affine[:3, :3] @ ends + reference.affine[:3, 3]
        true = AFFINE[:3, :3] @ index + AFFINE[:3, 3]
        assert np.abs(world - true).max() < 1.6
    corner = np.rint(np.linalg.solve(AFFINE, scan.affine @ [0, 0, 0, 1])[:3]).astype(int)
    assert np.asarray(scan.dataobj)[0, 0, 0] == greys[tuple(corner)]
    middle = np.linalg.solve(AFFINE, [*volumes.centre_mm, 1])[:3]
    assert truth[tuple(np.rint(middle).astype(int))] == 1


def test_without_reference_scan_or_structure() -> None:
    nothing = np.zeros((20, 20, 8), dtype=np.uint8)
    volumes = viewer_volumes(None, nothing, None, AFFINE)
    assert volumes.reference == ""
    assert unpacked(volumes.scan).shape == nothing.shape
    assert volumes.scan == viewer_volumes(None, nothing, None, AFFINE).scan


def test_a_large_volume_is_thinned() -> None:
    found = np.ones((200, 200, 100), dtype=np.uint8)
    volumes = viewer_volumes(None, found, None, AFFINE)
    shown = unpacked(volumes.prediction)
    assert np.prod(shown.shape) <= LARGEST_VOLUME
    extent = np.array(shown.shape) * np.linalg.norm(shown.affine[:3, :3], axis=0)
    assert np.allclose(extent, np.array(found.shape) * (0.5, 0.6, 1.5), atol=3)
