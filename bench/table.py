"""Tables in Markdown of what a run found, and where they go in a document."""

import re
import statistics

from columns import COLUMNS

TITLES = {column.name: column.title for column in COLUMNS}
GOALS = {column.name: column.goal for column in COLUMNS}

# What the README shows.
FEW = ["small", "new", "1m", "upload", "tls-h2", "handshake"]


def tables(results):
    """All tables of a run by name, in the order in which one reads them."""
    made = {"machine": of_machine(results["machine"], results["command"])}
    for stage in results["stages"]:
        where = f"{stage['hosts']} hosts, {stage['workers']} worker{'s' if stage['workers'] > 1 else ''}"
        name = f"{stage['hosts']}-{stage['workers']}"
        made[f"cpu-{name}"] = f"CPU per request, {where}\n\n" + of_cost(stage)
        made[f"rate-{name}"] = f"Requests per second at saturation, {where}\n\n" + of_rates(stage)
        made[f"latency-{name}"] = f"Latency in milliseconds, p50 / p99, {where}\n\n" + of_latency(stage)
    if (results["stages"] or [{"columns": {}}])[0]["columns"].keys() >= set(FEW):
        made["speed"] = of_few(results["stages"][0])
    for part, draw in (("growth", of_growth), ("memory", of_memory), ("headline", of_headline)):
        if part in results:
            made[part] = draw(results[part], results["machine"]["cores"])
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
        if peer == "nginx":
            return spread([round_["cpu"] for round_ in columns["nginx"]["saturation"]], "{:.1f}") + " us"
        return spread(shares(columns, peer), "{:.2f}")

    goals = ["goal of headgate", *(f"{GOALS[name]:.2f}" for name in stage["columns"])]
    return grid(stage, cell, [goals]) + reasons(stage)


def of_few(stage):
    """The same of the columns that say most."""
    found = {name: stage["columns"][name] for name in FEW}
    return of_cost({**stage, "columns": found, "peers": [peer for peer in stage["peers"] if peer != "floor"]})


def shares(columns, peer):
    """CPU per request of `peer` as a share of nginx's, round by round; empty where it has no figures."""
    rounds = columns[peer].get("saturation", [])
    return [ours["cpu"] / theirs["cpu"] for ours, theirs in zip(rounds, columns["nginx"]["saturation"])]


def reasons(stage):
    """Why places are empty."""
    empty = {}
    for name, column in stage["columns"].items():
        for peer, found in column["peers"].items():
            if "reason" in found:
                empty.setdefault((peer, found["reason"]), []).append(TITLES[name])
    told = "; ".join(f"{peer} ({', '.join(columns)}): {reason}" for (peer, reason), columns in empty.items())
    return f"\n\nEmpty: {told}." if told else ""


def of_rates(stage):
    return grid(stage, lambda columns, peer: spread([round_["rate"] for round_ in columns[peer]["saturation"]], "{:,.0f}"))


def of_latency(stage):
    """At the fixed rate, then at saturation."""
    rates = ["fixed rate", *(f"{column['rate']:,.0f}/s" for column in stage["columns"].values())]
    drawn_ = grid(stage, lambda columns, peer: f"{fixed(columns, peer)}; {quantiles(columns[peer]['saturation'])}", [rates])
    return "At half of nginx's rate of saturation (–: the rate was not held); at saturation.\n\n" + drawn_


def fixed(columns, peer):
    """A peer that cannot keep up only shows how long the load lasted."""
    wanted = statistics.median(each["rate"] for each in columns["nginx"]["saturation"]) / 2
    rounds = columns[peer]["fixed"]
    return quantiles(rounds) if statistics.median(each["rate"] for each in rounds) > 0.97 * wanted else "–"


def quantiles(rounds):
    return " / ".join(f"{statistics.median(each[name] for each in rounds) / 1000:.2f}" for name in ("p50", "p99"))


def of_growth(found, _):
    """Microseconds per request with few and many hosts, and the ratio of each round."""
    rows = [
        [TITLES[name], spread([few for few, _ in rounds], "{:.2f}"), spread([many for _, many in rounds], "{:.2f}"),
         spread([many / few for few, many in rounds], "{:.3f}")]
        for name, rounds in found.items()
    ]
    return "CPU of Headgate per request, us\n\n" + drawn(["", "10 hosts", "100,000 hosts", "ratio (goal 1.02)"], rows)


def of_memory(found, _):
    """The proportional set: what processes share counts once."""
    head = ["", "at rest, MiB", *(f"{kind}, KiB" for kind in found["peers"]["nginx"])]
    rows = []
    for peer, kinds in found["peers"].items():
        rest = statistics.median(each["rest"]["pss"] for each in kinds.values()) / (1 << 20)
        grown = [each["full"]["pss"] - each["rest"]["pss"] for each in kinds.values()]
        rows.append([peer, f"{rest:.1f}", *(f"{bytes_ / found['connections'] / 1024:.1f}" for bytes_ in grown)])
    rows = [row + [""] * (len(head) - len(row)) for row in rows]
    title = f"Memory (PSS) with {found['hosts']:,} hosts at rest, and for each of {found['connections']:,} connections"
    return f"{title}\n\n{drawn(head, rows)}"


def of_headline(found, cores):
    head = ["client", "through", "requests/s", "p50 ms", "p99 ms", "errors", "client us", "proxy us", "backend us", "its CPU allows"]
    rows = []
    for client, peers in found.items():
        for peer, rounds in peers.items():
            middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
            rows.append([
                client, peer, spread([each["rate"] for each in rounds], "{:,.0f}"), f"{middle['p50']:.2f}",
                spread([each["p99"] for each in rounds], "{:.2f}"), str(sum(each["errors"] for each in rounds)),
                *(f"{middle[who]:.1f}" for who in ("client", "proxy", "backend")),
                f"{cores * 1e6 / middle['proxy']:,.0f}/s" if middle["proxy"] else "",
            ])
    return "us: CPU per request; what it allows: if all processors were the proxy's\n\n" + drawn(head, rows)


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
