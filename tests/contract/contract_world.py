"""One small input of every kind, and for each command one call on it that succeeds."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from command_line import Result, run
from synthetic_crops import SEGMENTER, TRANSLATOR, save_crops
from synthetic_head import RIGHT_MM, TUMOUR_MM, head

from vsuda_cli.images import phantom_scan
from vsuda_cli.images.geometry import translation
from vsuda_cli.io.nifti import save_image, save_label

ATLAS = "--atlas {atlas}/atlas_ceT1.nii.gz --roi {atlas}/atlas_ROI.nii.gz"
COARSE = phantom_scan.Size(
    phantom_scan.Grids(((60, 72, 24),), (168.0, 184.0), (3.5, 3.7)),
    phantom_scan.Grids(((60, 68, 20),), (168.0, 184.0), (3.5, 3.7)),
    (9.0, 28.0),
)


@dataclass(frozen=True)
class Call:
    """A command line; `{name}` stands for an input of the world, `{out}` for the output."""

    line: str
    # Which of its words are folders of images, and which are runs.
    folders: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    # Cases go on after one that fails; otherwise a bad file ends the command.
    by_case: bool = False
    trains: bool = False
    # Its data is a table on stdout; files are written on request, and named on stderr.
    prints_table: bool = False

    @property
    def keeping(self) -> str:
        """The option that keeps what is there."""
        return "--resume" if self.trains else "--skip-existing"

    def words(self, world: Mapping[str, Path], out: Path, **instead: Path) -> list[str]:
        """Return the command line's words with paths put in, some of them others."""
        paths = {**world, "out": out, **instead}
        return [word.format_map(paths) for word in self.line.split()]


CALLS = {
    "phantom": Call("phantom {out} --source 1 --target 1 --validation 1"),
    "check": Call("check {target} --fix {out}", ("target",), by_case=True),
    "atlas": Call("atlas {heads} {out} --sample 1", ("heads",)),
    "crop": Call(f"crop {{scans}} {{out}} --side right {ATLAS}", ("scans",), by_case=True),
    "translate-train": Call(
        f"translate-train {{source}} {{target}} {{out}} --method cut {TRANSLATOR}",
        ("source", "target"),
        trains=True,
    ),
    "translate-export": Call(
        "translate-export {cut} {source} {out} --device cpu", ("source",), ("cut",), by_case=True
    ),
    "seg-train": Call(f"seg-train {{source}} {{out}} {SEGMENTER}", ("source",), trains=True),
    "mt-train": Call(
        f"mt-train {{source}} {{target}} {{out}} --init {{seg}} {SEGMENTER}",
        ("source", "target"),
        ("seg",),
        trains=True,
    ),
    "cutseg-train": Call(
        "cutseg-train {source} {target} {out} --init-translation {cut} --teacher {seg} "
        f"{SEGMENTER} --set fine_tune_epochs=1",
        ("source", "target"),
        ("cut", "seg"),
        trains=True,
    ),
    "predict": Call(
        "predict {seg} {target} {out} --probabilities --device cpu",
        ("target",),
        ("seg",),
        by_case=True,
    ),
    "fuse": Call("fuse {probs} {more_probs} {out}", ("probs", "more_probs"), by_case=True),
    "postprocess": Call(
        "postprocess {labels} {out} --like {target}", ("labels", "target"), by_case=True
    ),
    "evaluate": Call(
        "evaluate {labels} {labels} --csv {out}/scores.csv --report {out}/report.html",
        ("labels",),
        by_case=True,
        prints_table=True,
    ),
    "rank": Call("rank {scores}/a.csv {scores}/b.csv", prints_table=True),
}
INPUTS = ("heads", "scans", "atlas", "source", "target", "labels", "cut", "seg")
INPUTS += ("probs", "more_probs", "scores")
WRITING = [name for name in CALLS if name != "rank"]
BY_PATH = [name for name, call in CALLS.items() if not call.prints_table]


def do(name: str, world: Mapping[str, Path], out: Path, *more: str, **instead: Path) -> Result:
    """Run a command's good call, with more words or with other paths in it."""
    return run([*CALLS[name].words(world, out, **instead), *more])


def build_world(folder: Path) -> dict[str, Path]:
    """Make every input; runs, probabilities and scores by the commands themselves."""
    world = {name: folder / name for name in INPUTS}
    _heads(world)
    save_crops(
        world["source"], world["source"], "ceT1", dict.fromkeys(["a0_R", "a1_R", "a2_L"], 1.0)
    )
    save_crops(world["target"], world["labels"], "hrT2", {"b0_R": 1.0, "b1_L": 0.8})
    for made, name in (("cut", "translate-train"), ("seg", "seg-train"), ("probs", "predict")):
        done = do(name, world, world[made])
        assert done.code == 0, done.err
    world["more_probs"].mkdir()
    for file in world["probs"].glob("*_Probability.nii.gz"):
        os.link(file, world["more_probs"] / file.name)
    world["scores"].mkdir()
    for team in "ab":
        csv = world["scores"] / f"{team}.csv"
        labels = str(world["labels"])
        done = run(["evaluate", labels, labels, "--csv", str(csv)])
        assert done.code == 0, done.err
    return world


def _heads(world: dict[str, Path]) -> None:
    image, label, affine = head("T1")
    for case, seed in (("h1", 0), ("h2", 1)):
        noise = np.random.default_rng(seed).normal(0, 5, image.shape)
        save_image(world["heads"] / f"{case}_ceT1.nii.gz", np.abs(image + noise), affine)
        save_label(world["heads"] / f"{case}_Label.nii.gz", label, affine)
    save_image(world["atlas"] / "atlas_ceT1.nii.gz", image, affine)
    where = np.argwhere(np.ones(image.shape)) @ affine[:3, :3].T + affine[:3, 3]
    box = (np.abs(where - (RIGHT_MM + TUMOUR_MM) / 2) < (22, 18, 18)).all(axis=-1)
    save_label(world["atlas"] / "atlas_ROI.nii.gz", box.reshape(image.shape), affine)
    image, label, affine = head("T2", translation(np.array((4.0, -5.0, 3.0))))
    save_image(world["scans"] / "s1_hrT2.nii.gz", image, affine)
    save_label(world["scans"] / "s1_Label.nii.gz", label, affine)
