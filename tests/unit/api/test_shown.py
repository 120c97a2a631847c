from api import shown
from api.shown import Shown


def test_an_answer_is_kept_for_its_tag_only() -> None:
    kept = Shown()
    kept.keep("a", "1", b"first")
    assert kept.get("a", "1") == b"first"
    assert kept.get("a", "2") is None
    assert kept.get("b", "1") is None
    kept.keep("a", "2", b"second")
    assert (kept.get("a", "1"), kept.get("a", "2")) == (None, b"second")


def test_what_was_not_asked_for_longest_goes_first() -> None:
    kept = Shown()
    for number in range(shown._MOST):
        kept.keep(str(number), "", b"")
    assert kept.get("0", "") == b""
    kept.keep("new", "", b"")
    assert kept.get("0", "") == b""
    assert kept.get("1", "") is None
