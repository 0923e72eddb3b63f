#!/usr/bin/env python3
"""Headgate against other proxies, in one run: same machine, same backend, same load, one after the other in every round.

Starts all peers of `peers.py`, tries every column of `columns.py` on each, and ends there if one answers otherwise than it
has to. Then each round loads one peer after the other as fast as it goes, and further rounds at half of the rate that
nginx had. CPU is user and system time of a proxy's whole process tree over the requests that were answered. Absolute
figures drift with the machine; the ratios of one run are what counts. All is kept in target/bench. Talks to loopback only.

`bench/tools.sh` gets what this needs; `make bench` and `make bench-quick` run both.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys

from columns import COLUMNS
from growth import growth
from headline import headline
from loads import load
from machine import machine
from memory import memory
from peers import ROOT, TARGET, Scene, all_peers, backends, prepare
from processes import Failed
from table import fill, tables

PARTS = ["table", "growth", "memory", "headline"]


def main():
    args = arguments()
    folder = TARGET / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    results = {"command": shlex.join(["bench/run.py", *sys.argv[1:]]), "machine": machine(args.binary), "stages": []}
    started = []
    try:
        prepare(folder)
        started += backends(folder)
        measure(args, Scene(folder, 1000, 1, args.binary), started[0], results)
    except Failed as failed:
        sys.exit(f"FAILED: {failed}")
    finally:
        for process in started:
            process.stop()


def measure(args, scene, backend, results):
    """All parts that were asked for, each of which is kept when it is done."""
    if "table" in args.parts:
        for hosts, workers, columns in stages(args):
            own = dataclasses.replace(scene, hosts=hosts, workers=workers)
            results["stages"].append(stage(args, own, columns))
            keep(args, results)
    if "growth" in args.parts:
        say("growth with hosts")
        results["growth"] = growth(args, scene)
        keep(args, results)
    if "memory" in args.parts:
        say("memory")
        results["memory"] = memory(args.peers, scene)
        keep(args, results)
    if "headline" in args.parts:
        say("headline")
        cores = len(os.sched_getaffinity(0))
        results["headline"] = headline(args, dataclasses.replace(scene, hosts=1, workers=cores), backend)
        keep(args, results)


def arguments():
    names, peers = [column.name for column in COLUMNS], [peer.name for peer in all_peers()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few columns and rounds, in under 3 minutes")
    parser.add_argument("--binary", type=pathlib.Path, default=os.environ.get("HEADGATE", ROOT / "target/release/headgate"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="default: all; with --quick: table")
    parser.add_argument("--peers", nargs="+", choices=peers, default=peers, help="besides nginx")
    parser.add_argument("--columns", nargs="+", choices=names)
    parser.add_argument("--hosts", type=int, nargs="+", help="with --workers: these, in place of the usual stages")
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="length of one round")
    parser.add_argument("--headline-rounds", type=int, default=3)
    parser.add_argument("--headline-seconds", type=int, default=30)
    parser.add_argument("--fill", action="store_true", help="put the tables into bench/RESULTS.md and the README, and draw bench/speed.svg")
    args = parser.parse_args()
    args.parts = args.parts or (["table"] if args.quick else PARTS)
    args.peers = [peer for peer in peers if peer in ["nginx", *args.peers]]
    if args.quick:
        args.rounds, args.seconds = 2, 1
        args.columns = args.columns or ["small", "new", "1m", "tls-h2", "handshake"]
        args.hosts, args.workers = args.hosts or [1000], args.workers or [1]
    return args


def stages(args):
    """Hosts, workers and columns that are measured together."""
    chosen = [column for column in COLUMNS if not args.columns or column.name in args.columns]
    if args.hosts or args.workers:
        return [(hosts, workers, chosen) for hosts in args.hosts or [1000] for workers in args.workers or [1]]
    few = [column for column in chosen if column.name in ("small", "new", "handshake")]
    return [(1000, 1, chosen), (1000, 2, chosen), (10, 1, few), (100_000, 1, few)]


def stage(args, scene, columns):
    peers = [peer for peer in all_peers() if peer.name in args.peers and scene.hosts <= peer.max_hosts]
    try:
        for peer in peers:
            say(f"{scene.hosts} hosts, {scene.workers} workers: {peer.name} starts")
            peer.start(scene)
        for column in columns:
            for peer in able(peers, column):
                load(peer, column, scene, 0.2)
        found = {column.name: measured(args, scene, column, peers) for column in columns}
        return {"hosts": scene.hosts, "workers": scene.workers, "peers": [peer.name for peer in peers], "columns": found}
    finally:
        for peer in peers:
            if peer.process:
                peer.process.stop()


def able(peers, column):
    return [peer for peer in peers if column.name not in peer.lacks]


def measured(args, scene, column, peers):
    """Rounds of one column over all peers, each round beginning with another one."""
    found = {peer.name: {"reason": peer.lacks[column.name]} for peer in peers if column.name in peer.lacks}
    peers = able(peers, column)
    found |= {peer.name: {"saturation": [], "fixed": []} for peer in peers}
    rate = None
    for kind, rounds in (("saturation", args.rounds), ("fixed", (args.rounds + 1) // 2)):
        for number in range(rounds):
            say(f"{scene.hosts} hosts, {scene.workers} workers: {column.title}, {kind}, round {number + 1}")
            for peer in peers[number % len(peers):] + peers[:number % len(peers)]:
                found[peer.name][kind].append(load(peer, column, scene, args.seconds, rate))
        rate = statistics.median(each["rate"] for each in found["nginx"]["saturation"]) / 2
    return {"rate": rate, "peers": found}


def keep(args, results):
    """Writes what is known so far, and prints the tables that are new."""
    name = "quick" if args.quick else "results"
    made = tables(results)
    found = TARGET / f"{name}.json"
    found.write_text(json.dumps(results, indent=1), encoding="utf-8")
    (TARGET / f"{name}.md").write_text("\n\n".join(made.values()) + "\n", encoding="utf-8")
    print("", *(table for title, table in made.items() if title not in results.get("shown", ())), sep="\n\n", flush=True)
    results["shown"] = list(made)
    if args.fill:
        fill(ROOT / "bench/RESULTS.md", made)
        fill(ROOT / "README.md", made)
        if "speed" in made:
            subprocess.run([TARGET / "python/bin/python", ROOT / "bench/plot.py", found, ROOT / "bench/speed.svg"], check=True)


def say(text):
    """Where we are: a line of a terminal, or of a log."""
    print(*(("\r\033[K", text) if sys.stderr.isatty() else (text, "\n")), sep="", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
