"""``python -m benchmarks.learning``: train every arm on every regime, and write what came of it."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.learning.arms import Setting, cells
from benchmarks.learning.page import markdown
from benchmarks.learning.results import gather
from benchmarks.learning.run import IMAGES, finished, run_all
from jepa_vlm.errors import InterruptedRunError, JepaVLMError
from jepa_vlm.evaluation import Evaluation
from jepa_vlm.whole_files import write_whole

OUT = {"validation": Path("docs/results/tiny_learning_validation"), "test": Path("docs/results/tiny_learning")}


def main(
    backbone: Annotated[str, typer.Option(help="A name of `backbones`, or a folder.")] = "tiny-qwen2.5-vl",
    regime: Annotated[list[str] | None, typer.Option(help="Default: the three single ones; may repeat.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Default: sft, pearl, direct; may repeat.")] = None,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Default: 0, 1, 2; may repeat.")] = None,
    split: Annotated[str, typer.Option(help="Choose dials on validation, report test.")] = "validation",
    count: Annotated[int, typer.Option(min=2, help="Questions for each regime.")] = 2000,
    steps: Annotated[int | None, typer.Option(min=1, help="In place of the backbone profile's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="In place of the backbone profile's.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="In place of the backbone profile's.")] = None,
    dials: Annotated[str, typer.Option(help="Of the scenes: size=5-7,path=2.")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once.")] = 1,
    work: Annotated[Path, typer.Option(help="Where runs are kept; finished ones are used again.")] = Path(
        "runs/learning"
    ),
    out: Annotated[Path | None, typer.Option(help="The results, without .json and .md.")] = None,
) -> None:
    """Compare sft, pearl and direct answers alone: same scenes, same steps, same questions, several seeds."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        setting = Setting(
            backbone=backbone,
            steps=steps,
            learning_rate=learning_rate,
            batch_size=batch_size,
            dials=dials,
            split=split,
            count=count,
        )
        planned = list(
            cells(
                setting,
                regimes=regime or ["one-tool-one-call", "many-tools-one-call", "one-tool-many-calls"],
                arms=arm or ["sft", "pearl", "direct"],
                seeds=[0, 1, 2] if seed is None else seed,
                work=work,
            )
        )
        console.print(f"{len(planned)} runs, {sum(map(finished, planned))} of them done already, in {work}")
        for number, cell in enumerate(run_all(planned, jobs=jobs), start=1):
            accuracy = Evaluation.from_json(cell.answers / IMAGES).scored[0].overall.value
            console.print(f"{number}/{len(planned)} {cell.folder.name}: {accuracy:.1%}")
        results = gather(planned, command=["python", "-m", "benchmarks.learning", *sys.argv[1:]])
    except (InterruptedRunError, KeyboardInterrupt):
        console.print("Stopped. The same command goes on.")
        raise typer.Exit(130) from None
    except (JepaVLMError, ValueError) as err:
        console.print(f"Error: {err}", markup=False)
        raise typer.Exit(1) from None
    path = out or OUT[split]
    write_whole(path.with_name(f"{path.name}.json"), json.dumps(results, indent=1) + "\n")
    write_whole(path.with_name(f"{path.name}.md"), markdown(results))
    console.print(f"{path}.json and {path}.md")


if __name__ == "__main__":
    typer.run(main)
