#!/usr/bin/env python3
"""Runs every test that tests/hostile/cases.yaml names and prints which cases held. Fails if one did not. With names of test
targets as arguments, only their tests: cases that others show as well are then left out."""

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
CASE = re.compile(r'^  ([A-Z0-9]+-\d+): \{ case: (.*?), (shown|not): (.*) \}$')


def cases():
    """The groups of the list: each a title and its cases as (id, what, tests or None, reason)."""
    groups = []
    for line in (HERE / "cases.yaml").read_text().splitlines():
        if match := CASE.match(line):
            case, what, key, value = match.groups()
            named = re.findall(r'"([^"]+)"', value) if key == "shown" else None
            groups[-1][1].append((case, what, named, value.strip('"')))
        elif line and line[0] not in "# ":
            groups.append((line.rstrip(":"), []))
    return groups


def run(target, names):
    """Outcome by test, of tests of one target, each alone and where time counts optimised: what is measured must not disturb
    another. A golden fixture is
    one of many that one test goes through."""
    option = ["--lib"] if target == "lib" else ["--test", target]
    profile = ["--release"] if target in ("soak", "hostile") else []
    names = [] if target == "golden" else ["--exact", *names]
    command = ["cargo", "test", "--locked", *profile, *option, "--", "--test-threads=1", "--nocapture", *names]
    print("::", *command[:7], f"({len(names)} tests)" if names else "", file=sys.stderr, flush=True)
    began = time.monotonic()
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOSTILE_LONG": "1", "E2E_LONG": "1"})
    print(f"   {(time.monotonic() - began) / 60:.0f} minutes, exit code {run.returncode}", file=sys.stderr, flush=True)
    # What a test prints stands between its name and its outcome.
    outcomes, figures = {}, {}
    for name, said, outcome in re.findall(r"^test (\S+) \.\.\. (.*?)(ok|FAILED|ignored)$", run.stdout, re.MULTILINE | re.DOTALL):
        outcomes[name] = outcome == "ok"
        figures[name] = " ".join(line for line in said.splitlines() if line.startswith("p99 "))
    # What a test prints may look like an outcome; the list at the end does not err.
    failed = set(re.findall(r"^    (\S+)$", run.stdout.rpartition("\nfailures:\n")[2], re.MULTILINE))
    whole = run.returncode == 0
    outcomes = {name: ok and (whole or bool(failed) and name not in failed) for name, ok in outcomes.items()}
    return whole, outcomes, figures, run.stdout + run.stderr


def main():
    groups = cases()
    wanted = defaultdict(set)
    for _, rows in groups:
        for _, _, tests, _ in rows:
            for test in tests or []:
                target, name = test.split("::", 1)
                wanted[target].add(name)
    if only := set(sys.argv[1:]):
        wanted = {target: names for target, names in wanted.items() if target in only}
        shown = lambda tests: tests and all(test.split("::", 1)[0] in only for test in tests)
        groups = [(title, [row for row in rows if shown(row[2])]) for title, rows in groups]
    results, measured = {}, {}
    for target, names in sorted(wanted.items()):
        whole, outcomes, figures, log = run(target, sorted(names))
        for name in names:
            # Targets of one file have no modules.
            held = whole if target == "golden" else outcomes.get(name, False)
            results[f"{target}::{name}"] = held
            measured[f"{target}::{name}"] = figures.get(name, "")
        if not whole:
            print(log[-20_000:], file=sys.stderr, flush=True)
    count = defaultdict(int)
    for title, rows in groups:
        print(f"\n{title}")
        for case, what, tests, reason in rows:
            if tests is None:
                verdict, note = "not applicable", reason
            else:
                failed = [test for test in tests if not results[test]]
                verdict = "NOT HELD" if failed else "held"
                note = ", ".join(failed) or "; ".join(filter(None, (measured[test] for test in tests)))
            count[verdict] += 1
            print(f"  {case:8} {verdict:14} {what}" + (f" ({note})" if note else ""))
    print(f"\n{count['held']} held, {count['NOT HELD']} not held, {count['not applicable']} not applicable")
    if count["NOT HELD"]:
        sys.exit(1)


main()
