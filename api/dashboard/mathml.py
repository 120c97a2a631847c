"""Formulas of the catalogue as MathML, which browsers draw without a library.

A formula is written once, as text that terminals show: `w <- w * min(1, limit / norm(w))`. Here it is parsed:
`_` begins an index, `^` a power, `/` a fraction, `sum_k` a sum; a word that is no symbol is a word.
"""

import re
import unicodedata
from functools import cache

from markupsafe import Markup, escape

_NAME = r"[A-Za-z]+'?(?:_[A-Za-z]+)+|[A-Za-z]+"
_TOKEN = re.compile(rf"\s*('s\b|<-|<=|>=|->|\d+(?:\.\d+)?|{_NAME}|.)")
_SYMBOLS = {
    "<-": "\N{LEFTWARDS ARROW}",
    "<=": "\N{LESS-THAN OR EQUAL TO}",
    ">=": "\N{GREATER-THAN OR EQUAL TO}",
    "*": "\N{MIDDLE DOT}",
    "-": "\N{MINUS SIGN}",
    "~": "\N{TILDE OPERATOR}",
    "'": "\N{PRIME}",
    "sum": "\N{N-ARY SUMMATION}",
}
_GREEK = {
    name: unicodedata.lookup(f"GREEK SMALL LETTER {name.upper()}")
    for name in ("alpha", "beta", "gamma", "sigma", "pi")
}
_FUNCTIONS = {"log", "min", "max", "sign", "argmin", "cos", "floor", "Beta", "Normal", "Bernoulli"}
_CLOSING = {"(": ")", "[": "]"}
_BARS = {"abs": "|", "norm": "\N{DOUBLE VERTICAL LINE}"}


@cache
def render_formula(text: str) -> Markup:
    """A formula as a `math` element in a box that scrolls sideways on narrow pages."""
    tokens = [match[1] for match in _TOKEN.finditer(text.replace("`", ""))]
    box = '<div class="formula" role="group" aria-label="Formula" tabindex="0">'
    formula = _Parser(tokens).parse_row(())
    return Markup(f'{box}<math display="inline">{formula}</math></div>')  # noqa: S704 (tokens are escaped)


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens

    def parse_row(self, ends: tuple[str, ...]) -> str:
        """What comes before one of `ends`, which stays."""
        items: list[str] = []
        while self._tokens and self._tokens[0] not in ends:
            if self._tokens[0] == "/" and items:
                self._tokens.pop(0)
                above, below = map(_remove_brackets, (items.pop(), self._parse_factor()))
                items.append(f"<mfrac>{above}{below}</mfrac>")
            else:
                items.append(self._parse_factor())
        return f"<mrow>{''.join(items)}</mrow>"

    def _parse_factor(self) -> str:
        """One symbol, number, word or group, with its power."""
        base = self._parse_symbol(self._tokens.pop(0))
        if self._tokens[:1] == ["^"]:
            self._tokens.pop(0)
            base = f"<msup>{base}{self._parse_symbol(self._tokens.pop(0))}</msup>"
        return base

    def _parse_symbol(self, symbol: str) -> str:
        is_called = self._tokens[:1] == ["("]
        if symbol in _CLOSING:
            return self._parse_group(symbol, symbol, _CLOSING[symbol])
        if is_called and symbol in _BARS:
            return self._parse_group(self._tokens.pop(0), _BARS[symbol], _BARS[symbol])
        if is_called and symbol == "sqrt":
            return f"<msqrt>{self._parse_group(self._tokens.pop(0), '', '')}</msqrt>"
        if symbol[0].isalpha():
            name = _render_name(symbol)
            if is_called and (symbol in _FUNCTIONS or symbol in ("sum", "H")):
                name = f"<mrow>{name}{self._parse_symbol(self._tokens.pop(0))}</mrow>"
            return name
        tag = "mn" if symbol[0].isdigit() else "mtext" if symbol == "'s" else "mo"
        return f"<{tag}>{escape(_SYMBOLS.get(symbol, symbol))}</{tag}>"

    def _parse_group(self, opening: str, left: str, right: str) -> str:
        content = self.parse_row((_CLOSING[opening],))
        self._tokens[:1] = []
        return f"<mrow><mo>{left}</mo>{content}<mo>{right}</mo></mrow>" if left else content


def _remove_brackets(group: str) -> str:
    """A factor without brackets around it: a fraction's line stands for them."""
    opening, closing = "<mrow><mo>(</mo>", "<mo>)</mo></mrow>"
    inner = group.removeprefix(opening).removesuffix(closing)
    return f"<mrow>{inner}</mrow>" if len(group) - len(inner) == len(opening + closing) else group


def _render_name(token: str) -> str:
    """A name with its index: `sum_k`, `w_p`, `mean_batch`; `learning_rate` and the like are words."""
    head, _, index = token.partition("_")
    name = head.rstrip("'")
    if index and (len(name) == 1 or head in ("sum", "mean", "variance")):
        prime = f"<mo>{_SYMBOLS[head[-1]]}</mo>" if head.endswith("'") else ""
        return f"<msub><mrow>{_render_name(name)}{prime}</mrow>{_render_name(index)}</msub>"
    if token in _SYMBOLS:
        return f"<mo>{_SYMBOLS[token]}</mo>"
    if len(token) == 1 or token in _GREEK:
        return f"<mi>{_GREEK.get(token, token)}</mi>"
    if token in _FUNCTIONS:
        return f'<mi mathvariant="normal">{token}</mi>'
    return f"<mtext>{token.replace('_', ' ')}</mtext>"
