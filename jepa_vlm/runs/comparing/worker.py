"""One job of a comparison in its own process: ``python -m jepa_vlm.runs.comparing.worker JSON``.

Exit codes: 0 done, 1 failed, with the one message on stdout, 130 stopped by a signal.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from jepa_vlm.errors import InterruptedRunError, JepaVLMError


def main(task: dict[str, Any]) -> int:
    """Do a job."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with redirect_stdout(sys.stderr):
            _do(task)
    except (InterruptedRunError, KeyboardInterrupt) as err:
        sys.stderr.write(f"{err}\n")
        return 130
    except (JepaVLMError, ValueError, OSError) as err:
        sys.stdout.write(f"{err}\n")
        return 1
    return 0


def _do(task: dict[str, Any]) -> None:
    from jepa_vlm.runs.comparing.answers import AnswerSettings, answer
    from jepa_vlm.runs.comparing.facts import measure_cost, measure_facts
    from jepa_vlm.runs.settings import RunSettings
    from jepa_vlm.runs.training_run import start_run
    from jepa_vlm.training.run_config import CONFIG, RunConfig

    if task["kind"] == "facts":
        measure_facts(task["recipe"], RunSettings(**task["settings"]), Path(task["to"]))
        return
    if task["kind"] == "cost":
        measure_cost(RunConfig.read(Path(task["run"])), Path(task["to"]))
        return
    model = task["model"]
    if "recipe" in task and not (Path(model) / "result.json").is_file():
        started = (Path(model) / CONFIG).is_file()
        if not started:  # a process that was killed while it began the run
            shutil.rmtree(model, ignore_errors=True)
        start_run(task["recipe"], RunSettings(**task["settings"], output=model, resume=started))
    answer(model, AnswerSettings(**task["asking"]), Path(task["to"]), loading=task.get("loading", {}))


def _end_with_parent() -> None:
    """Wait for the end of stdin, which the process that started this one holds open, and end at once."""
    while os.read(0, 1):  # not sys.stdin, whose lock would be held when this process ends by itself
        pass
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.argv[1])))
