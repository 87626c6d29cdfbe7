"""What is said about lambda, tried: the number reached beside the number asked for.

    python benchmarks/lambda_claims.py                  all rows, at most ten minutes
    python benchmarks/lambda_claims.py --only 2e,2g     some rows; 2e is the table of the best lam / lam_max
    python benchmarks/lambda_claims.py --smoke          tiny problems, which settle nothing
    python benchmarks/lambda_claims.py --report         the table of an existing JSONL file anew

Writes a table (Markdown), its records (JSONL, the machine in the first line) and a figure for every row that
is a curve into benchmarks/results/; --only replaces its rows there and keeps the others. Nothing is written
with --smoke unless --out says where. Rows 0: one lambda or many. Rows 1: layers. Rows 2: what lambda
depends on. Risk is ||A (x - x0)||^2 for a planted x0; times are processor time of one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import claim_layers
import claim_scaling
import claim_weights
from claim import Claim, Panel, draw
from latency import machine
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).resolve().parent / "results"
ROWS: dict[str, Callable[[bool], Claim]] = {**claim_weights.ROWS, **claim_layers.ROWS, **claim_scaling.ROWS}


def read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return (machine, records by row) of a JSONL file; both empty if there is none."""
    if not path.exists():
        return {}, {}
    about, *records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return about, {record["row"]: record for record in records}


def report(about: dict[str, Any], records: dict[str, dict[str, Any]], out: Path | None) -> str:
    """Return the page; draw its figures beside ``out``."""
    claims = {}
    for name in ROWS:
        if name in records:
            record = dict(records[name])
            panels = [Panel(**panel) for panel in record["panels"]]
            fields = {key: record[key] for key in ("claim", "asked", "reached", "met", "table")}
            claims[name] = Claim(**fields, panels=panels)
    met = sum(claim.met is True for claim in claims.values())
    known = sum(claim.met is not None for claim in claims.values())
    lines = [
        "# What is said about lambda, tried",
        "",
        f"{met} of {known} rows reach what was asked; `python benchmarks/lambda_claims.py`, "
        f"{sum(record['seconds'] for record in records.values()):.0f} s of processor time in all.",
        f"Machine: {', '.join(f'{key} {value}' for key, value in about.items())}.",
        "",
        "| row | claim | asked | reached | met |",
        "|---|---|---|---|---|",
        *(f"| {k} | {c.claim} | {c.asked} | {c.reached} | {c.verdict} |" for k, c in claims.items()),
    ]
    for name, claim in claims.items():
        if claim.table or claim.panels:
            lines += ["", f"## {name}: {claim.claim}", "", *claim.table]
        if claim.panels and out is not None:
            picture = out.with_name(f"{out.stem}_{name}.png")
            draw(claim.panels, picture)
            lines += ["", f"![{claim.claim}]({picture.name})"]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the rows, print the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS), help="rows, separated by commas")
    parser.add_argument("--smoke", action="store_true", help="tiny problems")
    parser.add_argument("--report", action="store_true", help="run nothing, read the JSONL file")
    parser.add_argument("--out", type=Path, help="the .md file; records and figures go beside it")
    options = parser.parse_args(arguments)
    wanted = [name.strip() for name in options.only.split(",")]
    unknown = [name for name in wanted if name not in ROWS]
    if unknown:
        parser.error(f"--only names {', '.join(unknown)}; the rows are {', '.join(ROWS)}")
    out = options.out or (None if options.smoke else RESULTS / "lambda_claims.md")
    if options.report and out is None:
        parser.error("--report needs a file that was written: pass --out")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    about, records = ({}, {}) if out is None else read(out.with_suffix(".jsonl"))
    if not options.report:
        about = machine()
        with threadpool_limits(1, user_api="blas"):
            for name in wanted:
                start = time.process_time()
                found = ROWS[name](options.smoke)
                seconds = round(time.process_time() - start, 1)
                print(f"{name}  {found.verdict:7s} {found.reached}  ({seconds:.1f} s)", flush=True)
                met = None if found.met is None else bool(found.met)
                records[name] = {"row": name, "seconds": seconds, **asdict(found), "met": met}
                if out is not None:
                    lines = [about, *(records[key] for key in ROWS if key in records)]
                    text = "".join(json.dumps(line, default=float) + "\n" for line in lines)
                    out.with_suffix(".jsonl").write_text(text, encoding="utf-8")
    text = report(about, records, out)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if options.report or out is None:
        print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
