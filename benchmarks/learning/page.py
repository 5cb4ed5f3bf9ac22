"""The results as Markdown: everything in it comes from the JSON."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.learning.results import ALL

Results = Mapping[str, Any]


def markdown(results: Results) -> str:
    """Return the page of a comparison."""
    setting, versions = results["setting"], results["versions"]
    dials = _dials(setting["difficulty"])
    parts = [
        f"# What the arms learn from `{setting['backbone']}` ({setting['split']} questions)",
        f"```bash\n{shlex.join(results['command'])}\n```",
        _intro(results),
        f"Dials: {dials}. Share of direct turns in the arms with trajectories: {results['direct_share']:g}. "
        f"Commit {results['commit']}; " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "## Accuracy\n\n" + _accuracy(results),
        "Intervals of a difference are Student's over items, paired: an item counts with its mean over the seeds. They "
        "say what other questions would give, not other seeds; that is what the spread over seeds is for.",
        "## Between arms\n\n" + _between(results),
        "## Every run\n\n" + _every_run(results),
        "Accuracy with Wilson's 95% interval; p is of McNemar's exact test against the base. The checkpoint with the "
        "least held-out loss is the one that answers.",
        "## By task\n\n" + _tasks(results),
        "## Control: blanked pictures\n\n" + _blanks(results),
        "Every picture is replaced by one uniform colour. Behind a mean stands in how many of the runs Wilson's 95% "
        "interval holds chance; of intervals that should hold it, one in twenty does not.",
    ]
    if latents := _latents(results):
        parts += [
            "## Control: another example's trajectory\n\n" + latents,
            f"Loss of the prediction on {setting['latents']} held-out trajectories, against the true target and "
            "against the targets of all other examples: any of them, or those alike, of the same task and with tool "
            "calls or without, as it is. `two targets` is the loss between the targets of two of them: where it is "
            "next to nothing, targets do not tell examples apart. The cosines are the run's own, on its validation "
            "trajectories, to the own target and to the others', whatever their kind.",
        ]
    return "\n\n".join(parts) + "\n"


def _intro(results: Results) -> str:
    setting, run = results["setting"], results["runs"][0]
    recipes = "; ".join(
        f"`{arm}` is recipe {made['recipe']}" + (f" on `#{made['options']}`" if made["options"] else "")
        for arm, made in results["recipes"].items()
    )
    values, seeds = run["config"], ", ".join(map(str, results["seeds"]))
    return (
        f"Every arm trains for {values['steps']} steps of {values['batch_size']} x {values['accumulation']} on "
        f"{run['trajectories']['train']} trajectories of the same scenes, with seeds {seeds}, and answers the same "
        f"{setting['count']} questions for each regime in the direct form, by letter-logits. {recipes}."
    )


def _accuracy(results: Results) -> str:
    rows = []
    for regime in results["regimes"]:
        rows.append([regime, "base", _wilson(results["base"][regime]["images"][ALL]), "", "", "", ""])
        for arm, one in results["summary"][regime][ALL]["arms"].items():
            runs = _runs(results, regime, arm)
            seconds = sum(run["seconds"] for run in runs) / len(runs)
            least_to_most = f"{one['min']:.1%} to {one['max']:.1%}"
            values = [
                f"{one['mean']:.1%}",
                _points(one["std"]),
                least_to_most,
                _interval(one["gain"]),
                f"{seconds:.0f}",
            ]
            rows.append([regime, arm, *values])
    titles = ["accuracy, mean over seeds", "std", "least to most", "minus base [95%]", "training seconds"]
    return _table(["regime", "arm", *titles], rows)


def _every_run(results: Results) -> str:
    rows = []
    for run in results["runs"]:
        test = run["against_base"]
        alone = [str(test["only_b"]), str(test["only_a"]), f"{test['p_value']:.2g}"]
        steps = f"{run['best_step']} of {run['config']['steps']}"
        rows.append([run["regime"], run["arm"], str(run["seed"]), _wilson(run["images"][ALL]), *alone, steps])
    titles = ["accuracy [95%]", "only base right", "only arm right", "p", "step of least loss"]
    return _table(["regime", "arm", "seed", *titles], rows)


def _between(results: Results) -> str:
    rows = [
        [regime, pair, _interval(found)]
        for regime in results["regimes"]
        for pair, found in results["summary"][regime][ALL]["between"].items()
    ]
    return _table(["regime", "arms", "difference [95%]"], rows)


def _tasks(results: Results) -> str:
    rows = []
    for regime, summary in results["summary"].items():
        for task, found in summary.items():
            if task == ALL:
                continue
            base = results["base"][regime]["images"][task]
            arms = [f"{one['mean']:.1%} ({_interval(one['gain'])})" for one in found["arms"].values()]
            rows.append([regime, task, str(base["n"]), f"{base['chance']:.0%}", _wilson(base), *arms])
    return _table(["regime", "task", "n", "chance", "base", *(f"{arm} (minus base)" for arm in results["arms"])], rows)


def _blanks(results: Results) -> str:
    rows = []
    for regime, held in results["base"].items():
        for task, base in held["blanks"].items():
            cells = [f"{base['value']:.1%} ({_holds([base])})"]
            for arm in results["arms"]:
                found = [run["blanks"][task] for run in _runs(results, regime, arm)]
                cells.append(f"{sum(one['value'] for one in found) / len(found):.1%} ({_holds(found)})")
            rows.append([regime, task, str(base["n"]), f"{base['chance']:.0%}", *cells])
    return _table(["regime", "task", "n", "chance", "base", *results["arms"]], rows)


def _latents(results: Results) -> str:
    rows = []
    for run in results["runs"]:
        for term, by_group in run["latents"].items():
            cosines = [
                f"{run['monitors'][term][when]['matched_cosine']:.3f} / "
                f"{run['monitors'][term][when]['shuffled_cosine']:.3f}"
                for when in ("first", "best")
            ]
            for others, found in by_group.items():
                losses = [f"{found[key]:.4f}" for key in ("true", "shuffled")]
                rows.append(
                    [
                        *(run["regime"], run["arm"], str(run["seed"]), others, str(found["n"]), *losses),
                        *(_interval(found["difference"], unit=""), f"{found['apart']:.4f}", *cosines),
                    ]
                )
    titles = "regime, arm, seed, others, n, true, others', difference [95%], two targets, cosines before, cosines after"
    return _table(titles.split(", "), rows) if rows else ""


def _dials(difficulty: Mapping[str, Mapping[str, Sequence[int]]]) -> str:
    """Say how hard the tasks are, those alike together."""
    tasks: dict[str, list[str]] = {}
    for task, dials in difficulty.items():
        said = ", ".join(f"{name} {low} to {high}" for name, (low, high) in dials.items())
        tasks.setdefault(said, []).append(task)
    return "; ".join(f"{said} ({', '.join(names)})" for said, names in tasks.items())


def _runs(results: Results, regime: str, arm: str) -> list[Mapping[str, Any]]:
    return [run for run in results["runs"] if (run["regime"], run["arm"]) == (regime, arm)]


def _wilson(found: Mapping[str, float]) -> str:
    return f"{found['value']:.1%} [{found['low']:.1%}, {found['high']:.1%}]"


def _holds(found: Sequence[Mapping[str, float]]) -> str:
    return f"{sum(one['low'] <= one['chance'] <= one['high'] for one in found)}/{len(found)}"


def _interval(found: Mapping[str, float | None], *, unit: str = "points") -> str:
    scale, digits = (100, 1) if unit else (1, 4)
    value, low, high = (
        "–" if found[key] is None else f"{scale * float(found[key] or 0):+.{digits}f}"
        for key in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}]"


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
