"""Tables in Markdown of what a run found, and where they go in a document."""

import re
import statistics

from columns import COLUMNS

TITLES = {column.name: column.title for column in COLUMNS}
GOALS = {column.name: column.goal for column in COLUMNS}


def tables(results):
    """All tables of a run by name, in the order in which one reads them."""
    made = {"machine": of_machine(results["machine"], results["command"])}
    for stage in results["stages"]:
        where = f"{stage['hosts']} hosts, {stage['workers']} worker{'s' if stage['workers'] > 1 else ''}"
        name = f"{stage['hosts']}-{stage['workers']}"
        made[f"cpu-{name}"] = f"CPU per request, {where}\n\n" + of_cost(stage)
        made[f"rate-{name}"] = f"Requests per second at saturation, {where}\n\n" + of_rates(stage)
        made[f"latency-{name}"] = f"Latency in milliseconds, p50 / p99, {where}\n\n" + of_latency(stage)
    return made


def of_machine(machine, command):
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, Linux {machine['kernel']}; load before the run "
        f"{machine['load before']:.2f}. Commit {machine['commit']}; {versions}.\n\n    {command}"
    )


def of_cost(stage):
    """nginx in microseconds, all others as shares of it: the median of the rounds, with the least and the most."""

    def cell(columns, peer):
        first = columns["nginx"]["saturation"]
        if peer == "nginx":
            return spread([round_["cpu"] for round_ in first], "{:.1f}") + " us"
        return spread([ours["cpu"] / theirs["cpu"] for ours, theirs in zip(columns[peer]["saturation"], first)], "{:.2f}")

    goals = ["goal of headgate", *(f"{GOALS[name]:.2f}" for name in stage["columns"])]
    return grid(stage, cell, [goals])


def of_rates(stage):
    return grid(stage, lambda columns, peer: spread([round_["rate"] for round_ in columns[peer]["saturation"]], "{:,.0f}"))


def of_latency(stage):
    """At the fixed rate, then at saturation."""

    def cell(columns, peer):
        kinds = [kind for kind in ("fixed", "saturation") if columns[peer].get(kind)]
        return "; ".join(quantiles(columns[peer][kind]) for kind in kinds)

    rates = ["fixed rate", *(f"{found['rate']:,.0f}/s" if found.get("rate") else "" for found in stage["columns"].values())]
    return "At half of nginx's rate of saturation; at saturation.\n\n" + grid(stage, cell, [rates])


def quantiles(rounds):
    return " / ".join(f"{statistics.median(each[name] for each in rounds) / 1000:.2f}" for name in ("p50", "p99"))


def spread(figures, form):
    middle, least, most = (form.format(pick(figures)) for pick in (statistics.median, min, max))
    return f"{middle} ({least}–{most})" if len(figures) > 1 else middle


def grid(stage, cell, more=()):
    rows = []
    for peer in stage["peers"]:
        row = [peer]
        for column in stage["columns"].values():
            row.append(cell(column["peers"], peer) if "saturation" in column["peers"].get(peer, {}) else "")
        rows.append(row)
    return drawn(["", *(TITLES[name] for name in stage["columns"])], [*rows, *more])


def drawn(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fill(document, made):
    """Puts tables between their markers."""
    text = document.read_text(encoding="utf-8")
    for name, table in made.items():
        text = re.sub(
            rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL
        )
    document.write_text(text, encoding="utf-8")
