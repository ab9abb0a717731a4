"""Errors name place, problem and remedy, on one line, and cross process borders."""

import copy
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from vsuda_cli.errors import InterruptedRunError, VsudaError, counted, printable


def test_message_names_where_what_and_remedy() -> None:
    error = VsudaError("scan.nii.gz", "is truncated", "copy it again")
    assert str(error) == "scan.nii.gz: is truncated; copy it again"


def test_error_survives_the_way_back_from_a_worker() -> None:
    error = VsudaError("a\nb", "is wrong", "fix it")
    # Pickling and copying ask the same __reduce__; tests of the batch runner send real ones.
    back = copy.deepcopy(error)
    assert type(back) is VsudaError
    assert (back.where, back.problem, back.remedy) == ("a\\nb", "is wrong", "fix it")
    assert str(back) == str(error)


def test_interruption_is_no_user_error() -> None:
    # It ends with 130, not 2: whoever catches the one must not catch the other.
    assert not issubclass(InterruptedRunError, VsudaError)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text())
def test_printable_is_one_printable_line(name: str) -> None:
    shown = printable(name)
    assert len(shown.splitlines() or [""]) == 1
    assert all(c.isprintable() or unicodedata.category(c) == "Zs" for c in shown)
    assert shown == name or not name.isprintable()


def test_printable_keeps_what_can_be_read() -> None:
    assert printable("Münze $(x) <script>") == "Münze $(x) <script>"
    # Spaces that other scripts and word processors write.
    assert printable("a\u3000b\u00a0c\u2028d") == "a\u3000b\u00a0c\\u2028d"
    assert printable("a\nb\x1b[31m") == "a\\nb\\x1b[31m"


def test_one_thing_and_several() -> None:
    assert [counted(number, "case") for number in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
