from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_SLOW = {"numpy", "gguf", "diffoscope", "jsonschema", "tpm2_pytss"}


def test_the_front_door_opens_without_what_few_tasks_need(checkout: Path) -> None:
    """Every task imports every room: what takes long to import is imported where it is used."""
    program = "import json, sys, tasks; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout, capture_output=True, check=True
    )
    modules = set(json.loads(done.stdout))
    assert "pipeline" in modules
    assert modules & _SLOW == set()
