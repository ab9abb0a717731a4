"""The ladder's table and recipe."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[1] / "examples" / "realheads"
SCRIPT = RECIPE / "ladder.py"
RUNGS = {"source-only": (0.1, 0.2), "halfway": (0.5, 0.3), "upper-bound": (0.9, 0.8)}


def test_rungs_stand_between_source_only_and_upper_bound(tmp_path: Path) -> None:
    for name, (tumour, cochlea) in RUNGS.items():
        # The structure that case b lacks has no distance.
        rows = [f"a,{tumour},2,{cochlea},1", f"b,{tumour},,{cochlea},3"]
        head = "case,VS_Dice,VS_ASSD,cochlea_Dice,cochlea_ASSD"
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *rows]) + "\n")
    outputs = ["--markdown", tmp_path / "ladder.md", "--json", tmp_path / "ladder.json"]
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, "--rungs", *RUNGS, *outputs],
        capture_output=True,
        text=True,
        check=True,
    )
    table = json.loads((tmp_path / "ladder.json").read_text())
    assert [round(rung["VS_gap"], 6) for rung in table.values()] == [0, 0.5, 1]
    assert round(table["halfway"]["cochlea_gap"], 6) == round(0.1 / 0.6, 6)
    assert table["halfway"]["VS_ASSD"] == [2.0, 0.0]
    assert table["halfway"]["cochlea_ASSD"] == [2.0, 2**0.5]
    assert done.stdout == (tmp_path / "ladder.md").read_text()
    assert "| halfway | 0.500 ± 0.000 |" in done.stdout


@pytest.mark.parametrize(
    ("source", "target", "tumour"), [("ceT1", "hrT2", "[0.35,0.8]"), ("hrT2", "ceT1", "[0.7,1.0]")]
)
def test_the_files_say_which_contrast_is_to_be_segmented(
    tmp_path: Path, source: str, target: str, tumour: str
) -> None:
    scan = tmp_path / "target_training" / f"a_{target}.nii.gz"
    scan.parent.mkdir()
    scan.touch()
    where = [f"DATA={tmp_path}", f"OUT={tmp_path / 'out'}", "VSUDA=vsuda"]
    done = subprocess.run(
        ["make", "-n", "-f", RECIPE / "Makefile", *where, "adapt"],
        capture_output=True,
        text=True,
        check=True,
    )
    crops = [line for line in done.stdout.splitlines() if line.startswith("vsuda crop ")]
    for line in crops:
        tag = source if "source_training" in line else target
        assert f"/atlas/atlas_{tag}.nii.gz" in line
    assert len(crops) == 3
    assert f"--set structure_ranges=[{tumour}," in done.stdout
    exported = [line for line in done.stdout.splitlines() if "translate-export" in line]
    assert len(exported) == 3
    assert all(line.endswith(f"--tag {target}") for line in exported)


def test_a_target_of_another_tag_is_taken_for_t2(tmp_path: Path) -> None:
    where = [f"DATA={tmp_path}", f"OUT={tmp_path / 'out'}", "VSUDA=vsuda", "TARGET_TAG=T2w"]
    done = subprocess.run(
        ["make", "-n", "-f", RECIPE / "Makefile", *where, "adapt"],
        capture_output=True,
        text=True,
        check=True,
    )
    for ranges in ("[[0.35,0.8],[0.75,1.0]]", "[[0.3,0.7],[0.75,1.0]]"):
        assert f"--set structure_ranges={ranges}" in done.stdout
    assert "/runs/curve --method curve" in done.stdout
