"""The sheets of pictures of all crops of a call."""

from collections.abc import Sequence
from pathlib import Path

from vsuda_cli.images.pictures import Picture, contact_sheet
from vsuda_cli.io import atomic
from vsuda_cli.io.cases import LABEL
from vsuda_cli.io.nifti import load_image, load_label

# More would need much memory for one picture that nobody can look through.
CROPS_PER_SHEET = 400


def write_sheets(path: Path, crops: Sequence[Path]) -> None:
    """Write contact sheets of image crops, each with the label map beside it if there is one.

    The first is `path`; where there are many crops, `-2`, `-3`, ... follow. Sheets that are newer
    than their crops stay: a command that was killed before it wrote them writes them when rerun.
    """
    ordered = sorted(crops)
    for number, first in enumerate(range(0, len(ordered), CROPS_PER_SHEET), 1):
        page = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        shown = ordered[first : first + CROPS_PER_SHEET]
        if not _is_newer(page, shown):
            atomic.write_bytes(page, contact_sheet((_picture(crop) for crop in shown), len(shown)))


def _is_newer(page: Path, crops: Sequence[Path]) -> bool:
    if not page.exists():
        return False
    written = page.stat().st_mtime_ns
    return all(crop.stat().st_mtime_ns < written for crop in crops)


def _picture(crop: Path) -> Picture:
    volume = load_image(crop)
    name, _, _ = crop.name.removesuffix(".nii.gz").rpartition("_")
    beside = crop.with_name(f"{name}_{LABEL}.nii.gz")
    label = load_label(beside).array if beside.exists() else None
    return Picture(name, volume.array, volume.spacing_mm, label)
