#!/usr/bin/env python3
"""Draws what a run found as bench/speed.svg: CPU per request of every proxy as a share of nginx's, by column, with the least
and the most of the rounds. Needs matplotlib, which `bench/tools.sh` gets."""

import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import FixedLocator, NullLocator  # noqa: E402

from table import GOALS, TITLES, shares  # noqa: E402

# Mark and colour of each.
MARKS = {
    "headgate": ("o", "tab:red"), "haproxy": ("s", "tab:blue"), "envoy": ("^", "tab:orange"), "caddy": ("D", "tab:green"),
    "traefik": ("v", "tab:purple"),
}
TICKS = [0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15]


def main(found, picture):
    results = json.loads(pathlib.Path(found).read_text(encoding="utf-8"))
    stage = results["stages"][0]
    columns = list(stage["columns"])
    # The same picture of the same figures.
    matplotlib.rcParams.update({"svg.hashsalt": "headgate", "svg.fonttype": "none", "font.size": 10})
    figure, axes = pyplot.subplots(figsize=(9, 0.42 * len(columns) + 1.6), layout="constrained")
    for peer in MARKS:
        if peer in stage["peers"]:
            draw(axes, stage, columns, peer)
    for row, name in enumerate(columns):
        axes.plot([GOALS[name]] * 2, [row - 0.3, row + 0.3], color="black", linewidth=1, linestyle=":")
    axes.axvline(1, color="grey", linewidth=1)
    axes.set(xscale="log", yticks=range(len(columns)), yticklabels=[TITLES[name] for name in columns])
    axes.set_xlabel("CPU per request as a share of nginx's (less is better; dotted: the goal)")
    axes.xaxis.set(major_locator=FixedLocator(TICKS), minor_locator=NullLocator(), major_formatter="{x:g}")
    axes.invert_yaxis()
    axes.grid(axis="x", linewidth=0.3)
    figure.legend(loc="outside upper center", ncols=len(MARKS), frameon=False)
    figure.savefig(picture, metadata={"Date": None, "Creator": None})


def draw(axes, stage, columns, peer):
    rows, middles, sides = [], [], []
    for row, name in enumerate(columns):
        if found := shares(stage["columns"][name]["peers"], peer):
            middle = statistics.median(found)
            rows.append(row)
            middles.append(middle)
            sides.append((middle - min(found), max(found) - middle))
    (mark, color), first = MARKS[peer], peer == "headgate"
    axes.errorbar(
        middles, rows, xerr=list(zip(*sides)), fmt=mark, color=color, label=peer, elinewidth=1, markersize=8 if first else 5,
        zorder=3 if first else 2,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
