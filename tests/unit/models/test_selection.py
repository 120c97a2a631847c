"""What is chosen by validation images, and where nothing can be."""

from typing import Any

import pytest

from models.selection import VariantMeans, choose_variant, compute_chance_loss, is_at_chance


def document(seeds: int = 3, **changes: Any) -> dict[str, Any]:
    return {
        "base": {"dataset": {"name": "mnist_5k", "train_samples": None}},
        "variants": [{"name": name, "changes": changes.get(name, {})} for name in "abc"],
        "seeds": list(range(seeds)),
    }


def means(**losses: float | None) -> list[VariantMeans]:
    """Three finished seeds each; test accuracy prefers the other end."""
    return [VariantMeans(name, 3, loss, loss or 0.0) for name, loss in losses.items()]


def test_the_lowest_validation_loss_is_chosen_whatever_the_test_images_say() -> None:
    best = choose_variant(document(), means(a=0.3, b=0.1, c=0.2), "a")
    assert isinstance(best, VariantMeans)
    assert (best.variant, best.validation_loss) == ("b", 0.1)


def test_only_variants_on_the_baselines_data_compete() -> None:
    other = document(b={"dataset": {"train_samples": 300}})
    best = choose_variant(other, means(a=0.3, b=0.1, c=0.2), "a")
    assert isinstance(best, VariantMeans)
    assert best.variant == "c"


def test_a_variant_without_a_result_for_every_seed_does_not_compete() -> None:
    lucky = VariantMeans("b", 2, 0.1, 0.9)
    best = choose_variant(document(), [*means(a=0.3, c=0.2), lucky], "a")
    assert isinstance(best, VariantMeans)
    assert best.variant == "c"


@pytest.mark.parametrize(
    ("given", "seeds", "reason"),
    [
        (means(a=None, b=None), 3, "No images were held out for validation"),
        (means(a=0.2, b=None), 3, "Only one variant can be chosen"),
        (means(a=2.4, b=2.31), 3, "better on validation images than chance"),
        (means(a=0.2, b=0.1), 4, "No variant has a result for every seed"),
        (means(a=0.2, b=0.1), 1, "ran with one seed"),
        ([], 3, "No variant has a result"),
    ],
)
def test_where_nothing_can_be_chosen_the_reason_is_given(
    given: list[VariantMeans], seeds: int, reason: str
) -> None:
    answer = choose_variant(document(seeds), given, "a")
    assert isinstance(answer, str)
    assert reason in answer


def test_chance_depends_on_the_number_of_classes() -> None:
    assert compute_chance_loss(10) == pytest.approx(2.302585)
    assert compute_chance_loss(2) < compute_chance_loss(62)


def test_guessing_a_class_is_chance_and_more_than_its_scatter_is_not() -> None:
    assert is_at_chance(0.1, 10, 1000)
    assert is_at_chance(0.128, 10, 1000)
    assert not is_at_chance(0.13, 10, 1000)
    assert not is_at_chance(0.128, 10, 10_000)
