"""Time of loading and saving beside nibabel's, and sizes and times of zlib's levels.

Run it by hand: `python tests/benchmarks/files.py [FOLDER...]`. Without folders a made-up scan of
448 x 448 x 80 voxels is used; a folder's images and label maps are taken as they are. Every figure
is the best of three; ours are shown with zlib alone and, where it is installed, with python-isal.
"""

import importlib.util
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from vsuda_cli.io import compression
from vsuda_cli.io.cases import LABEL, find_files
from vsuda_cli.io.nifti import load_image, load_label, save_image, save_label

LEVELS = (1, 2, 3, 4, 6, 9)


def main() -> None:
    """Print two tables: load and save beside nibabel's, then level by level."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        sources = [Path(word) for word in sys.argv[1:]]
        if not sources:
            _make_up(scratch / "made-up")
            sources = [scratch / "made-up"]
        files = [file for source in sources for file in find_files(source)]
        for tag in sorted({file.tag for file in files}):
            paths = [file.path for file in files if file.tag == tag]
            _beside_nibabel(tag, paths, scratch)
            _levels(paths)


def _beside_nibabel(tag: str, paths: list[Path], scratch: Path) -> None:
    load, save = (load_label, save_label) if tag == LABEL else (load_image, save_image)
    kind = np.uint8 if tag == LABEL else np.float32
    print(f"{len(paths)} files _{tag}: seconds a file")
    volumes = {path: load(path) for path in paths}
    out = scratch / "out.nii.gz"

    def ours(path: Path) -> None:
        save(out, volumes[path].array, volumes[path].affine)

    def theirs(path: Path) -> None:
        nib.save(nib.Nifti1Image(volumes[path].array, volumes[path].affine), out)

    _row("nibabel", paths, lambda path: _nibabel_load(path, kind), theirs, out)
    for name in ("zlib", "isal.isal_zlib"):
        if name == "zlib" or importlib.util.find_spec("isal") is not None:
            compression.library = importlib.import_module(name)
            _row(f"vsuda {name.split('.')[0]}", paths, load, ours, out)


def _row(
    name: str,
    paths: list[Path],
    load: Callable[[Path], object],
    save: Callable[[Path], object],
    out: Path,
) -> None:
    read, written = _mean(paths, load), _mean(paths, save)
    total = 0
    for path in paths:
        save(path)
        total += out.stat().st_size
    print(f"  {name:10}  load {read:.4f}  save {written:.4f}  {total / len(paths) / 1e6:.3f} MB")


def _levels(paths: list[Path]) -> None:
    payloads = []
    for path in paths:
        image = nib.load(path)
        integers = np.asanyarray(image.dataobj).dtype.kind in "iu"
        array = np.asanyarray(image.dataobj) if integers else image.get_fdata(dtype=np.float32)
        payloads.append(nib.Nifti1Image(array, image.affine).to_bytes())
    print("  level   save s   load s       MB")
    for level in LEVELS:
        packed = [zlib.compress(payload, level) for payload in payloads]
        write = sum(_best(zlib.compress, payload, level) for payload in payloads) / len(payloads)
        read = sum(_best(compression.library.decompress, one) for one in packed) / len(packed)
        size = sum(len(one) for one in packed) / len(packed) / 1e6
        print(f"  {level:5}  {write:7.4f}  {read:7.4f}  {size:7.3f}", flush=True)


def _nibabel_load(path: Path, kind: type) -> object:
    return np.asanyarray(nib.load(path).dataobj).astype(kind)


def _mean(paths: list[Path], call: Callable[[Path], object]) -> float:
    return sum(_best(call, path) for path in paths) / len(paths)


def _best(call: Callable[..., object], *words: object) -> float:
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        call(*words)
        taken.append(time.perf_counter() - began)
    return min(taken)


def _make_up(folder: Path) -> None:
    """Write one scan of smooth noise on a round head, 12 bit as scanners give, and its labels."""
    rng = np.random.default_rng(0)
    shape = (448, 448, 80)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    radius = np.sqrt(x**2 + y**2 + (z * 0.5) ** 2)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape).astype(np.float32), 3)
    image = np.where(radius < 0.9, 600 + 4000 * smooth, 0) + rng.normal(scale=15, size=shape)
    affine = np.diag([0.41, 0.41, 1.5, 1.0])
    save_image(folder / "a_hrT2.nii.gz", np.clip(image, 0, 4095).astype(np.int16), affine)
    save_label(folder / "a_Label.nii.gz", radius < 0.05, affine)


if __name__ == "__main__":
    main()
