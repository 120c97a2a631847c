"""The report's formats, each against a reviewed file, and its sentences one by one.

After an intended change, `WRITE_GOLDEN=1` rewrites the files; review the difference.
"""

import csv
import io
import os
import re
from html import unescape
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len

from api.reports import csv_table, formatting, html, markdown
from api.reports.schemas import Comparison, Confounder, Missing
from models.states import JobState
from tests import comparisons

GOLDEN = Path(__file__).parent / "golden"
CASES = {
    "full": lambda: comparisons.full(("none", "dropout", "L1 *sparse*|<b>")),
    "one-seed": lambda: comparisons.full(("without Dropout", "with Dropout"), seeds=1),
    "empty": comparisons.empty,
    "axes": lambda: comparisons.along_axes(names=("none", "dropout")),
    "tuned": lambda: comparisons.tuned(("none", "L2")),
    "parts": lambda: comparisons.on_parts(names=("none", "dropout")),
}
FORMATS = {"md": markdown.render, "csv": csv_table.render, "html": html.render}


def without_drawings(page: str) -> str:
    """Replaces Matplotlib's drawings, whose details are not tested here; presence and names of charts are."""
    return re.sub(
        r"(<svg )[^>]*(role=.img. aria-label=.[^\"]*.).*?(</svg>)", r"\1\2>\3", page, flags=re.DOTALL
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", FORMATS)
def test_a_report_equals_its_golden_file(case: str, form: str) -> None:
    text = without_drawings(FORMATS[form](CASES[case]())).replace("\r\n", "\n")
    golden = GOLDEN / f"{case}.{form}"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([4], "4"), ([0, 1], "0-1"), ([9, 0, 1, 2, 5, 7, 8], "0-2, 5, 7-9")],
)
def test_many_seeds_are_written_as_ranges(numbers: list[int], text: str) -> None:
    assert formatting.format_ranges(numbers) == text


def test_a_seed_that_failed_on_one_of_its_parts_is_one_seed() -> None:
    variant = comparisons.full(seeds=3).variants[0].model_copy(update={"failed_seeds": [0, 3]})
    assert formatting.format_seed_count(variant) == "3 of 4"


def gone(state: JobState, seed: int, *, variant: str = "a", reason: str = "why") -> Missing:
    return Missing(job_id=f"job_{seed}", variant=variant, seed=seed, state=state, reason=reason)


def partial(*missing: Missing) -> Comparison:
    return comparisons.empty().model_copy(update={"missing": list(missing), "jobs": 8})


def test_the_progress_states_the_outcome_of_the_other_jobs() -> None:
    assert formatting.describe_progress(comparisons.full(seeds=2)) == "All 6 jobs have finished."
    cancelled = partial(*(gone(JobState.CANCELLED, seed) for seed in range(8)))
    assert formatting.describe_progress(cancelled) == (
        "0 of 8 jobs have a result; the others will not have one (8 cancelled)."
    )
    mixed = partial(gone(JobState.FAILED, 0), gone(JobState.RUNNING, 1), gone(JobState.RUNNING, 2))
    assert (
        formatting.describe_progress(mixed)
        == "Partial: 0 of 8 jobs have finished. Of the others: 1 failed, 2 running, 5 deleted."
    )


def test_f5_the_progress_counts_deleted_jobs() -> None:
    assert formatting.describe_progress(partial()) == (
        "0 of 8 jobs have a result; the others will not have one (8 deleted)."
    )


def test_results_missing_for_the_same_reason_share_a_line() -> None:
    jobs = [gone(JobState.CANCELLED, seed, reason="cancelled") for seed in range(10)]
    jobs += [gone(JobState.FAILED, 3, variant="b", reason="the loss is NaN")]
    # Of two parts each.
    jobs += [gone(JobState.CANCELLED, seed, variant="c", reason="cancelled") for seed in (4, 4, 5, 5)]
    assert formatting.describe_missing(partial(*jobs)) == [
        "a, seeds 0-9: cancelled",
        "b, seed 3: failed (the loss is NaN), job job_3",
        "c, seeds 4-5: cancelled",
    ]


def test_confounders_are_listed() -> None:
    comparison = comparisons.full()
    changes = [
        Confounder(field="/training/epochs", baseline=5, variant=10),
        Confounder(field="/training/schedule", baseline=None, variant={"name": "cosine"}),
        Confounder(field="/dataset/train_samples", baseline=None, variant=500),
    ]
    other = comparison.variants[1].model_copy(update={"confounders": changes})
    changed = comparison.model_copy(update={"variants": [comparison.variants[0], other]})
    assert formatting.describe_confounders(changed) == [
        "dropout differs from the baseline in /training/epochs: 10 instead of 5.",
        'dropout differs from the baseline in /training/schedule: {"name": "cosine"} instead of nothing.',
        "dropout differs from the baseline in /dataset/train_samples: 500 instead of all.",
    ]
    assert "dropout differs from the baseline in /training/epochs" in markdown.render(changed)
    assert "dropout differs from the baseline in /training/epochs" in html.render(changed)


def test_pointers_link_to_the_row_with_their_numbers() -> None:
    comparison = comparisons.full()
    sources = formatting.find_sources(
        comparison,
        [
            "/variants/1/metrics/test_loss",
            "/variants/1/metrics/training_seconds",
            "/variants/1/metrics/parameters",
            "/contrasts/0/differences/test_accuracy_points",
            "/somewhere/else",
        ],
    )
    assert sources == [
        formatting.Source("variant-1", "dropout: test loss, training seconds"),
        formatting.Source("network-1", "dropout: parameters"),
        formatting.Source("contrast-0", "dropout against none: test accuracy"),
    ]
    page = html.render(comparison)
    assert all(f'id="{source.anchor}"' in page for source in sources)


def test_a_file_links_terms_to_a_glossary_of_its_own() -> None:
    page = html.render(comparisons.full())
    terms = re.findall(r'<a class="term" href="#(.*?)"', page)
    assert len(terms) == len(set(terms))
    assert {"term-gap", "term-interval", "term-pair"} <= set(terms)
    assert all(page.count(f'id="{term}"') == 1 for term in terms)


def test_equivalence_is_stated_where_it_could_be_tested() -> None:
    rows = formatting.build_contrast_rows(comparisons.full())
    column = rows[0].index("equal within 0.2 points")
    assert [row[column] for row in rows[1:]] == ["yes", "not shown"]
    alone = formatting.build_contrast_rows(comparisons.full(seeds=1))
    assert alone[1][alone[0].index("practically equal")] == "-"


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("*bold* _it_ `code` ~no~", r"\*bold\* \_it\_ \`code\` \~no\~"),
        ("weight_decay and l2_", r"weight_decay and l2\_"),
        ("[a](http://x) &lt; a & b", r"\[a]\(<http://x>) \&lt; a & b"),
        (r"back\slash \* end\\"[:-1], r"back\slash \\\* end\\"),
        ("<b>x</b> 1 < 2", "&lt;b>x&lt;/b> 1 < 2"),
        ("# no heading", r"\# no heading"),
        ("1. no list", r"1\. no list"),
        ("- no list\nin one line", r"\- no list in one line"),
        ("+0.29 points", r"\+0.29 points"),
    ],
)
def test_markdown_shows_a_name_verbatim(name: str, escaped: str) -> None:
    missing = [gone(JobState.CANCELLED, 0, variant=name, reason="cancelled")]
    text = markdown.render(partial(*missing))
    assert f"\n- {escaped}, seed 0: cancelled, job job_0\n" in text


@pytest.mark.parametrize(
    ("name", "link"),
    [
        (
            "see https://www.cs.toronto.edu/~rs/papers/a_b.pdf",
            "https://www.cs.toronto.edu/~rs/papers/a_b.pdf",
        ),
        ("https://x.y/_a_, then", "https://x.y/_a_"),
        ("HTTP://X.Y/*", "HTTP://X.Y/*"),
    ],
)
def test_f15_an_address_is_a_link_to_itself(name: str, link: str) -> None:
    tokens = MarkdownIt().parseInline(markdown._escape_text(name))[0].children or []
    assert [token.attrs["href"] for token in tokens if token.type == "link_open"] == [link]
    assert "".join(token.content for token in tokens) == name


@pytest.mark.parametrize(
    "name", ["Lab C #", "net ##", "#", "C# and F#", "$x$ for $2", "www.x.y/~a_b_", "a # b"]
)
def test_f15_a_heading_keeps_its_last_characters(name: str) -> None:
    heading, inline, _ = MarkdownIt().parse(f"# {markdown._escape_text(name)}")
    assert (heading.tag, "".join(token.content for token in inline.children or [])) == ("h1", name)


def test_f15_a_column_without_values_is_still_a_table() -> None:
    table = markdown._render_table([["a", "b"], ["x", "-"], ["名前", "1"]])
    assert table.splitlines() == ["| a    |  b |", "| ---- | -: |", "| x    |  - |", "| 名前 |  1 |"]
    assert MarkdownIt().enable("table").parse(table)[0].type == "table_open"


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_f25_no_cell_of_the_table_begins_as_a_formula(first: str) -> None:
    missing = [gone(JobState.CANCELLED, 0, variant=f"{first}1+1", reason="cancelled")]
    rows = list(csv.DictReader(io.StringIO(csv_table.render(partial(*missing)), newline="")))
    assert rows[-1]["variant"] == f"'{first}1+1"


def test_numbers_in_tables_carry_no_backslash() -> None:
    tables = [line for line in markdown.render(comparisons.full()).splitlines() if line.startswith("|")]
    assert tables
    assert not [line for line in tables if "\\" in line]


def test_the_table_of_jobs_says_which_were_reused() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table.render(comparisons.full(seeds=4)))))
    assert [row["reused"] for row in rows if row["variant"] == "none"] == ["True", "True", "True", "False"]
    assert {row["reused"] for row in rows if row["variant"] != "none"} == {"False"}
    assert {row["reused"] for row in csv.DictReader(io.StringIO(csv_table.render(comparisons.empty())))} == {
        ""
    }


def test_f24_a_report_of_one_job_is_in_the_singular() -> None:
    complete = comparisons.full(seeds=1).model_copy(update={"jobs": 1, "finished": 1})
    assert formatting.describe_progress(complete) == "The only job has finished."
    queued = partial(gone(JobState.QUEUED, 0)).model_copy(update={"jobs": 1})
    assert formatting.describe_progress(queued) == "The only job is queued."
    failed = partial(gone(JobState.FAILED, 0)).model_copy(update={"jobs": 1})
    assert formatting.describe_progress(failed) == (
        "0 of 1 job has a result; it will not have one (1 failed)."
    )


@pytest.mark.parametrize(
    "name",
    ["\n=1+1", "=1+1", "+1", "-1", "@a", "\t1", "\r1", "\n1", " =1+1", "\u00a0@a", "\uff1d1+1", "\n\uff0b1"],
)
def test_f25_csv_escapes_what_a_spreadsheet_would_run(name: str) -> None:
    missing = [gone(JobState.FAILED, 0, variant=name)]
    (row,) = csv.DictReader(io.StringIO(csv_table.render(partial(*missing)), newline=""))
    assert row["variant"] == f"'{name}"


@pytest.mark.parametrize("name", ["", "a=1", "l2 +1", "none", " plain", "1-2"])
def test_f25_csv_leaves_other_names_as_they_are(name: str) -> None:
    missing = [gone(JobState.FAILED, 0, variant=name)]
    (row,) = csv.DictReader(io.StringIO(csv_table.render(partial(*missing)), newline=""))
    assert row["variant"] == name


MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def render_markdown_names(name: str) -> tuple[list[str], str]:
    """A name as a heading, a list's item and a table's cell of a rendered report, and the report's HTML."""
    comparison = comparisons.full((name, "other")).model_copy(update={"title": name, "baseline": name})
    page = MARKDOWN.render(markdown.render(comparison))
    patterns = r"<h1>(.*?)</h1>", r"<h2>Differences from (.*?)</h2>", r"<td[^>]*>(.*) \(baseline\)</td>"
    texts = [text for pattern in patterns for text in re.findall(pattern, page)]
    return [read_text(text).replace("\u200b", "") for text in texts], page


def read_text(page: str) -> str:
    """What a browser shows of a page."""
    return unescape(re.sub(r"<[^>]*>", "", page))


@pytest.mark.parametrize(
    "name",
    [
        "Lab C #",
        "net #",
        "#",
        "C##",
        "Lab ##",
        r"Lab \#",
        "after https://www.cs.toronto.edu/~rsalakhu/papers/srivastava14a.pdf",
        "https://x.y/_a_",
        "(https://x.y/*a*|b), and www.x.y/~b",
        "$x$ and $5",
        "@user",
        "#1",
        "x#12 GH-3 user/repo#4",
        ":tada: a:b:c 12:30:45",
        "名前 と #",
        "&#35; &amp;",
        "~no~ **x** `c` <b>",
    ],
)
def test_f15_c12_markdown_shows_names_in_headings_lists_and_tables_as_they_are(name: str) -> None:
    rendered, page = render_markdown_names(name)
    assert rendered == [name] * 3
    assert "%5C" not in page
    # GitHub would make these a mention, an issue, an emoji, a formula.
    assert re.findall(r"(?<!\w)@\w|#\d|GH-\d|:[a-z]\w*:", read_text(page)) == []


def test_f15_addresses_link_to_themselves() -> None:
    address = "https://www.cs.toronto.edu/~rsalakhu/papers/srivastava14a.pdf"
    assert f'<a href="{address}">{address}</a>' in render_markdown_names(f"after {address}.")[1]


def test_f15_a_column_of_unknowns_has_a_delimiter_that_github_reads() -> None:
    text = markdown.render(comparisons.full(seeds=1))
    delimiters = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| --")]
    assert delimiters
    assert all(re.fullmatch(r" -+[-:] ", cell) for line in delimiters for cell in line)


def test_f15_tables_with_wide_letters_are_aligned_in_a_terminal() -> None:
    text = markdown.render(comparisons.full(("名前", "e\u0301", "plain", "\uff57\uff49de")))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({cell_len(line) for line in table.splitlines()}) == 1, table
