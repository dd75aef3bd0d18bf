"""``manage.py``, which writes down at its end what it took: ``python -m benchmarks.managed FILE tiers status``."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from benchmarks.usage import resident


def main(told: Path, arguments: list[str]) -> None:
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(["manage.py", *arguments])
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        # Not ru_maxrss: that has what the parent had resident when it started this process.
        told.write_text(json.dumps({"cpu": used.ru_utime + used.ru_stime, "memory": resident("VmHWM")}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
