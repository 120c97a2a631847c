"""The terms of pages and reports, what they mean, and links from where a page first names one."""

import re
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Term:
    """A term of the glossary."""

    title: str
    pattern: str
    """What a page calls it: a regular expression, in any case, of whole words."""
    text: str

    @property
    def short(self) -> str:
        """The first sentence of the text."""
        return self.text.partition(". ")[0].removesuffix(".") + "."


TERMS = {
    "baseline": Term(
        "Baseline",
        r"baselines?",
        "The variant that the others are compared with, mostly the network without regularization.",
    ),
    "bias": Term(
        "Bias",
        r"bias",
        "The part of the expected loss that remains if the predictions of models trained on "
        "different training sets are averaged: what the network and its training cannot express, "
        "whatever examples they get. For cross-entropy the average is the normalized geometric "
        "mean of the probabilities.",
    ),
    "ece": Term(
        "Calibration error (ECE)",
        r"calibration errors?|ECE",
        "How far confidence and accuracy are apart: test images are sorted by confidence into 15 "
        "bins of equally many, and the distances between each bin's mean confidence and its share"
        " of right answers are averaged. By chance it is above zero also for a perfect model; the"
        " debiased squared error has that taken away (Kumar et al. 2019).",
    ),
    "confounder": Term(
        "Confounder",
        r"confound(?:ers?|ed)",
        "A setting other than regularization in which a variant differs from the baseline. A "
        "difference may then be due to either, and is not credited to a technique.",
    ),
    "cross-entropy": Term(
        "Cross-entropy",
        r"cross-entropy",
        "The loss here: minus the natural logarithm of the probability that a model gives to the "
        "right class, averaged over images, always without penalties.",
    ),
    "epoch": Term(
        "Epoch",
        r"epochs?",
        "One pass over the training examples.",
    ),
    "equivalence": Term(
        "Equivalence zone",
        r"equivalence zone|equivalence|equivalent|practically equal",
        "Differences too small to matter, for accuracy 0.2 points unless the experiment says "
        "otherwise. A variant is called equivalent if two one-sided tests (TOST) place its "
        "difference inside the zone. Not to find a difference is not equivalence.",
    ),
    "gap": Term(
        "Gap",
        r"generalization gap|gaps?",
        "Generalization gap: test loss minus training loss, and training accuracy minus test "
        "accuracy, both measured with the same finished weights and with nothing dropped.",
    ),
    "holm": Term(
        "Holm correction",
        r"Holm(?: correction|-corrected)?",
        "A stepwise correction of p values (Holm 1979): of all tests in the family, the chance "
        "that even one calls a difference where there is none stays at the level. Reports here "
        "use the maximum of all t statistics over sign flips of whole seeds where they can, which"
        " serves the same end, and Holm for equivalence.",
    ),
    "interval": Term(
        "Interval",
        r"(?:confidence )?intervals?",
        "A 95 % confidence interval: in 95 of 100 repetitions of the whole experiment an interval"
        " made this way contains the true value. It does not say how probable the true value is "
        "to lie in this one.",
    ),
    "nats": Term(
        "Nats",
        r"nats",
        "The unit of the loss, as its logarithm is natural. A model that gives each of ten "
        "classes the same probability has a loss of 2.303 nats.",
    ),
    "overfitting": Term(
        "Overfitting",
        r"overfitting|overfits?",
        "A model fits its training examples better than new ones, and further training or more "
        "freedom makes the new ones worse: training loss falls while validation loss rises.",
    ),
    "pair": Term(
        "Pair",
        r"pairs?",
        "Two runs of equal seed, one of a variant and one of the baseline. They start from the "
        "same weights and see the same examples in the same order, so that their difference has "
        "less scatter than either.",
    ),
    "seed": Term(
        "Seed",
        r"seeds?",
        "The number from which initial weights, the order of examples and what is dropped are "
        "drawn, and unless switched off also split and subset. The same seed gives the same "
        "model.",
    ),
    "underfitting": Term(
        "Underfitting",
        r"underfitting|underfits?",
        "A model fits neither its training examples nor new ones well: too small, trained too "
        "briefly, or regularized too strongly.",
    ),
    "validation": Term(
        "Validation examples",
        r"validation examples|validation",
        "Training examples that are held out. Choices are made by them: a variant, a strength, "
        "when to stop. The test images only judge what was chosen.",
    ),
    "variance": Term(
        "Variance",
        r"variance",
        "How much predictions change with the training set: the part of the expected loss that "
        "vanishes if the predictions of models trained on different training sets are averaged.",
    ),
}
"""By the anchor of each on the page of the glossary."""


def build_link(name: str, text: str, address: str) -> Markup:
    """A link to a term at `address` followed by its name; hovering shows the first sentence."""
    return Markup('<a class="term" href="{}{}" title="{}">{}</a>').format(
        address, name, TERMS[name].short, text
    )


def link_terms(page: str, address: str) -> str:
    """An HTML page in which the first label that names a term links to it.

    Labels are headings, the heads of columns, terms of a list and captions; not what a user clicks. In prose
    templates write the links themselves, of which only the first on the page remains, too.

    Args:
        page: the page, whose labels do not contain each other.
        address: what a term's name is appended to: `/learn/glossary#`.
    """
    linked: set[str] = set()

    def link_first(match: re.Match[str]) -> str:
        name = next(name for name, text in zip(TERMS, match.groups(), strict=True) if text)
        if name in linked:
            return match[0]
        linked.add(name)
        return build_link(name, Markup(match[0]), address)  # noqa: S704 (of a page, which has escaped it)

    def link_label(match: re.Match[str]) -> str:
        if match["term"]:
            is_first = match["term"] not in linked
            linked.add(match["term"])
            return match[0] if is_first else match["text"]
        if _CLICKED.search(match["content"]):
            return match[0]
        parts = _TAG.split(match["content"])
        parts[::2] = [_NAMED.sub(link_first, part) for part in parts[::2]]
        return "<" + match["opening"] + "".join(parts) + match["closing"]

    return _LABEL.sub(link_label, page)


_LABEL = re.compile(
    # Both begin with the same character, to which a search skips.
    r'<(?:a class="term" href="[^"]*#(?:term-)?(?P<term>[\w-]+)"[^>]*>(?P<text>[^<]*)</a>'
    # A row's head is often a name that a user chose.
    r'|(?P<opening>(?P<tag>h[23]|th|dt|caption|legend|figcaption)\b(?![^>]*scope="row")[^>]*>)'
    r"(?P<content>.*?)(?P<closing></(?P=tag)>))",
    re.DOTALL,
)
_CLICKED = re.compile("<(?:a|button|input|label|select|summary|svg|math|time)\\b")
_TAG = re.compile("(<[^>]*>)")
_NAMED = re.compile(
    rf"\b(?<!-)(?:{'|'.join(f'({term.pattern})' for term in TERMS.values())})\b(?!-)", re.IGNORECASE
)
