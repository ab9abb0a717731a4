"""Folders, single files and lists of paths become sorted cases; partners are found by case id."""

import itertools
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vsuda_cli.errors import VsudaError

logger = logging.getLogger(__name__)

SUFFIXES = (".nii.gz", ".nii")
LABEL = "Label"
PROBABILITY = "Probability"
ROI = "ROI"
NOT_IMAGES = frozenset({LABEL, PROBABILITY, ROI, "Confidence", "Disagreement"})
# What the crops of a scan's ears add to its case.
EARS = ("_R", "_L")
# The case of one ear's crop, or of a pseudo-image made from it.
_CROP = re.compile(r"_[RL](_e\d+)*$")

Item = TypeVar("Item")


@dataclass(frozen=True, order=True)
class CaseFile:
    """One NIfTI file `<case>_<tag>.nii.gz`; the tag is what follows the last underscore."""

    case: str
    tag: str
    path: Path


def is_nifti(path: Path) -> bool:
    """Tell by the name whether this is a NIfTI file that a command should look at."""
    return path.name.endswith(SUFFIXES) and not path.name.startswith(".")


def parse_name(path: Path) -> CaseFile:
    """Split a file's name into case id and tag.

    Raises VsudaError if the name is not `<case>_<tag>.nii.gz` or `.nii`.
    """
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    case, underscore, tag = stem.rpartition("_")
    if not is_nifti(path) or not (underscore and case and tag):
        raise VsudaError(path, "is not named <case>_<tag>.nii.gz", "rename it, e.g. a_hrT2.nii.gz")
    return CaseFile(case, tag, path)


def is_crop(case: str) -> bool:
    """Tell by its case id whether an image is the crop of one ear, as `a_R` is.

    Its translations are too: `a_R_e080`, and of that one, `a_R_e080_e012`.
    """
    return _CROP.search(case) is not None


def without_ear(case: str) -> str:
    """Return the case of the scan that an ear's crop is of: `a` of `a_R`, and of `a` itself."""
    return case[:-2] if case.endswith(EARS) else case


def find_files(source: str | Path) -> list[CaseFile]:
    """Return every named NIfTI file of a directory, one file, or `-` (paths on standard input)."""
    if str(source) == "-":
        lines = (line.rstrip("\n") for line in sys.stdin or ())
        paths = [Path(line) for line in lines if line]
        for path in paths:
            _require_file(path)
        return sorted(parse_name(path) for path in paths)
    path = Path(source)
    if path.is_dir():
        named = [p for p in path.iterdir() if is_nifti(p) and "_" in p.name]
        return sorted(parse_name(p) for p in named)
    _require_file(path)
    return [parse_name(path)]


def find_images(source: str | Path) -> list[CaseFile]:
    """Return the images (every tag that is not in NOT_IMAGES), sorted by case id.

    Files of a folder whose names hold no case and tag are named in the log. Raises VsudaError if
    there are no images, or if a case has two.
    """
    folder = Path(source)
    if str(source) != "-" and folder.is_dir():
        for path in sorted(folder.iterdir()):
            if is_nifti(path) and "_" not in path.name:
                logger.warning("%s: ignored, it is not named <case>_<tag>.nii.gz", path)
    found = [file for file in find_files(source) if file.tag not in NOT_IMAGES]
    return _checked(found, source, "<case>_<tag>.nii.gz images")


def find_labels(source: str | Path) -> list[CaseFile]:
    """Return the label maps `<case>_Label`, sorted by case id; raises like find_images."""
    return _with_tag(source, LABEL)


def find_probabilities(source: str | Path) -> list[CaseFile]:
    """Return the maps `<case>_Probability`, sorted by case id; raises like find_images."""
    return _with_tag(source, PROBABILITY)


def label_beside(image: CaseFile, folder: Path | None = None) -> Path | None:
    """Return the label map of an image's case, in the image's own folder or in `folder`.

    Raises VsudaError if there are two, `.nii.gz` and `.nii`.
    """
    stem = f"{image.case}_{LABEL}"
    paths = [(folder or image.path.parent) / f"{stem}{suffix}" for suffix in SUFFIXES]
    # A link to a file that is not there, as git-annex has them, is no missing label.
    found = [path for path in paths if os.path.lexists(path)]
    if len(found) > 1:
        raise VsudaError(found[1], f"is a second label map beside {found[0].name}", "keep one")
    return found[0] if found else None


def labelled_images(source: str | Path, labels: Path | None = None) -> list[tuple[CaseFile, Path]]:
    """Return images with their label maps; raises VsudaError naming an image that has none."""
    pairs = []
    for image in find_images(source):
        label = label_beside(image, labels)
        if label is None:
            raise VsudaError(
                image.path,
                f"has no {image.case}_{LABEL}.nii.gz in {labels or image.path.parent}",
                "put the label map there or take the image away",
            )
        pairs.append((image, label))
    return pairs


def tag_of_all(images: Iterable[CaseFile]) -> str | None:
    """Return the tag that all images have, or None if they have several."""
    tags = {image.tag for image in images}
    return tags.pop() if len(tags) == 1 else None


def output_path(folder: Path, case: str, tag: str) -> Path:
    """Return the path of a case's output."""
    return folder / f"{case}_{tag}.nii.gz"


def take_shard(items: Sequence[Item], shard: str | None) -> list[Item]:
    """Return the I-th of N interleaved shares of sorted items; `shard` is "I/N", 1-based."""
    if shard is None:
        return list(items)
    first, slash, count = shard.partition("/")
    if not (slash and first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise VsudaError(f"--shard {shard}", "is not I/N with 1 <= I <= N", "write e.g. 2/8")
    return list(items[int(first) - 1 :: int(count)])


def refuse_same_folder(
    out: Path, inputs: Iterable[str | Path], listed: Iterable[Path] = ()
) -> None:
    """Raise VsudaError if the output folder is one of the inputs: outputs would become inputs.

    `listed` are the files found in them, for those that standard input named (`-`).
    """
    sources = {Path(source) for source in inputs if str(source) != "-"}
    sources.update(path.parent for path in listed)
    for source in sorted(sources):
        folder = source if source.is_dir() else source.parent
        if out.exists() and folder.exists() and out.resolve() == folder.resolve():
            raise VsudaError(out, "is an input folder too", "give another output folder")


def _with_tag(source: str | Path, tag: str) -> list[CaseFile]:
    found = [file for file in find_files(source) if file.tag == tag]
    return _checked(found, source, f"<case>_{tag}.nii.gz files")


def _checked(found: list[CaseFile], source: str | Path, wanted: str) -> list[CaseFile]:
    if not found:
        raise VsudaError(source, f"holds no {wanted}", found_instead(source))
    for before, after in itertools.pairwise(found):
        if before.case == after.case:
            problem = f"is a second file of case {after.case} beside {before.path.name}"
            raise VsudaError(after.path, problem, _what_to_keep({before.tag, after.tag}))
    return found


def found_instead(source: str | Path) -> str:
    """Return what to do about a source without the files that were looked for."""
    if str(source) == "-":
        return "write their paths to standard input, one a line"
    folder = Path(source)
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    if any(path.name == "config.toml" for path in inside):
        return "it is a training's run: check the order of the arguments"
    folders = [path.name for path in inside if path.is_dir()]
    if folders and not any(is_nifti(path) for path in inside):
        return f"it holds folders, give one of them: {', '.join(folders)}"
    return "check the folder and the file names"


def _what_to_keep(tags: set[str]) -> str:
    """Return what to do about two files of one case, by their tags."""
    for tag in tags - {LABEL}:
        if tag.lower() == LABEL.lower():
            return f"label maps are named <case>_{LABEL}.nii.gz, with a capital L"
    if tags <= {"R", "L"}:
        return "what follows the last underscore is the tag: name crops as a_R_hrT2.nii.gz"
    return "keep one of them"


def _require_file(path: Path) -> None:
    if not path.exists():
        raise VsudaError(path, "does not exist", "check the path")
    if not path.is_file():
        raise VsudaError(path, "is not a file", "give a folder or a NIfTI file")
