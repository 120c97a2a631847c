"""Memorization of training images, against cases by hand and by enumeration."""

from itertools import combinations

import numpy as np
import pytest

from models.memorization import (
    FALSE_SHARE,
    ModelAnswers,
    build_map,
    compute_difference_interval,
    compute_interval,
    compute_mean,
    compute_replicates,
)


def draw_answers(
    models: int, images: int, *, right: float = 0.9, memorized: int = 0, seed: int = 0
) -> ModelAnswers:
    """Models that saw about half of the images; the first `memorized` are right only where they were seen."""
    random = np.random.default_rng(seed)
    seen = random.random((models, images)) < 0.5
    correct = random.random((models, images)) < right
    correct[:, :memorized] = seen[:, :memorized]
    return ModelAnswers(seen, correct, list(range(models)))


def test_a_map_by_hand() -> None:
    # Eight models; image 0 is right where it was seen, 1 always, 2 in 3 of 4 and 1 of 4; 3 was seen by three.
    seen = np.array([[1, 1, 1, 1]] * 3 + [[1, 1, 1, 0]] + [[0, 0, 0, 0]] * 4, bool)
    correct = np.array([[1, 1, 1, 1]] * 3 + [[1, 1, 0, 1]] + [[0, 1, 1, 0]] + [[0, 1, 0, 0]] * 3, bool)
    answers = ModelAnswers(seen, correct, list(range(8)))
    result = build_map(answers)
    assert result.images.tolist() == [0, 1, 2]
    assert result.estimates.tolist() == [1, 0, 0.5]
    assert (result.models_in.tolist(), result.models_out.tolist()) == ([4] * 3, [4] * 3)
    # Of 70 ways to choose four of eight models, one has all four right answers, and 1 + 16 three or more.
    assert result.chances == pytest.approx([1 / 70, 1, 17 / 70])
    # Image 0 and 2 both have four right answers: one in 70 has an estimate of 1, sixteen have 0.5.
    assert result.expected_above_threshold == pytest.approx(2 * 17 / 70)
    assert result.is_above_threshold.tolist() == [True, False, True]
    counts = dict(zip(np.arange(-10, 10).tolist(), result.histogram.tolist(), strict=True))
    assert {tenth: n for tenth, n in counts.items() if n} == {9: 1, 0: 1, 5: 1}
    expected = dict(zip(np.arange(-10, 10).tolist(), result.expected_histogram.tolist(), strict=True))
    assert (expected[9], expected[5]) == pytest.approx((2 / 70, 2 * 16 / 70))
    # The middle of three: image 1 always, the others in 36 of 70 ways.
    assert expected[0] == pytest.approx(1 + 2 * 36 / 70)
    # 1/70 for image 0, and as much for image 2, are 0.029 images by chance: not more than 5 % of one.
    assert result.memorized.tolist() == [True, False, False]
    assert compute_mean(answers, result.images) == 0.5


def test_chances_are_those_of_enumerating_who_saw_the_image() -> None:
    answers = draw_answers(10, 40, right=0.6, seed=3)
    result = build_map(answers)
    assert len(result.images) > 20
    for position, image in enumerate(result.images):
        right, saw = answers.correct[:, image], int(answers.seen[:, image].sum())
        estimates = [
            right[list(chosen)].mean() - np.delete(right, chosen).mean()
            for chosen in combinations(range(10), saw)
        ]
        share = np.mean(np.array(estimates) >= result.estimates[position] - 1e-12)
        assert result.chances[position] == pytest.approx(share)


def test_what_is_memorized_is_called_and_hardly_anything_else() -> None:
    result = build_map(draw_answers(24, 2000, memorized=40))
    called = result.images[result.memorized]
    assert {*range(40)} <= {*called.tolist()}
    assert len(called) - 40 <= 3 * FALSE_SHARE * len(called)
    assert result.estimates[:40].tolist() == [1.0] * 40


@pytest.mark.parametrize("models", [8, 10, 24])
def test_where_seeing_an_image_has_no_effect_the_map_is_what_chance_says(models: int) -> None:
    called, above, expected = [], [], []
    for seed in range(40):
        result = build_map(draw_answers(models, 1000, right=0.8, seed=seed))
        called.append(result.memorized.sum())
        above.append(result.is_above_threshold.sum())
        expected.append(result.expected_above_threshold)
        assert result.histogram.sum() == pytest.approx(result.expected_histogram.sum())
    # In about one of twenty maps something is called.
    assert np.mean(np.array(called) > 0) <= 0.15
    assert np.mean(above) == pytest.approx(np.mean(expected), rel=0.03)
    # Far from nothing: what a list of the largest estimates would show.
    assert np.mean(above) > 20


def test_few_models_on_a_side_make_no_map() -> None:
    answers = draw_answers(7, 100)
    assert len(answers.find_images()) == 0
    empty = build_map(answers)
    assert (len(empty.estimates), empty.histogram.sum(), empty.expected_above_threshold) == (0, 0, 0)


def test_training_sets_are_counted() -> None:
    answers = draw_answers(6, 50)
    assert answers.count_training_sets() == 6
    twice = ModelAnswers(np.repeat(answers.seen, 2, axis=0), np.repeat(answers.correct, 2, axis=0), [0] * 12)
    assert twice.count_training_sets() == 6


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # His table II, method 10: 56/70 - 48/80, and 10/10 - 0/10.
    assert compute_difference_interval((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert compute_difference_interval((10, 10), (0, 10)) == pytest.approx((0.6075, 1.0), abs=5e-5)


def test_the_interval_of_the_mean_estimate_covers_what_seeds_scatter() -> None:
    # Models differ in how many images they get right, seen or not: an effect of 0.1 on each image on average.
    covered = []
    for repetition in range(200):
        random = np.random.default_rng(repetition)
        seen = random.random((12, 300)) < 0.6
        level = random.normal(0.7, 0.05, (12, 1)) + random.normal(0.1, 0.03, (12, 1)) * seen
        answers = ModelAnswers(seen, random.random((12, 300)) < level, list(range(12)))
        images = answers.find_images()
        value, replicates = compute_mean(answers, images), compute_replicates(answers, images)
        low, high = compute_interval(replicates)
        assert low is not None
        assert high is not None
        assert np.mean(replicates) == pytest.approx(value, abs=0.01)
        covered.append(low <= 0.1 <= high)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_models_of_one_seed_are_left_out_together() -> None:
    answers = draw_answers(12, 60, right=0.7)
    by_two = ModelAnswers(answers.seen, answers.correct, [number // 2 for number in range(12)])
    images = by_two.find_images()
    replicates = compute_replicates(by_two, images)
    assert len(replicates) == 6
    without = ModelAnswers(answers.seen[2:], answers.correct[2:], [])
    assert replicates[0] == pytest.approx(
        6 * compute_mean(by_two, images) - 5 * compute_mean(without, images)
    )
    assert compute_replicates(ModelAnswers(answers.seen, answers.correct, [0] * 12), images) == []
