import inspect

from models import errors
from models.errors import FieldError, InvalidSpec, RegbenchError

ALL = [
    member for _, member in inspect.getmembers(errors, inspect.isclass) if issubclass(member, RegbenchError)
]


def test_the_tree_atop_the_module_is_the_tree_of_the_classes() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").partition("\n\n")[2].splitlines():
        name = line.lstrip("│├└─ ").partition(" ")[0]
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        path[depth:] = [name]
        drawn[name] = path[-2] if depth else "Exception"
    assert drawn == {error.__name__: error.__base__.__name__ for error in ALL}


def test_codes_are_stable_words_and_no_two_errors_share_one() -> None:
    # TrainingFailed is given its code by whoever raises it.
    codes = [error.code for error in ALL if "code" in vars(error)]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").islower() for code in codes)


def test_an_invalid_specification_says_every_fault_with_its_place() -> None:
    error = InvalidSpec([FieldError("/seed", "too large"), FieldError("/name", "too long")])
    assert error.message == str(error) == "/seed: too large; /name: too long"
