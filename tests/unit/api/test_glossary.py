"""Links from labels to the glossary."""

import re

import pytest

from api.glossary import TERMS, build_link, link_terms

ADDRESS = "/learn/glossary#"


def link(page: str) -> list[tuple[str, str]]:
    """The terms that a page links, with what they are linked from."""
    return re.findall(r'<a class="term" href="/learn/glossary#(.*?)" title=".+?">(.*?)</a>', page)


@pytest.mark.parametrize("name", TERMS)
def test_each_term_is_recognized_by_its_title(name: str) -> None:
    title = re.sub(r" \(.*", "", TERMS[name].title)
    assert link(link_terms(f"<h2>On {title.lower()} here</h2>", ADDRESS)) == [(name, title.lower())]
    assert TERMS[name].short in TERMS[name].text


def test_only_the_first_label_links_a_term() -> None:
    heads = "<th scope='col'>Seed</th><th>Gap, points &amp; more</th>"
    page = f"<h1>Seeds</h1><p>A seed</p>{heads}<dt>Seeds and nats</dt>"
    linked = link_terms(page, ADDRESS)
    assert link(linked) == [("seed", "Seed"), ("gap", "Gap"), ("nats", "nats")]
    assert re.sub("</?a.*?>", "", linked) == page


def test_what_is_clicked_or_chosen_by_users_links_nothing() -> None:
    for page in (
        '<th><a href="/jobs">Seed</a></th>',
        "<h2><button>Seeds</button></h2>",
        '<th scope="row">gap</th>',
        "<h2>pseudoseed, cross-seed and gap-free</h2>",
        '<dt title="seed">x</dt>',
        "<thead><tr>seed</tr></thead>",
    ):
        assert link_terms(page, ADDRESS) == page


def test_links_in_prose_count_and_are_dropped_where_they_repeat() -> None:
    prose = f"<p>Some {build_link('nats', 'nats', ADDRESS)}.</p>"
    assert link_terms(f"{prose}<th>Loss, nats</th>", ADDRESS) == f"{prose}<th>Loss, nats</th>"
    assert link(link_terms(f"<th>Loss in Nats</th>{prose}", ADDRESS)) == [("nats", "Nats")]
