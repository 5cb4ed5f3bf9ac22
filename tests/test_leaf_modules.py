"""The mathematics is a leaf: it loads torch and itself, and no model library."""

from __future__ import annotations

import json
import subprocess
import sys

FORBIDDEN = ("transformers", "peft", "accelerate", "datasets", "PIL", "typer")
SHOWN = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def test_losses_predictors_regularizers_and_objectives_load_no_model_library():
    code = f"import jepa_vlm.losses, jepa_vlm.objectives, jepa_vlm.predictors, jepa_vlm.regularizers; {SHOWN}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert "jepa_vlm.terms" in loaded
    assert [name for name in loaded if name.split(".")[0] in FORBIDDEN] == []
    assert {name.split(".")[1] for name in loaded if name.startswith("jepa_vlm.")} <= {
        *(
            "errors",
            "lazy",
            "objectives",
            "losses",
            "predictors",
            "regularizers",
            "states",
            "terms",
            "typing",
            "view_encoder",
            "views",
        )
    }
