"""Whether outputs can be written is known beforehand, and asking leaves no trace."""

import os
from pathlib import Path

import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.writable import require_writable, require_writable_files


def test_what_is_there_and_what_can_be_made_passes(tmp_path: Path) -> None:
    require_writable([tmp_path, tmp_path / "new", tmp_path / "new" / "deeper"])
    assert not any(tmp_path.iterdir())


def test_relative_folders_are_judged_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    require_writable([Path(), Path("new/deeper")])
    (tmp_path / "file").write_text("")
    with pytest.raises(VsudaError, match="is no folder"):
        require_writable([Path("file/deeper")])


def test_a_file_on_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
        with pytest.raises(VsudaError, match="file: is no folder"):
            require_writable([tmp_path, folder])


def test_a_dangling_link_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(VsudaError, match="link: is no folder"):
        require_writable([tmp_path / "link" / "out"])


def test_permissions_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root passes every real check.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(VsudaError, match="cannot be written to"):
        require_writable([tmp_path / "out"])


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/null"), Path("/dev/stdout")):
        with pytest.raises(VsudaError, match="is a device or a pipe"):
            require_writable_files([path])
    (tmp_path / "a.csv").touch()
    require_writable_files([tmp_path / "a.csv", tmp_path / "b.csv"])
