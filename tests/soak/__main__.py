"""``python -m tests.soak --minutes 60 --report DIR``: exit code 1 when the daemon did not come through well."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.soak.chaos import Plan, soak
from tests.soak.report import Report, Sample


def main() -> int:
    options = _options()
    plan = Plan(60 * options.minutes, period_s=options.period, seed=options.seed)
    with tempfile.TemporaryDirectory(prefix="streamd-soak-") as folder:
        report = asyncio.run(soak(plan, Path(folder), _tell))
    _write(report, options.report)
    return 0 if all(verdict.met is not False for verdict in report.verdicts()) else 1


def _write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(report.json(), indent=1))
    (folder / "soak.txt").write_text(report.table() + "\n")
    (folder / "daemon.log").write_text(report.log)
    print(report.table())
    print(f"\n{folder}/soak.json has it all")


def _tell(sample: Sample) -> None:
    print(
        f"{sample.at_s:6.0f} s  daemon {sample.daemon_mb:.0f} MB  worker {sample.worker_mb:.0f} MB  "
        f"files {sample.files}  threads {sample.threads}  viewers {sample.viewers}  {sample.states}",
        file=sys.stderr,
        flush=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--period", type=float, default=60, help="seconds from one death of a camera to the next (60)")
    parser.add_argument("--seed", type=int, default=0, help="of what the viewers do")
    parser.add_argument("--report", type=Path, default=Path("build/soak"), help="folder for soak.json and soak.txt")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
