"""`evaluate`: the independent scorer's numbers, files on request, failures listed."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import vsuda
from one_command import caller

from vsuda_cli.commands.evaluate import evaluate
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.nifti import save_image, save_label

ORACLE = Path(__file__).parents[3] / "shared" / "tools" / "oracle.py"
SHAPE = (30, 24, 14)


call = caller(evaluate)


def oblique():
    angle = 0.4
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.47, 0.6, 1.5])
    affine[:3, 3] = (-20, 11, 5)
    return affine


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Cases: ordinary and oblique, at the border, tumour missed, tumour absent, one voxel."""
    folder = tmp_path_factory.mktemp("labels")
    truth = np.zeros(SHAPE, dtype=np.uint8)
    truth[4:12, 5:14, 3:9], truth[20:24, 10:14, 5:8] = 1, 2
    moved = np.roll(truth, (1, 2, 0), axis=(0, 1, 2))
    border = np.zeros(SHAPE, dtype=np.uint8)
    border[:6, :5, :4], border[25:, 20:, 10:] = 1, 2
    one = np.zeros(SHAPE, dtype=np.uint8)
    one[3, 3, 3], one[29, 23, 13] = 1, 2
    only_cochlea = np.where(truth == 1, 0, truth)
    cases = {
        "border": (border, truth),
        "missed": (only_cochlea, truth),
        "absent": (truth, only_cochlea),
        "one": (one, truth),
        "oblique": (moved, truth),
    }
    for case, (prediction, reference) in cases.items():
        affine = oblique() if case == "oblique" else np.diag([0.5, 0.9, 1.9, 1.0])
        save_label(folder / "found" / f"{case}_Label.nii.gz", prediction, affine)
        save_label(folder / "truth" / f"{case}_Label.nii.gz", reference, affine)
        noise = np.random.default_rng(0).random(SHAPE)
        save_image(folder / "scans" / f"{case}_hrT2.nii.gz", noise, affine)
    return folder


def scores(path):
    with path.open() as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def test_every_case_equals_the_independent_scorer(data, tmp_path):
    if not ORACLE.exists():
        pytest.skip("the independent scorer is not there")
    call(data / "found", data / "truth", "--csv", tmp_path / "all.csv")
    rows = scores(tmp_path / "all.csv")
    means = {}
    for case in rows:
        for kind in ("found", "truth"):
            path = data / kind / f"{case}_Label.nii.gz"
            (tmp_path / case / kind).mkdir(parents=True)
            (tmp_path / case / kind / path.name).symlink_to(path)
        target = tmp_path / f"{case}.json"
        command = [sys.executable, "-W", "ignore", ORACLE, tmp_path / case / "found"]
        command += [tmp_path / case / "truth", "--json", target]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        means[case] = json.loads(target.read_text())
    for case, row in rows.items():
        for column, expected in means[case].items():
            if np.isnan(expected):
                assert row[column] == ""
            else:
                assert float(row[column]) == pytest.approx(expected, abs=1e-9)
    assert rows["missed"]["VS_ASSD"] == "350.0"
    assert rows["absent"]["VS_ASSD"] == ""


def test_table_is_on_stdout_and_the_undefined_is_said(data):
    result = call(data / "found", data / "truth")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "5 cases"
    assert "cochlea ASSD (mm)" in result.stdout
    assert "VS ASSD: not defined in 1 case, not counted" in result.stderr


def test_csv_and_json_agree(data, tmp_path):
    table, whole = tmp_path / "a.csv", tmp_path / "a.json"
    call(data / "found", data / "truth", "--csv", table, "--json", whole, "--workers", 2)
    content = json.loads(whole.read_text())
    rows = scores(table)
    assert [one["case"] for one in content["cases"]] == sorted(rows)
    for one in content["cases"]:
        for column, value in one.items():
            if column != "case":
                assert rows[one["case"]][column] == ("" if value is None else repr(value))
    dice = [one["cochlea_Dice"] for one in content["cases"]]
    summary = {(s["structure"], s["metric"]): s for s in content["summary"]}
    assert summary["cochlea", "Dice"]["mean"] == pytest.approx(np.mean(dice))
    assert summary["cochlea", "Dice"]["sd"] == pytest.approx(np.std(dice, ddof=1))
    assert summary["VS", "ASSD"]["count"] == 4


def test_a_dash_is_stdout_and_the_table_gives_way(data, tmp_path):
    files = ["--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json"]
    call(data / "found", data / "truth", *files)
    csv_text = call(data / "found", data / "truth", "--csv", "-")
    assert csv_text.stdout == (tmp_path / "a.csv").read_text()
    assert "VS Dice" in csv_text.stderr
    piped = call(data / "found", data / "truth", "--json", "-", "--csv", tmp_path / "b.csv")
    assert json.loads(piped.stdout) == json.loads((tmp_path / "a.json").read_text())
    assert (tmp_path / "b.csv").read_text() == (tmp_path / "a.csv").read_text()
    assert not (tmp_path / "-").exists()


def test_switches_add_columns_and_pooled_changes_assd(data, tmp_path):
    path = tmp_path / "a.csv"
    call(data / "found", data / "truth", "--csv", path)
    plain = scores(path)["oblique"]
    extra = ["--hd95", "--volume", "--surface-dice", "1", "--assd", "pooled"]
    names = ["--classes", "tumour,snail"]
    result = call(data / "found", data / "truth", "--csv", path, "--force", *extra, *names)
    more = scores(path)["oblique"]
    metrics = ["Dice", "ASSD", "HD95", "SurfaceDice", "Volume", "VolumeError"]
    assert list(more) == ["case", *(f"{s}_{m}" for s in ("tumour", "snail") for m in metrics)]
    assert float(more["tumour_Volume"]) == pytest.approx(8 * 9 * 6 * 0.47 * 0.6 * 1.5 / 1000)
    assert more["tumour_Dice"] == plain["VS_Dice"]
    border = scores(path)["border"]
    call(data / "found", data / "truth", "--csv", path, "--force")
    assert border["tumour_ASSD"] != scores(path)["border"]["VS_ASSD"]
    assert "tumour SurfaceDice at 1 mm" in result.stdout


def test_failed_cases_are_listed_and_the_others_scored(data, tmp_path):
    for kind in ("found", "truth"):
        (tmp_path / kind).mkdir()
        for path in (data / kind).iterdir():
            (tmp_path / kind / path.name).write_bytes(path.read_bytes())
    (tmp_path / "found" / "one_Label.nii.gz").unlink()
    (tmp_path / "truth" / "border_Label.nii.gz").unlink()
    save_label(tmp_path / "found" / "missed_Label.nii.gz", np.zeros(SHAPE), np.eye(4))
    save_label(tmp_path / "found" / "absent_Label.nii.gz", np.full(SHAPE, 3), np.eye(4))
    outputs = ["--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json"]
    outputs += ["--report", tmp_path / "a.html"]
    result = call(tmp_path / "found", tmp_path / "truth", *outputs)
    assert result.exit_code == 1
    assert f"border: ignored, it has no reference in {tmp_path / 'truth'}" in result.stderr
    assert "one_Label.nii.gz: has no prediction" in result.stderr
    assert "is on another grid" in result.stderr
    assert "holds label 3" in result.stderr
    assert list(scores(tmp_path / "a.csv")) == ["oblique"]
    failed = json.loads((tmp_path / "a.json").read_text())["failed"]
    assert [one["case"] for one in failed] == ["absent", "missed", "one"]
    assert "has no prediction" in (tmp_path / "a.html").read_text()


def test_report_shows_the_scans(data, tmp_path):
    with_scans, without = tmp_path / "a.html", tmp_path / "b.html"
    call(data / "found", data / "truth", "--report", with_scans, "--images", data / "scans")
    call(data / "found", data / "truth", "--report", without)
    assert "data:image/png;base64," in with_scans.read_text()
    assert "data:image/png;base64," not in without.read_text()
    shifted = tmp_path / "scans"
    save_image(shifted / "one_hrT2.nii.gz", np.zeros(SHAPE), np.eye(4))
    result = call(
        data / "found", data / "truth", "--report", without, "--force", "--images", shifted
    )
    assert "one_hrT2.nii.gz: on another grid" in result.stderr
    assert f"oblique: no scan in {shifted}" in result.stderr


def test_a_reader_that_left_takes_no_file_along(data, tmp_path):
    # As `vsuda evaluate ... | true`.
    files = {"--csv": tmp_path / "a.csv", "--report": tmp_path / "a.html"}
    words = [str(word) for pair in files.items() for word in pair]
    line = [sys.executable, "-m", "vsuda_cli", "evaluate", data / "found", data / "truth", *words]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait() == 0
    assert "written: " in said and "Error" not in said
    assert all(path.stat().st_size > 0 for path in files.values())


def test_existing_files_dry_run_and_shards(data, tmp_path):
    path = tmp_path / "a.csv"
    result = call(data / "found", data / "truth", "--csv", path, "--dry-run")
    assert (result.stdout, result.stderr) == ("", f"would be written: {path}\n")
    assert not path.exists()
    for more in ([], ["--dry-run"]):
        with pytest.raises(VsudaError, match="3/2: is not I/N"):
            call(data / "found", data / "truth", "--csv", path, "--shard", "3/2", *more)
    call(data / "found", data / "truth", "--csv", path, "--shard", "1/2")
    assert list(scores(path)) == ["absent", "missed", "one"]
    with pytest.raises(VsudaError, match="exists already"):
        call(data / "found", data / "truth", "--csv", path)


def test_predictions_may_be_listed_and_help_says_so(data):
    listed = "".join(f"{path}\n" for path in sorted((data / "found").glob("*_Label.nii.gz")))
    result = vsuda("evaluate -", data / "truth", stdin=listed)
    assert result.out == call(data / "found", data / "truth").stdout
    assert "-: paths on stdin" in " ".join(vsuda("evaluate --help").out.split())


def test_groups_from_a_table_and_from_names(data, tmp_path):
    table, whole, page = tmp_path / "g.csv", tmp_path / "a.json", tmp_path / "a.html"
    sites = {"border": "x", "missed": "x", "absent": "y", "one": "y", "oblique": "<y>"}
    table.write_text("case,site,age\n" + "".join(f"{c},{s},5\n" for c, s in sites.items()))
    words = [data / "found", data / "truth", "--groups", table, "--force"]
    out = call(*words, "--json", whole, "--report", page).stdout
    assert "site x: 2 cases" in out
    content = json.loads(whole.read_text())
    assert {one["case"]: one["site"] for one in content["cases"]} == sites
    assert list(content["summary_by"]["site"]) == ["<y>", "x", "y"]
    scores_of = {one["case"]: one["VS_Dice"] for one in content["cases"]}
    (row,) = [r for r in content["summary_by"]["site"]["x"] if r["metric"] == "Dice"][:1]
    expected = np.mean([scores_of["border"], scores_of["missed"]])
    assert (row["count"], row["mean"]) == (2, pytest.approx(expected))
    assert "&lt;y&gt;" in page.read_text()
    assert "age 5: 5 cases" in call(*words, "--by", "age").stdout
    for more, message in (
        (["--by", "site"], "does not tell its site"),
        (["--by", "age"], "is a column of a table"),
        (["--groups", table, "--by", "colour"], "no column `colour`"),
        (["--groups", table, "--csv", table, "--force"], "is read as --groups"),
    ):
        with pytest.raises(VsudaError, match=message):
            call(data / "found", data / "truth", *more)
    for kind in ("found", "truth"):
        (tmp_path / kind).mkdir()
        name = "crossmoda2021_ldn_7_Label.nii.gz"
        (tmp_path / kind / name).symlink_to(data / kind / "one_Label.nii.gz")
    out = call(tmp_path / "found", tmp_path / "truth", "--by", "site").stdout
    assert "site ldn: 1 case" in out


def test_a_class_absent_everywhere_and_nothing_but_background(data, tmp_path):
    background = np.zeros(SHAPE, dtype=np.uint8)
    for kind in ("found", "truth"):
        save_label(tmp_path / kind / "a_Label.nii.gz", background, np.eye(4))
    outputs = ["--csv", tmp_path / "a.csv", "--report", tmp_path / "a.html", "--detection"]
    result = call(tmp_path / "found", tmp_path / "truth", *outputs)
    assert result.exit_code == 0
    assert scores(tmp_path / "a.csv")["a"]["VS_Dice"] == "1.0"
    assert scores(tmp_path / "a.csv")["a"]["VS_ASSD"] == ""
    assert "VS ASSD (mm)" not in result.stdout  # no value, no mean
    assert "VS ASSD: not defined in 1 case, not counted" in result.stderr
    assert "Neither label map holds any structure" in (tmp_path / "a.html").read_text()
    wider = call(data / "found", data / "truth", "--classes", "VS,cochlea,canal")
    assert "canal Dice" in wider.stdout
    assert "canal ASSD" not in wider.stdout


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_a_name_that_is_not_utf_8_is_scored_and_written(data, tmp_path):
    name = os.fsdecode(b"caf\xe9_Label.nii.gz")
    for kind in ("found", "truth"):
        (tmp_path / kind).mkdir()
        shutil.copy(data / kind / "one_Label.nii.gz", tmp_path / kind / name)
    outputs = ["--csv", tmp_path / "a.csv", "--report", tmp_path / "a.html"]
    assert call(tmp_path / "found", tmp_path / "truth", *outputs).exit_code == 0
    assert b"caf\xe9," in (tmp_path / "a.csv").read_bytes()
    assert (tmp_path / "a.html").exists()


def test_detection_counts(data, tmp_path):
    path = tmp_path / "a.csv"
    result = call(data / "found", data / "truth", "--detection", "--csv", path)
    rows = scores(path)
    assert [float(rows["missed"][f"VS_{m}"]) for m in ("Found", "Missed", "False")] == [0, 1, 0]
    assert [float(rows["absent"][f"VS_{m}"]) for m in ("Found", "Missed", "False")] == [0, 0, 1]
    found = sum(float(row["VS_Found"]) for row in rows.values())
    assert f"VS: {found:.0f} of 4 components found" in result.stderr


def test_the_viewer_is_put_into_the_report_on_request(data, tmp_path):
    pytest.importorskip("ipyniivue")
    page = tmp_path / "a.html"
    words = [data / "found", data / "truth", "--report", page, "--images", data / "scans"]
    call(*words)
    assert 'id="niivue"' not in page.read_text()
    call(*words, "--viewer", "--force")
    text = page.read_text()
    assert 'id="niivue"' in text
    assert text.count('class="volumes"') == 5


def test_wrong_words_are_refused(data, tmp_path):
    same = tmp_path / "x"
    for words, message in (
        (["--assd", "best"], "challenge or pooled"),
        (["--surface-dice", "inf"], "no tolerance"),
        (["--images", data], "is for the report"),
        (["--viewer"], "is for the report"),
        (["--csv", same, "--json", same], "two outputs"),
        (["--csv", "-", "--json", "-"], "is one table or one JSON text"),
        (["--report", "-"], "is one table or one JSON text"),
        (["--json", "/dev/stdout", "--force"], "is a device or a pipe"),
    ):
        with pytest.raises(VsudaError, match=message):
            call(data / "found", data / "truth", *words)
