"""Every package that an installed Regbench needs may be used and redistributed by anyone."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

EXTRAS = ("api", "worker", "worker-cpu", "embedded")
# Of these two one is installed.
TENSORFLOWS = {"tensorflow", "tensorflow-cpu"}

# LGPL: psycopg, a library that stays a package of its own. MPL: certifi's list of certificates, tqdm.
ALLOWED = re.compile(
    r"MIT(-CMU|-0)?|((New|3-Clause) )?BSD([ -][234]-Clause)?|0BSD"
    r"|ISC( License \(ISCL\))?|Zlib|CC0-1\.0|Unlicense|HPND"
    r"|Apache([- ]2\.0| Software| License 2\.0| 2\.0 License)?|PSF-2\.0|Python Software Foundation"
    r"|LGPL-3\.0-only|MPL-2\.0|Mozilla Public License 2\.0 \(MPL 2\.0\)",
)
# Packages without a declared licence, and the licence of their repositories.
LOOKED_UP = {"namex": "Apache-2.0"}


def needed() -> dict[str, Distribution]:
    """Every package that these extras need on this machine, at whatever remove."""
    distributions: dict[str, Distribution] = {}
    waiting = [("regbench", extra) for extra in EXTRAS]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        try:
            distributions[name] = distribution(name)
        except PackageNotFoundError:
            assert name in TENSORFLOWS, f"{name} is not installed"
            continue
        new = set(_requirements(distributions[name], extra)) - seen
        seen |= new
        waiting += new
    return distributions


def _requirements(package: Distribution, extra: str) -> Iterator[tuple[str, str]]:
    for text in package.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for nested in {"", *requirement.extras}:
                yield requirement.name.lower().replace("_", "-"), nested


def licences(package: Distribution) -> list[str]:
    """The names of a package's licences, by the newest of the three ways in which packages say them."""
    about = package.metadata
    classified = [name for name in about.get_all("Classifier") or [] if name.startswith("License ::")]
    if expression := about.get("License-Expression"):
        names = re.split(r" AND | OR ", expression)
    elif classified:
        names = [name.rpartition(" :: ")[2] for name in classified]
    else:
        names = re.split(r" AND | OR ", about.get("License") or LOOKED_UP.get(about["Name"], "unknown"))
    return [name.removesuffix(" License") for name in names]


def test_every_package_has_a_reviewed_licence() -> None:
    packages = needed()
    assert {"fastapi", "celery", "keras", "psycopg"} <= set(packages)
    assert TENSORFLOWS & set(packages)
    licences_by_name = {name: licences(package) for name, package in packages.items()}
    assert {
        name: names for name, names in licences_by_name.items() if not all(map(ALLOWED.fullmatch, names))
    } == {}


def test_a_restrictive_licence_is_detected() -> None:
    for licence in ("GPL-3.0-only", "AGPL-3.0", "unknown", "Other/Proprietary", "MIT-like"):
        assert not ALLOWED.fullmatch(licence)
