"""Digests follow what the data is, not where it lies."""

import os
from pathlib import Path

import pytest

from vsuda_cli.io.fingerprint import fingerprint


def test_a_name_that_is_not_utf_8_counts(tmp_path: Path) -> None:
    paths = [tmp_path / os.fsdecode(name) for name in (b"caf\xe9", b"caf\xe8")]
    for path in paths:
        try:
            path.write_text("1")
        except OSError:
            pytest.skip("this file system takes UTF-8 alone")
    assert fingerprint(paths[:1]) != fingerprint(paths[1:])


def test_the_fingerprint_follows_names_contents_and_order(tmp_path: Path) -> None:
    for folder, name, text in (("x", "a", "1"), ("y", "a", "1"), ("x", "b", "1"), ("y", "b", "2")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    xa, ya, xb, yb = (tmp_path / p for p in ("x/a", "y/a", "x/b", "y/b"))
    assert fingerprint([xa]) == fingerprint([ya])  # a moved folder holds the same data
    different = [fingerprint(f) for f in ([], [xa], [xb], [yb], [xa, xb], [xb, xa])]
    assert len(set(different)) == len(different)
