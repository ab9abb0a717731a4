"""`rank`: the challenge's published result, our own score files, teams that do not match."""

import json
from pathlib import Path

import pytest
from command_line import vsuda
from one_command import caller

from vsuda_cli.commands.rank import rank
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.scores import score_table

PUBLISHED = Path(__file__).parents[3] / "shared" / "challenge" / "score_test_2022.csv"
COLUMNS = ["VS_Dice", "VS_ASSD", "VS_Volume"]


call = caller(rank)


def write(path, **cases):
    rows = {case: dict(zip(COLUMNS, values, strict=True)) for case, values in cases.items()}
    path.write_text(score_table(COLUMNS, rows))
    return path


@pytest.fixture
def files(tmp_path):
    return [
        write(tmp_path / "poor.csv", a=(0.1, 9.0, 5.0), b=(0.2, None, 5.0)),
        write(tmp_path / "good.csv", a=(0.9, 0.3, 2.0), b=(0.8, None, 4.0)),
        write(tmp_path / "fair.csv", a=(0.5, 0.3, 2.0), b=(0.8, None, 3.0)),
    ]


def test_the_published_order_and_ranks():
    if not PUBLISHED.exists():
        pytest.skip("the challenge's scores are not there")
    lines = call(PUBLISHED).stdout.splitlines()
    assert lines[0] == "271 cases"
    board = [line.split()[:3] for line in lines[3:] if line.strip()]
    assert len(board) == 12
    assert board[:4] == [
        ["ne2e", "1", "2.950"],
        ["MAI", "2", "3.383"],
        ["LaTIM", "3", "3.816"],
        ["Super_Polymerization", "4", "4.253"],
    ]


def test_best_first_with_means(files):
    records = [json.loads(line) for line in call(*files, "--json").stdout.splitlines()]
    assert [one["team"] for one in records] == ["good", "fair", "poor"]
    assert [one["place"] for one in records] == [1, 2, 3]
    # Case a: Dice 1, 2, 3 and ASSD 1, 1, 3; case b: Dice 1, 1, 3.
    assert [one["mean_rank"] for one in records] == [1, 1.25, 3]
    assert records[0]["means"] == pytest.approx({"VS_Dice": 0.85, "VS_ASSD": 0.3, "VS_Volume": 3})


def test_metrics_are_chosen_and_equal_teams_share_a_place(files):
    records = call(*files, "--json", "--metrics", "ASSD").stdout.splitlines()
    places = {one["team"]: one["place"] for one in map(json.loads, records)}
    assert places == {"good": 1, "fair": 1, "poor": 3}


def test_one_team_gives_its_means(files):
    out = call(files[0]).stdout
    assert out.splitlines()[3].split() == ["poor", "1", "1.000", "0.1500", "9.0000", "5.0000"]


def test_parts_stability_and_tests(files):
    out = call(*files, "--parts", "--bootstrap", 50, "--tests").stdout
    for title in ("by structure and by metric", "Places in 50 resamples", "Wilcoxon"):
        assert title in out
    assert out.splitlines()[-2].split()[0] == "poor"  # the board's order: best first
    words = ["--json", "--parts", "--bootstrap", 50, "--tests"]
    records = [json.loads(line) for line in call(*files, *words).stdout.splitlines()]
    assert records[1]["parts"] == {"VS": 1.25, "Dice": 1.5, "ASSD": 1}
    assert records[3]["places"]["poor"] == [3, 3]
    assert [one["teams"] for one in records[4:]] == [
        ["poor", "good"],
        ["poor", "fair"],
        ["good", "fair"],
    ]
    assert (
        call(*files, "--bootstrap", 50, "--seed", 1).stdout
        != call(*files, "--bootstrap", 50, "--seed", 2).stdout
    )


def test_one_team_without_stability_is_refused_before_it_is_shown(files):
    with pytest.raises(VsudaError, match="two teams"):
        call(files[0], "--bootstrap", 5)
    assert vsuda("rank", files[0], "--bootstrap 5").out == ""


def test_teams_that_do_not_match_are_named(files, tmp_path):
    other = write(tmp_path / "other.csv", a=(1, 1, 1), c=(1, 1, 1))
    with pytest.raises(VsudaError, match=r"other: and poor have different cases \(2: b, c\)"):
        call(*files, other)
    narrow = score_table(["VS_Dice"], {"a": {"VS_Dice": 1}, "b": {"VS_Dice": 1}})
    (tmp_path / "narrow.csv").write_text(narrow)
    with pytest.raises(VsudaError, match="different columns"):
        call(*files, tmp_path / "narrow.csv")
    partly = write(tmp_path / "partly.csv", a=(1, None, 1), b=(1, None, 1))
    with pytest.raises(VsudaError, match="partly, a: has no VS_ASSD, but another team has"):
        call(*files, partly)
    with pytest.raises(VsudaError, match="name of two teams"):
        call(files[0], files[0])


def test_wrong_words_are_refused(files):
    with pytest.raises(VsudaError, match="cannot rank"):
        call(*files, "--metrics", "Volume")
    with pytest.raises(VsudaError, match="has no HD95"):
        call(*files, "--metrics", "HD95")
