"""A typical target scan in the atlas' place: by detours over all scans, refused where they part."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_head import LEFT_MM, RIGHT_MM, head

from vsuda_cli.commands import target_atlas
from vsuda_cli.commands.atlas_building import BuiltAtlas
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.geometry import transform, translation
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.io.nifti import save_image
from vsuda_cli.options import WorkerOptions

SHIFT_MM = np.array([4.0, -6.0, 3.0])


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> tuple[CaseFile, CaseFile, CaseFile]:
    """A head in T1, and in T2 two more, both moved by as much."""
    folder = tmp_path_factory.mktemp("heads")
    cases = []
    for name, tag, shift in (
        ("atlas", "ceT1", np.zeros(3)),
        ("a", "hrT2", SHIFT_MM),
        ("b", "hrT2", SHIFT_MM),
    ):
        image, _, affine = head(tag[-2:], translation(shift), seed=len(cases))
        cases.append(CaseFile(name, tag, folder / f"{name}_{tag}.nii.gz"))
        save_image(cases[-1].path, image, affine)
    return cases[0], cases[1], cases[2]


def built(case: CaseFile) -> BuiltAtlas:
    image, label, affine = head("T1")
    region = np.zeros(image.shape, np.uint8)
    region[50:70, 40:60, 10:20] = 1
    return BuiltAtlas(case, image, region, label, affine)


def test_a_detour_leads_from_the_atlas_to_the_chosen_scan(
    heads: tuple[CaseFile, CaseFile, CaseFile],
) -> None:
    atlas, scan, chosen = heads
    ways = target_atlas.detours(scan, atlas, chosen)
    assert len(ways) == 2
    # Both ears' ways are about the right ear: the left one goes over the mirrored scan.
    for way in ways:
        ear = transform(way, RIGHT_MM[None])[0]
        assert np.linalg.norm(ear - RIGHT_MM - SHIFT_MM) < 3
        assert np.linalg.norm(ear - LEFT_MM) > 30


def gathered(found: list[Any]) -> Callable[..., list[Any]]:
    return lambda *words: found


def test_what_most_detours_agree_on_counts(
    heads: tuple[CaseFile, CaseFile, CaseFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas, *targets = heads
    right, astray = translation(SHIFT_MM), translation(np.array([60.0, 0, 0]))
    monkeypatch.setattr(target_atlas, "choose", lambda images, *words: images[0])
    monkeypatch.setattr(target_atlas, "gather", gathered([[right, right], [right, astray]]))
    case, image = target_atlas.build_target(targets, built(atlas), 6, WorkerOptions())
    wanted, _, _ = head("T2", seed=1)
    inside = (slice(20, -20), slice(20, -20), slice(8, -8))
    assert case == "a"
    assert np.corrcoef(image[inside].ravel(), wanted[inside].ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "only 0 of 3 target scans could be registered"),
        ([[np.eye(4)] * 2], "only 1 of 3 target scans could be registered"),
        (
            [[translation(np.array([x, 0, 0])) for x in (-40.0, 40.0)]] * 2,
            "its place in the atlas is uncertain by 40 mm",
        ),
    ],
)
def test_scans_that_say_nothing_are_refused(
    heads: tuple[CaseFile, CaseFile, CaseFile],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    found: list[Any],
    message: str,
) -> None:
    atlas, *targets = heads
    monkeypatch.setattr(target_atlas, "choose", lambda images, *words: images[0])
    monkeypatch.setattr(target_atlas, "gather", gathered(found))
    with pytest.raises(VsudaError, match=rf"a_hrT2\.nii\.gz: {message}.*leave --target away"):
        target_atlas.build_target([*targets, targets[0]], built(atlas), 6, WorkerOptions())
