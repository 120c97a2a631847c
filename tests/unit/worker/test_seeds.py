import numpy as np

from worker.seeds import derive_seed, shuffle_examples


def test_roles_and_jobs_have_their_own_seeds() -> None:
    roles = {
        derive_seed(seed, role) for seed in range(100) for role in ("hidden_1/kernel", "hidden_2/kernel")
    }
    assert len(roles) == 200
    assert all(0 <= seed < 2**31 for seed in roles)


def test_a_seed_is_the_same_in_every_process() -> None:
    # Written down once: a change of these numbers would change the weights of every job ever run.
    assert derive_seed(0, "hidden_1/kernel") == 713550400
    assert derive_seed(7, "logits/kernel") == 2009420525


def test_each_epoch_visits_every_example_once_in_its_own_order() -> None:
    first, second = shuffle_examples(3, 1, 1000), shuffle_examples(3, 2, 1000)
    assert np.array_equal(np.sort(first), np.arange(1000))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, shuffle_examples(3, 1, 1000))
