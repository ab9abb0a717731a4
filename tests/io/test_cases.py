"""Names become cases; partners are found by case id."""

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import (
    CaseFile,
    find_files,
    find_images,
    find_labels,
    find_probabilities,
    is_crop,
    label_beside,
    labelled_images,
    output_path,
    parse_name,
    refuse_same_folder,
    take_shard,
)

NAME = st.text(
    st.characters(blacklist_characters="/\0_", blacklist_categories=("Cs",)), min_size=1, max_size=9
).filter(lambda text: text not in (".", ".."))


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for name in names:
        (folder / name).touch()


def give_stdin(monkeypatch: pytest.MonkeyPatch, *lines: object) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(parts=st.lists(NAME, min_size=1, max_size=3), tag=NAME)
def test_output_names_are_read_back(parts: list[str], tag: str) -> None:
    case = "_".join(parts)
    if case.startswith(".") or tag.endswith((".nii", ".gz")):
        return
    path = output_path(Path("out"), case, tag)
    assert parse_name(path) == CaseFile(case, tag, path)


def test_the_tag_follows_the_last_underscore() -> None:
    found = parse_name(Path("crossmoda2021_ldn_12_R_e080_hrT2.nii"))
    assert (found.case, found.tag) == ("crossmoda2021_ldn_12_R_e080", "hrT2")


@pytest.mark.parametrize("name", ["plain.nii.gz", "_T2.nii.gz", "a_.nii", ".a_T2.nii", "a_T2.mha"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(VsudaError, match="<case>_<tag>"):
        parse_name(Path(name))


def test_a_folder_gives_sorted_images_without_labels_and_others(tmp_path: Path) -> None:
    touch(tmp_path, "b_2_T2.nii.gz", "a b_ceT1.nii", "a b_Label.nii.gz", "x_ROI.nii.gz")
    touch(tmp_path, "b_2_Probability.nii.gz", ".b_T2.nii.gz.x.partial", "notes.txt", "plain.nii")
    assert [file.case for file in find_images(tmp_path)] == ["a b", "b_2"]
    assert [file.path.name for file in find_labels(tmp_path)] == ["a b_Label.nii.gz"]
    assert [file.path.name for file in find_probabilities(tmp_path)] == ["b_2_Probability.nii.gz"]


def test_one_file_is_one_case(tmp_path: Path) -> None:
    touch(tmp_path, "a_T2.nii.gz", "b_T2.nii.gz")
    assert [file.case for file in find_images(tmp_path / "b_T2.nii.gz")] == ["b"]


def test_paths_come_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "b x_T2.nii.gz", "a_T2.nii.gz", "c_T2.nii.gz")
    give_stdin(monkeypatch, tmp_path / "b x_T2.nii.gz", "", tmp_path / "a_T2.nii.gz")
    assert [file.case for file in find_images("-")] == ["a", "b x"]


def test_a_path_on_standard_input_must_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_stdin(monkeypatch, tmp_path / "a_T2.nii.gz")
    with pytest.raises(VsudaError, match=r"a_T2\.nii\.gz: does not exist"):
        find_files("-")


def test_empty_standard_input_is_no_case(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch)
    with pytest.raises(VsudaError, match=r"holds no .* paths to standard input"):
        find_images("-")


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a_T2.nii.gz")
    with pytest.raises(VsudaError, match="holds no <case>_Label"):
        find_labels(tmp_path)
    with pytest.raises(VsudaError, match="does not exist"):
        find_images(tmp_path / "absent")
    touch(tmp_path / "data" / "source_training", "a_T2.nii.gz")
    touch(tmp_path / "data" / "target_training", "b_T2.nii.gz")
    touch(tmp_path / "data", "README.md")
    with pytest.raises(VsudaError, match="give one of them: source_training, target_training"):
        find_images(tmp_path / "data")
    touch(tmp_path / "run", "config.toml")
    with pytest.raises(VsudaError, match="it is a training's run: check the order"):
        find_images(tmp_path / "run")


def test_names_without_a_tag_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a_T2.nii.gz", "scan7.nii.gz", "notes.txt")
    assert [file.case for file in find_images(tmp_path)] == ["a"]
    wanted = f"{tmp_path / 'scan7.nii.gz'}: ignored, it is not named <case>_<tag>.nii.gz"
    assert [record.getMessage() for record in caplog.records] == [wanted]


def test_two_files_of_a_case_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "twice", "a_T2.nii", "a_T2.nii.gz")
    touch(tmp_path / "contrasts", "a_T2.nii.gz", "a_ceT1.nii.gz")
    for folder in ("twice", "contrasts"):
        with pytest.raises(VsudaError, match=r"second file of case a .*; keep one of them"):
            find_images(tmp_path / folder)
    touch(tmp_path / "small", "a_T2.nii.gz", "a_label.nii.gz")
    with pytest.raises(VsudaError, match=r"named <case>_Label\.nii\.gz, with a capital L"):
        find_images(tmp_path / "small")
    touch(tmp_path / "ears", "a_L.nii.gz", "a_R.nii.gz")
    with pytest.raises(VsudaError, match="name crops as a_R_hrT2"):
        find_images(tmp_path / "ears")


def test_label_maps_are_found_by_case_id(tmp_path: Path) -> None:
    touch(tmp_path / "images", "a_T2.nii.gz", "a_Label.nii", "ab_T2.nii.gz")
    touch(tmp_path / "labels", "ab_Label.nii.gz")
    a, ab = find_images(tmp_path / "images")
    assert label_beside(a) == tmp_path / "images" / "a_Label.nii"
    assert label_beside(ab) is None
    assert label_beside(ab, tmp_path / "labels") == tmp_path / "labels" / "ab_Label.nii.gz"


def test_two_label_maps_of_a_case_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a_T2.nii.gz", "a_Label.nii", "a_Label.nii.gz")
    with pytest.raises(VsudaError, match="second"):
        label_beside(find_images(tmp_path)[0])


def test_labelled_images_name_the_one_without_label(tmp_path: Path) -> None:
    touch(tmp_path, "a_T2.nii.gz", "a_Label.nii.gz", "b_T2.nii.gz")
    with pytest.raises(VsudaError, match=r"b_T2\.nii\.gz: has no b_Label"):
        labelled_images(tmp_path)
    (tmp_path / "b_Label.nii.gz").touch()
    names = [(image.path.name, label.name) for image, label in labelled_images(tmp_path)]
    assert names == [("a_T2.nii.gz", "a_Label.nii.gz"), ("b_T2.nii.gz", "b_Label.nii.gz")]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(count=st.integers(0, 30), shards=st.integers(1, 9))
def test_shards_are_disjoint_and_complete(count: int, shards: int) -> None:
    items = list(range(count))
    shares = [take_shard(items, f"{i}/{shards}") for i in range(1, shards + 1)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_no_shard_is_everything() -> None:
    assert take_shard([1, 2, 3], None) == [1, 2, 3]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/", "/2", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_wrong_shard_is_refused(shard: str) -> None:
    with pytest.raises(VsudaError, match="1 <= I <= N"):
        take_shard([1, 2, 3], shard)


def test_output_folder_must_not_be_an_input(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a_T2.nii.gz")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    refuse_same_folder(tmp_path / "out", [tmp_path / "in", "-"])
    for out in (tmp_path / "in", tmp_path / "link", tmp_path / "in" / ".." / "in"):
        for source in (tmp_path / "in", str(tmp_path / "in" / "a_T2.nii.gz")):
            with pytest.raises(VsudaError, match="input folder"):
                refuse_same_folder(out, [tmp_path, source])
        with pytest.raises(VsudaError, match="input folder"):
            refuse_same_folder(out, ["-"], [tmp_path / "in" / "a_T2.nii.gz"])


def test_a_label_map_whose_link_leads_nowhere_is_not_missing(tmp_path: Path) -> None:
    touch(tmp_path, "a_T2.nii.gz")
    (tmp_path / "a_Label.nii.gz").symlink_to(tmp_path / "annex" / "absent")
    (image,) = find_images(tmp_path)
    assert label_beside(image) == tmp_path / "a_Label.nii.gz"


@pytest.mark.parametrize(
    ("case", "crop"),
    [
        ("a_R", True),
        ("a_L", True),
        ("a_R_e080", True),
        ("a_R_e001_e080", True),
        ("a", False),
        ("a_e080", False),
        ("R", False),
        ("a_R_b", False),
        ("a_Ru", False),
        ("a_Rb_e080", False),
    ],
)
def test_crops_are_known_by_their_names(case: str, crop: bool) -> None:
    assert is_crop(case) == crop
