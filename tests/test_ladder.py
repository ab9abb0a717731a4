"""The ladder's table and recipe."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RECIPE = Path(__file__).parents[1] / "examples" / "realheads"
SCRIPT = RECIPE / "ladder.py"
RUNGS = {"source-only": (0.1, 0.2), "halfway": (0.5, 0.3), "upper-bound": (0.9, 0.8)}


def test_rungs_stand_between_source_only_and_upper_bound(tmp_path: Path) -> None:
    for name, (tumour, cochlea) in RUNGS.items():
        _score(tmp_path / "out", name, tumour, cochlea)
    table, printed = _ladder(tmp_path, tmp_path / "out")
    assert [round(rung["VS_gap"], 6) for rung in table.values()] == [0, 0.5, 1]
    assert round(table["halfway"]["cochlea_gap"], 6) == round(0.1 / 0.6, 6)
    assert table["halfway"]["VS_ASSD"] == [2.0, 0.0]
    assert table["halfway"]["cochlea_ASSD"] == [2.0, 2**0.5]
    assert "| halfway | 0.500 ± 0.000 |" in printed


def test_of_several_seeds_it_is_the_spread_of_their_means(tmp_path: Path) -> None:
    for seed, better in (("a", 0.0), ("b", 0.02)):
        for name, (tumour, cochlea) in RUNGS.items():
            _score(tmp_path / seed, name, tumour + better, cochlea)
    table, _ = _ladder(tmp_path, tmp_path / "a", tmp_path / "b")
    mean, deviation = table["halfway"]["VS_Dice"]
    assert (round(mean, 6), round(deviation, 6)) == (0.51, round(0.02 / 2**0.5, 6))
    # The scans' own distances, 1 and 3, average to the same in both.
    assert table["halfway"]["cochlea_ASSD"] == [2.0, 0.0]


def test_structures_are_those_of_the_score_files(tmp_path: Path) -> None:
    for name in RUNGS:
        _score(tmp_path / "out", name, 0.5, 0.6)
        path = tmp_path / "out" / "scores" / f"{name}.csv"
        path.write_text(path.read_text().replace("VS_", "neuroma_").replace("cochlea_", "spiral_"))
    table, printed = _ladder(tmp_path, tmp_path / "out")
    assert table["halfway"]["spiral_Dice"] == [0.6, 0.0]
    head = printed.splitlines()[0]
    assert "| neuroma Dice | neuroma ASSD (mm) | gap closed | spiral Dice |" in head


@pytest.mark.parametrize(
    "target", ["ladder", "shown", "y/done/train-guided", "y/done/train-mirrored"]
)
def test_names_of_structures_go_to_all_that_take_them(target: str) -> None:
    words = ["make", "-n", "-f", RECIPE / "Makefile", "DATA=x", "OUT=y", "CLASSES=neuroma,spiral"]
    done = subprocess.run([*words, target], capture_output=True, text=True, check=True)
    naming = ("seg-train", "mt-train", "cutseg-train", "fuse", "postprocess", "evaluate")
    calls = [line for line in done.stdout.splitlines() if line.split()[:1] == ["vsuda"]]
    named = [line for line in calls if line.split()[1] in naming]
    assert named
    assert all("--classes neuroma,spiral" in line for line in named)


def test_minutes_are_those_of_a_rungs_own_trainings(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in RUNGS:
        _score(out, name, 0.5, 0.5)
    for run, minutes in (("halfway-a", 3), ("halfway-b", 4), ("upper-bound", 10)):
        folder = out / "runs" / run
        folder.mkdir(parents=True)
        for file, when in (("config.toml", 0), ("metrics.jsonl", 60 * minutes)):
            (folder / file).touch()
            os.utime(folder / file, (1000 + when, 1000 + when))
    table, printed = _ladder(tmp_path, out)
    assert [rung["minutes"] for rung in table.values()] == [None, 7.0, 10.0]
    assert printed.splitlines()[3].endswith("| 7.0 |")


def _score(out: Path, rung: str, tumour: float, cochlea: float) -> None:
    # The structure that case b lacks has no distance.
    rows = [f"a,{tumour},2,{cochlea},1", f"b,{tumour},,{cochlea},3"]
    (out / "scores").mkdir(parents=True, exist_ok=True)
    text = "\n".join(["case,VS_Dice,VS_ASSD,cochlea_Dice,cochlea_ASSD", *rows])
    (out / "scores" / f"{rung}.csv").write_text(text + "\n")


def _ladder(folder: Path, *outs: Path) -> tuple[dict[str, Any], str]:
    files = folder / "ladder.md", folder / "ladder.json"
    outputs = ["--markdown", files[0], "--json", files[1]]
    done = subprocess.run(
        [sys.executable, SCRIPT, *outs, "--rungs", *RUNGS, *outputs],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == files[0].read_text()
    return json.loads(files[1].read_text()), done.stdout


@pytest.mark.parametrize(
    ("source", "target", "tumour"), [("ceT1", "hrT2", "[0.35,0.8]"), ("hrT2", "ceT1", "[0.7,1.0]")]
)
def test_the_files_say_which_contrast_is_to_be_segmented(
    tmp_path: Path, source: str, target: str, tumour: str
) -> None:
    scan = tmp_path / "target_training" / f"a_{target}.nii.gz"
    scan.parent.mkdir()
    scan.touch()
    planned = _planned(tmp_path, "adapt")
    crops = [line for line in planned.splitlines() if line.startswith("vsuda crop ")]
    for line in crops:
        tag = source if "source_training" in line else target
        assert f"/atlas/atlas_{tag}.nii.gz" in line
    assert len(crops) == 3
    assert f"--set structure_ranges=[{tumour}," in planned
    exported = [line for line in planned.splitlines() if "translate-export" in line]
    assert len(exported) == 3
    assert all(line.endswith(f"--tag {target}") for line in exported)


def test_a_target_of_another_tag_is_taken_for_t2(tmp_path: Path) -> None:
    planned = _planned(tmp_path, "adapt", "TARGET_TAG=T2w")
    for ranges in ("[[0.35,0.8],[0.75,1.0]]", "[[0.3,0.7],[0.75,1.0]]"):
        assert f"--set structure_ranges={ranges}" in planned
    assert "/runs/curve --method curve" in planned


def test_what_decides_is_run_once_for_each_seed(tmp_path: Path) -> None:
    (tmp_path / "target_validation_labels").mkdir()
    planned = _planned(tmp_path, "seeds", "SEEDS=1 5")
    for seed in ("1", "5"):
        out = tmp_path / "out" / f"seed-{seed}"
        trained = [line for line in planned.splitlines() if f" {out}/runs/model1 " in line]
        assert any(f" --seed {seed} " in line for line in trained)
    assert f"ladder.py {tmp_path}/out/seed-1 {tmp_path}/out/seed-5 --rungs" in planned


def _planned(data: Path, target: str, *variables: str) -> str:
    """Return what `make -n` of the recipe prints."""
    where = [f"DATA={data}", f"OUT={data / 'out'}", "VSUDA=vsuda"]
    done = subprocess.run(
        ["make", "-n", "-f", RECIPE / "Makefile", *where, *variables, target],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
