"""Comparisons by hand, for renderers: complete, empty, and with difficult names."""

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax

from api.reports.bias_variance_schemas import BiasVarianceItem, BiasVarianceReport
from api.reports.error_curves import build_error_curves
from api.reports.gains import build_axes, build_gains
from api.reports.points import remove_point
from api.reports.schemas import Comparison, Differences, Metrics
from api.reports.tuning import build_tuning
from models.bias_variance import decompose
from models.experiments import ExperimentSpec
from models.metrics import METRICS
from models.records import CORRUPTIONS
from models.run_key import name_variant
from models.spec import STORED
from models.tuning import Trial

SIDE = 28


def full(
    names: Sequence[str] = ("none", "dropout", "L1 <sparse>"), *, seeds: int = 8, epochs: int = 12
) -> Comparison:
    """A comparison with every field filled; the first variant is the baseline."""
    variants = [variant(number, name, seeds=seeds, epochs=epochs) for number, name in enumerate(names)]
    return Comparison.model_validate(
        {
            "title": "dropout-vs-none",
            "experiment_id": "exp_1",
            "generated_at": "2026-01-02T03:04:05Z",
            "version": "0.1.0",
            "inference": "fixed",
            "level": 0.045,
            "complete": True,
            "headline": f"All variants raise the test accuracy of {names[0]}.",
            "methods": f"Each variant was compared with {names[0]}.",
            "jobs": seeds * len(names),
            "finished": seeds * len(names),
            "baseline": names[0],
            "seeds": list(range(seeds)),
            "variants": variants,
            "contrasts": [
                contrast(number, name, names[0], seeds) for number, name in enumerate(names) if number
            ],
            "recommendation": recommendation(names),
            "robustness": [robustness(number, name, names[0], seeds) for number, name in enumerate(names)],
            "ensembles": ensembles(names, seeds) if seeds > 1 else [],
            "time_to_target": time_to_target(names, seeds) if seeds > 1 else None,
            "missing": [],
            "datasets": [{"name": "mnist_5k", "sha256": ["b" * 64], "classes": 10, "test_examples": 1000}],
            "engines": ["TensorFlow 2.21.0, Keras 3.15.0 on cpu, threads a job: 1"],
            "notes": ["Losses are cross-entropy in nats without any penalty."],
            "repeat": 'curl -sS http://127.0.0.1:8000/v1/experiments -d \'{"name":"again"}\'',
        }
    )


def along_axis(values: Sequence[int] = (250, 1000), names: Sequence[str] = ("none", "dropout")) -> Comparison:
    """A comparison of these variants at each number of training examples."""
    whole = full(names)
    points = [{"point": {"/dataset/train_samples": value}} for value in values]
    variants = [item.model_copy(update=point) for point in points for item in whole.variants]
    contrasts = [item.model_copy(update=point) for point in points for item in whole.contrasts]
    return whole.model_copy(update={"variants": variants, "contrasts": contrasts})


def empty(names: Sequence[str] = ("none", "dropout"), *, state: str = "queued") -> Comparison:
    """A comparison of jobs of which none has finished: every field that may be empty is."""
    reason = "cancelled" if state == "cancelled" else "0 of 12 epochs done"
    return Comparison.model_validate(
        full(names).model_dump()
        | {
            "inference": "interim",
            "level": 0.005,
            "complete": False,
            "headline": "No run has a result yet.",
            "finished": 0,
            "jobs": len(names),
            "seeds": [0],
            "variants": [
                {
                    "name": name,
                    "is_baseline": name == names[0],
                    "regularization": {},
                    "n": 0,
                    "seeds": [],
                    "failed_seeds": [0] if state == "failed" else [],
                    "unfinished_seeds": [] if state == "failed" else [0],
                    "metrics": None,
                    "line": None,
                    "curve": [],
                }
                for name in names
            ],
            "contrasts": [
                {
                    "variant": name,
                    "baseline": names[0],
                    "seeds": [],
                    "differences": None,
                    "mcnemar": [],
                    "verdict": "No seed has a result in both variants, so nothing can be said.",
                }
                for name in names[1:]
            ],
            "recommendation": [],
            "robustness": [],
            "ensembles": [],
            "time_to_target": None,
            "missing": [
                {"job_id": f"job_{name}", "variant": name, "seed": 0, "state": state, "reason": reason}
                for name in names
            ],
            "datasets": [{"name": "mnist_5k", "sha256": [], "classes": 10, "test_examples": 1000}],
            "engines": [],
        }
    )


def along_axes(axes: int = 1, names: Sequence[str] = ("none", "dropout", "L1 <sparse>")) -> Comparison:
    """One with an axis of sizes, or with a second one of widths."""
    fields = {"/dataset/train_samples": [100, 400, 1000, 4000], "/model/hidden_units": [[16], [64]]}
    spec = ExperimentSpec.model_validate(
        {
            "name": "axes",
            "variants": [{"name": name} for name in names],
            "axes": [{"field": field, "values": values} for field, values in list(fields.items())[:axes]],
        }
    )
    dump = full(names).model_dump()
    variants, contrasts = [], []

    def learn_more(seed: dict[str, Any], size: int) -> dict[str, Any]:
        error = 0.02 + (1 - seed["result"]["test_accuracy"]) * math.sqrt(100 / size)
        return seed | {"result": seed["result"] | {"test_accuracy": round(1 - error, 4)}}

    for index, point in enumerate(spec.points):

        def at_point(name: str, point: dict[str, Any] = point) -> str:
            return name_variant(name, point)

        for item in dump["variants"]:
            seeds = [learn_more(seed, point["/dataset/train_samples"]) for seed in item["seeds"]]
            accuracy = estimate([seed["result"]["test_accuracy"] for seed in seeds])
            metrics = item["metrics"] | {"test_accuracy": accuracy}
            at = {"name": at_point(item["name"]), "point": point}
            variants.append(item | at | {"seeds": seeds, "metrics": metrics})
        for item in dump["contrasts"]:
            differences = dict(item["differences"])
            differences["test_loss"] = difference(0.01 * index - 0.015, 0.01, 8, tested=True)
            changes = {"variant": at_point(item["variant"]), "baseline": at_point(item["baseline"])}
            contrasts.append(item | changes | {"point": point, "differences": differences})
    comparison = Comparison.model_validate(
        dump
        | {"variants": variants, "contrasts": contrasts, "axes": build_axes(spec)}
        | {"recommendation": [], "ensembles": [], "time_to_target": None}
    )
    along = {"gains": build_gains(comparison), "error_curves": build_error_curves(comparison)}
    return comparison.model_copy(update=along)


def robustness(number: int, name: str, baseline: str, seeds: int) -> dict[str, Any]:
    """One variant on damaged images; a higher number is a little more accurate."""

    def of(mean: float, half: float) -> dict[str, Any]:
        wide = seeds > 1
        return {
            "n": seeds,
            "mean": mean,
            "low": mean - half if wide else None,
            "high": mean + half if wide else None,
        }

    kinds = {kind: 0.5 + index / 40 + number / 100 for index, kind in enumerate(CORRUPTIONS)}
    differences = {kind: of(float(number), 0.5 + index / 10) for index, kind in enumerate(CORRUPTIONS)}
    return {
        "variant": name,
        "baseline": baseline if number else None,
        "accuracy": of(0.64 + number / 100, 0.01),
        "kinds": {kind: of(mean, 0.02) for kind, mean in kinds.items()},
        "difference": of(float(number), 0.4) if number else None,
        "kind_differences": differences if number else {},
    }


def ensembles(names: Sequence[str], seeds: int) -> list[dict[str, Any]]:
    """Those of each variant; a higher number is a little better."""
    return [
        {
            "variant": name,
            "seeds": list(range(seeds)),
            "sizes": [
                {
                    "members": members,
                    "accuracy": 0.93 + 0.004 * number + 0.01 * (1 - 1 / members),
                    "loss": 0.25 - 0.02 * number - 0.06 * (1 - 1 / members),
                    "brier": 0.1 - 0.02 * (1 - 1 / members),
                }
                for members in range(1, seeds + 1)
            ],
            "accuracy_points": {"value": 1.0, "low": 0.4, "high": 1.6},
            "loss": {"value": -0.06, "low": -0.08, "high": -0.04},
            "brier": {"value": -0.02, "low": -0.03, "high": -0.01},
        }
        for number, name in enumerate(names)
    ]


def time_to_target(names: Sequence[str], seeds: int) -> dict[str, Any]:
    """That of each variant; the last one never reaches the target in most of its seeds."""

    def of(value: float, reached: bool) -> dict[str, Any]:
        return {"value": value if reached else None, "low": 0.75 * value, "high": None}

    items = [
        {
            "variant": name,
            "seeds": seeds,
            "reached": seeds if number < len(names) - 1 else 1,
            "epochs": of(4.0 + number, number < len(names) - 1),
            "seconds": of(1.5 + number, number < len(names) - 1),
            "flops": of(4e11, number < len(names) - 1),
        }
        for number, name in enumerate(names)
    ]
    return {"metric": "validation_loss", "target": 0.2345, "items": items}


def tuned(names: Sequence[str] = ("none", "dropout", "L1 <sparse>")) -> Comparison:
    """One whose variants' learning rate and optimizer were tuned, and of all but the first a strength."""
    rate, factor, optimizer = (
        "/training/optimizer/learning_rate", "/regularization/l2/factor", "/training/optimizer/name",
    )  # fmt: skip
    logarithmic = {"low": 1e-4, "high": 1e-2, "scale": "log"}
    variants = [
        {"name": name, "tune": {"parameters": {factor: logarithmic}}} if number else {"name": name}
        for number, name in enumerate(names)
    ]
    settings, trials = {}, []
    for number, name in enumerate(names):
        settings[name] = [
            {rate: round(1e-4 * 1.5**index, 6), optimizer: ["adam", "sgd"][index % 2]}
            | ({factor: round(1e-2 / 1.5**index, 6)} if number else {})
            for index in range(10)
        ]
        for index, setting in enumerate(settings[name]):
            loss = 0.3 - 0.01 * number + 0.02 * abs(index - 4)
            losses = (None, loss) if index == 9 else (loss, loss + 0.01)
            trials.append(Trial(name, index, setting, losses))
    spec = ExperimentSpec.model_validate(
        {
            "name": "tuned",
            "variants": variants,
            "tune": {
                "parameters": {rate: logarithmic, optimizer: {"values": ["adam", "sgd"]}},
                "trials": 10,
                "settings": settings,
                "chosen": dict.fromkeys(names, 4),
            },
        },
        context=STORED,
    )
    comparison = full(names)
    return comparison.model_copy(update={"tuning": build_tuning(spec, trials, comparison.experiment_id)})


def on_parts(axes: int = 0, names: Sequence[str] = ("none", "dropout", "L1 <sparse>")) -> Comparison:
    """One whose variants were trained on three parts of the training data, with two seeds."""
    comparison = along_axes(axes, names) if axes else full(names)
    labels = np.arange(40) % 4
    items = []
    for index, item in enumerate(comparison.variants):
        logs = log_softmax(np.random.default_rng(index).normal(size=(2, 3, 40, 4)), axis=-1)
        values = vars(decompose([*logs], labels, crossed=True))
        name = remove_point(item.name, item.point)
        items.append(BiasVarianceItem(variant=name, point=item.point, parts=3, seeds=2, **values))
    report = BiasVarianceReport(
        items=items, reason=None, intervals="Over 2 seeds.", answers=["It varies."], headline="It varies."
    )
    return comparison.model_copy(update={"bias_variance": report, "ensembles": [], "time_to_target": None})


def variant(number: int, name: str, *, seeds: int, epochs: int) -> dict[str, Any]:
    """One variant; a higher number is a little more accurate, slower and sparser."""
    results = [seed_result(number, seed, epochs) for seed in range(seeds)]
    measured = {
        metric: estimate([job["result"][metric] for job in results]) for metric in Metrics.model_fields
    }
    return {
        "name": name,
        "is_baseline": number == 0,
        "regularization": {} if number == 0 else {"dropout": {"rate": 0.1 * number}},
        "training_examples": 3600,
        "n": seeds,
        "seeds": results,
        "failed_seeds": [],
        "unfinished_seeds": [],
        "metrics": measured,
        "line": f"Model {name} - Test Loss: {measured['test_loss']['mean']:.4f}, "
        f"Test Accuracy: {measured['test_accuracy']['mean']:.4f}",
        "confounders": [],
        "curve": [curve_point(number, epoch, epochs, seeds) for epoch in range(1, epochs + 1)],
        "overfitting_onset_epoch": max(2, epochs // 2) if number == 0 else None,
        "confusion": confusion(number),
        "diagnostics": diagnostics(number),
    }


def seed_result(number: int, seed: int, epochs: int) -> dict[str, Any]:
    # Rounded, so that a file of numbers is the same on every machine.
    wobble = round(math.sin(3.7 * seed + number), 3)
    result = dict.fromkeys(METRICS) | {
        "test_accuracy": 0.93 + 0.004 * min(number, 5) + 0.002 * wobble,
        "test_loss": 0.25 - 0.02 * min(number, 5) - 0.01 * wobble,
        "test_ece": 0.02 - 0.001 * min(number, 5),
        "test_ece_debiased": 0.0004 - 0.00002 * min(number, 5),
        "temperature": 1.5 - 0.1 * min(number, 5),
        "test_loss_scaled": 0.23 - 0.02 * min(number, 5),
        "test_ece_scaled": 0.01,
        "test_brier": 0.1,
        "train_accuracy": 0.99,
        "train_loss": 0.05,
        "validation_accuracy": 0.92,
        "validation_loss": 0.3,
        "generalization_gap_accuracy": 0.06 - 0.004 * min(number, 5),
        "generalization_gap_loss": 0.2 - 0.02 * min(number, 5),
        "best_epoch": max(1, epochs // 2),
        "reported_epoch": max(1, epochs // 2) if number == 1 else epochs,
        "epochs_run": epochs,
        "stop_reason": "early_stopping" if number == 1 else "completed",
        "parameters": 669706,
        "weight_norm": 30.0 - number,
        "zero_weight_fraction": 0.0 if number < 2 else 0.6,
        "near_zero_weight_fraction": 0.1,
        "training_seconds": 5.0 + number + 0.3 * wobble,
        "training_flops": 1e12,
        "compile_seconds": 1.0,
        "compilations": 3,
        "dataset_sha256": "b" * 64,
        "weights_sha256": "c" * 64,
        "engine": {
            "tensorflow": "2.21.0", "keras": "3.15.0", "device": "cpu", "threads": 1, "regbench": "0.1.0",
        },
    }  # fmt: skip
    return {
        "seed": seed,
        "job_id": f"job_{number}_{seed}",
        "reused": number == 0 and seed < 3,
        "result": result,
    }


def estimate(values: Sequence[Any]) -> dict[str, Any] | None:
    if None in values:
        return None
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"n": 1, "mean": mean, "sd": None, "low": None, "high": None}
    sd = float(np.std(values, ddof=1))
    half = 2.4 * sd / math.sqrt(len(values))
    return {"n": len(values), "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}


def curve_point(number: int, epoch: int, epochs: int, seeds: int) -> dict[str, Any]:
    share = epoch / epochs
    sd = 0.01 if seeds > 1 else None
    train = 0.8 * math.exp(-3 * share) + 0.02 * number
    validation = train + 0.05 + 0.3 * share**2 / (1 + number) + 0.01 * math.sin(7 * epoch)
    return {
        "epoch": epoch,
        "n": seeds,
        "train_loss": train,
        "train_loss_sd": sd,
        "train_accuracy": 0.99 - 0.2 * train,
        "train_accuracy_sd": sd,
        "validation_loss": validation,
        "validation_loss_sd": sd,
        "validation_accuracy": 0.99 - 0.2 * validation,
        "validation_accuracy_sd": sd,
        "gap_loss": validation - train,
        "gap_loss_sd": sd,
    }


def confusion(number: int) -> list[list[int]]:
    return [
        [95 + min(number, 3) if truth == answer else (5 - min(number, 3) if answer == (truth + 1) % 10 else 0)
         for answer in range(10)]
        for truth in range(10)
    ]  # fmt: skip


def diagnostics(number: int) -> dict[str, Any]:
    edges = np.linspace(-0.5, 0.5, 41)
    counts = (20_000 * np.exp(-((edges[:-1] + 0.0125) ** 2) * (20 + 40 * number))).astype(int)
    return {
        "seed": 0,
        "job_id": f"job_{number}_0",
        "weight_edges": edges.tolist(),
        "weight_counts": counts.tolist(),
        "weight_zeros": 0 if number < 2 else 400_000,
        "calibration": [
            {"n": 100, "confidence": 0.55 + 0.05 * index, "accuracy": 0.5 + 0.055 * index}
            for index in range(9)
        ],
        "first_layer": [image(number, unit) for unit in range(16)],
        "first_layer_side": SIDE,
        "first_layer_scale": 0.2,
    }


def image(number: int, unit: int) -> str:
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    values = np.cos((3 + unit) * x + 2 * y * unit) * np.exp(-6 * (x**2 + y**2))
    if number >= 2:
        values[abs(values) < 0.6] = 0.0
    return base64.b64encode((128 + np.rint(127 * values)).astype(np.uint8).tobytes()).decode()


def contrast(number: int, name: str, baseline: str, seeds: int) -> dict[str, Any]:
    return {
        "variant": name,
        "baseline": baseline,
        "seeds": list(range(seeds)),
        "differences": dict.fromkeys(Differences.model_fields) | {
            "test_accuracy_points": difference(0.4 * min(number, 5) - 0.5, 0.3, seeds, tested=True) | {
                "equivalence": {
                    "margin": 0.2, "p": 0.2, "equivalent": number == 1, "more_seeds": 12,
                    "more_seeds_low": 8, "more_seeds_high": 30,
                } if seeds > 1 else None,
            },
            "test_loss": difference(-0.02 * min(number, 5), 0.01, seeds, tested=True),
            "generalization_gap_accuracy_points": difference(-0.4 * min(number, 5), 0.2, seeds),
            "generalization_gap_loss": difference(-0.02 * min(number, 5), 0.01, seeds),
        },
        "accuracy_on_new_images": {"low": -1.0, "high": 1.2} if seeds > 1 else None,
        "mcnemar": [{"seed": 0, "only_baseline": 12, "only_variant": 20, "p": 0.21}],
        "verdict": f"Test accuracy is higher by {0.4 * number:.2f} points.",
    }  # fmt: skip


def difference(mean: float, sd: float, seeds: int, *, tested: bool = False) -> dict[str, Any]:
    has_interval = seeds > 1
    half = 2.4 * sd / math.sqrt(seeds)
    return {
        "n": seeds,
        "mean": mean,
        "sd": sd if has_interval else None,
        "low": mean - half if has_interval else None,
        "high": mean + half if has_interval else None,
        "t_p": 0.01 if has_interval else None,
        "tested": tested,
        "adjusted_p": 0.03 if has_interval and tested else None,
        "simultaneous_low": mean - 1.4 * half if has_interval and tested else None,
        "simultaneous_high": mean + 1.4 * half if has_interval and tested else None,
        "d": 1.2 if has_interval else None,
        "superiority": 0.75 if has_interval else None,
        "superiority_low": 0.4 if has_interval else None,
        "superiority_high": 0.95 if has_interval else None,
        "detectable": 0.25 if has_interval else None,
        "relative": None,
        "call": ("higher" if mean > 0 else "lower") if has_interval and tested else None,
    }


def recommendation(names: Sequence[str]) -> list[dict[str, Any]]:
    last = len(names) - 1
    return [
        {
            "name": "complexity",
            "title": "Model complexity",
            "advice": [
                {
                    "text": f"{names[0]}, with 669,706 parameters, has a test loss 0.2000 nats above.",
                    "evidence": [
                        "/variants/0/metrics/generalization_gap_loss",
                        "/variants/0/metrics/parameters",
                    ],
                }
            ],
            "not_tested": "One size of network was trained.",
        },
        {
            "name": "task",
            "title": "What the task needs",
            "advice": [
                {
                    "text": f"For accuracy: {names[last]}.",
                    "evidence": ["/contrasts/0/differences/test_accuracy_points"] if last else [],
                }
            ],
            "not_tested": None,
        },
    ]
