"""How the values of a specification's fields are written for people."""

from typing import Any

import pytest

from models.formatting import format_techniques
from models.run_key import format_tuned_value

FACTOR = "/regularization/l2/factor"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00000100241, "1e-06"),
        (0.0000123456, "1.23e-05"),
        (0.000123456, "0.000123"),
        (0.1, "0.1"),
        (0.0, "0"),
        (0.99951, "0.99951"),
        (12.3456, "12.3"),
        (1234, "1,234"),
        (1234.0, "1,234"),
        ("adam", "adam"),
        ([512, 64], "512-64"),
        (True, "true"),
        (None, "none"),
    ],
)
def test_a_tuned_value_has_three_significant_digits_at_most(value: Any, text: str) -> None:
    assert format_tuned_value(FACTOR, value) == text


@pytest.mark.parametrize("value", [1e-06, 0.0001, 0.05])
def test_a_tuned_value_is_written_as_in_a_variants_name(value: float) -> None:
    assert format_techniques({"l2": {"factor": value}}) == f"L2 {format_tuned_value(FACTOR, value)}"
