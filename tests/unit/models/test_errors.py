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
    assert drawn == {error.__name__: error.__bases__[0].__name__ for error in ALL}


def test_error_codes_are_lower_case_and_unique() -> None:
    # TrainingFailed gets its code where it is raised.
    codes = [error.code for error in ALL if "code" in vars(error)]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").islower() for code in codes)


def test_an_invalid_specification_lists_every_error_with_its_field() -> None:
    error = InvalidSpec([FieldError("/seed", "too large"), FieldError("/name", "too long")])
    assert error.message == str(error) == "/seed: too large; /name: too long"
