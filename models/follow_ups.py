"""Follow-ups: variants of an earlier experiment, the pilot, tested again on fresh seeds. Pure.

A pilot may choose what its follow-up tests, because none of its runs is used again: the follow-up's family of
tests is its own, and has the full level of a fixed plan.
"""

from collections.abc import Collection

from models.documents import Document, merge_patch
from models.errors import FieldError, InvalidSpec
from models.experiments import FEWEST_PAIRS, MAX_EXPERIMENT_NAME, ExperimentSpec
from models.spec import STORED

_SUFFIX = ", follow-up"
_CHANGED = "this is not as in {}; leave it out to keep that, or omit `confirms`"


def choose_fresh_seeds(seeds: Collection[int]) -> range:
    """As many seeds that follow those, and no fewer than a verdict needs."""
    first = max(seeds) + 1
    return range(first, first + max(FEWEST_PAIRS, len(seeds)))


def complete_follow_up(posted: Document, pilot: Document) -> Document:
    """The whole document of a posted follow-up: what it leaves out, or null, is as in the pilot's.

    Of a variant of the pilot the name is enough, and the baseline is added where it is left out.
    """
    original = ExperimentSpec.model_validate(pilot, context=STORED)
    variants = {variant.name: variant.model_dump(mode="json") for variant in original.variants}
    completed = original.model_dump(mode="json", exclude={"seeds", "replicates", "stopping_rule"}) | {
        "name": original.name[: MAX_EXPERIMENT_NAME - len(_SUFFIX)] + _SUFFIX,
        "baseline": original.baseline_name,
        "seeds": list(choose_fresh_seeds(original.run_seeds)),
    }
    if posted.get("replicates") is not None:
        # The two exclude each other.
        del completed["seeds"]
    completed |= merge_patch(completed, {key: value for key, value in posted.items() if value is not None})
    if isinstance(posted.get("variants"), list) and posted["variants"]:
        requested = [
            variants.get(variant["name"], variant)
            if isinstance(variant, dict) and variant.keys() == {"name"} and isinstance(variant["name"], str)
            else variant
            for variant in posted["variants"]
        ]
        names = [variant.get("name") for variant in requested if isinstance(variant, dict)]
        missing = [variants[original.baseline_name]] if original.baseline_name not in names else []
        completed["variants"] = missing + requested
    return completed


def keep_tuning(spec: ExperimentSpec, pilot: Document) -> ExperimentSpec:
    """The follow-up with the settings that its pilot's tuning has chosen for these variants.

    Raises:
        InvalidSpec: `tune` is not the pilot's.
    """
    original = ExperimentSpec.model_validate(pilot, context=STORED)
    if spec.forget_tuning().tune != original.forget_tuning().tune:
        raise InvalidSpec([FieldError("/tune", _CHANGED.format(spec.confirms))])
    if original.tune is None:
        return spec
    names = {variant.name for variant in spec.variants}
    progress = {
        field: {name: value for name, value in getattr(original.tune, field).items() if name in names}
        for field in ("settings", "promoted", "chosen")
    }
    return spec.model_copy(update={"tune": original.tune.model_copy(update=progress)})


def check_follow_up(spec: ExperimentSpec, pilot: Document) -> list[FieldError]:
    """Why `spec` does not confirm the pilot, given by its document; empty where it does.

    Every variant of `spec` must make a valid specification.
    """
    original = ExperimentSpec.model_validate(pilot, context=STORED)
    errors = []
    if used := sorted({*spec.run_seeds} & {*original.run_seeds}):
        fresh = choose_fresh_seeds(original.run_seeds)
        detail = (
            f"{spec.confirms} has run with {', '.join(map(str, used[:5]))}{', ...' * (len(used) > 5)}; list "
            f"seeds that it has not, such as {fresh[0]} to {fresh[-1]}"
        )
        errors.append(FieldError("/replicates" if spec.replicates else "/seeds", detail))
    if spec.baseline_name != original.baseline_name:
        detail = f"{spec.confirms} compares with {original.baseline_name}; leave this out to keep that"
        errors.append(FieldError("/baseline", detail))
    for field, same in (
        ("/base", spec.base.spec_hash == original.base.spec_hash),
        ("/split_per_seed", bool(spec.split_per_seed) == bool(original.split_per_seed)),
    ):
        if not same:
            errors.append(FieldError(field, _CHANGED.format(spec.confirms)))
    return errors or _check_variants(spec, original)


def _check_variants(spec: ExperimentSpec, original: ExperimentSpec) -> list[FieldError]:
    """Which variants are not the pilot's; the bases must be equal."""
    seed, errors = spec.run_seeds[0], []
    hashes = {variant.name: original.build_run_spec(variant, seed).spec_hash for variant in original.variants}
    tuned = {variant.name: variant.tune for variant in original.variants}
    for index, variant in enumerate(spec.variants):
        if variant.name not in hashes:
            detail = f"{spec.confirms} has no such variant; choose among {', '.join(hashes)}"
            errors.append(FieldError(f"/variants/{index}/name", detail))
        elif spec.build_run_spec(variant, seed).spec_hash != hashes[variant.name]:
            errors.append(FieldError(f"/variants/{index}/changes", _CHANGED.format(spec.confirms)))
        elif variant.tune != tuned[variant.name]:
            errors.append(FieldError(f"/variants/{index}/tune", _CHANGED.format(spec.confirms)))
    return errors
