"""What users run first: `wrk -t12 -c400 -d30s` and `hey -z 30s -c 100` against a proxy as it ships, and who of client, proxy
and backend takes the processors. Headgate has no flag but for its ports and its folder; nginx is as in all other tables."""

import os
import re
import subprocess

from peers import PORTS, TARGET, Peer, all_peers
from processes import Failed

UNITS = {"us": 1e-3, "ms": 1, "s": 1e3}


def headline(args, scene, backend):
    """By client and proxy, round by round; the backend alone tells what the clients can do at all."""
    nginx = all_peers()[0]
    shipped = Peer(
        "headgate",
        ["@headgate@", "serve", "--dir", "@folder@/headline.yaml", "--bind-address", "127.0.0.1",
         "--http-port", "@port@", "--https-port", "@tls_port@", "--healthz-port", "@admin_port@"],
        ["headline.yaml"], port=nginx.port + 10,
    )
    alone = Peer("backend alone", [], [], port=PORTS["backend"])
    found = {}
    try:
        for peer in (nginx, shipped):
            peer.start(scene)
        for client in clients():
            for _ in range(args.headline_rounds):
                for peer in (nginx, shipped, alone):
                    measured = run(client, peer, scene, backend, args.headline_seconds)
                    found.setdefault(client, {}).setdefault(peer.name, []).append(measured)
    finally:
        for peer in (nginx, shipped):
            if peer.process:
                peer.process.stop()
    return found


def clients():
    return ["wrk", *(["hey"] if (TARGET / "go/hey").exists() else [])]


def run(client, peer, scene, backend, seconds):
    url, host = f"http://127.0.0.1:{peer.port}/small", scene.host()
    command = {
        "wrk": ["wrk", "-t12", "-c400", f"-d{seconds}s", "--latency", "-H", f"Host: {host}", url],
        "hey": [TARGET / "go/hey", "-z", f"{seconds}s", "-c", "100", "-host", host, url],
    }[client]
    before = backend.cpu(), peer.process.cpu() if peer.process else 0
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    after = backend.cpu(), peer.process.cpu() if peer.process else 0
    report = (of_wrk if client == "wrk" else of_hey)(said)
    if report["requests"] == 0:
        raise Failed(f"{client} through {peer.name}:\n{said}")
    share = 1e6 / report["requests"]
    report["client"] = (usage.ru_utime + usage.ru_stime) * share
    report["backend"], report["proxy"] = ((late - early) * share for late, early in zip(after, before))
    return report


def of_wrk(said):
    errors = sum(int(count) for line in re.findall(r"Socket errors:(.*)", said) for count in re.findall(r"\d+", line))
    errors += sum(int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", said))
    quantiles = {name: float(value) * UNITS[unit] for name, value, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s)\b", said)}
    return {
        "requests": int((re.search(r"(\d+) requests in", said) or [0, 0])[1]),
        "rate": float((re.search(r"Requests/sec:\s+([\d.]+)", said) or [0, 0])[1]),
        "p50": quantiles.get("50", 0), "p99": quantiles.get("99", 0), "errors": errors,
    }


def of_hey(said):
    statuses = {status: int(count) for status, count in re.findall(r"\[(\d{3})\]\s+(\d+) responses", said)}
    errors = sum(int(count) for count in re.findall(r"\[(\d+)\]\s+\w+ .*http", said.partition("Error distribution:")[2]))
    quantiles = {name: float(value) * 1000 for name, value in re.findall(r"(\d+)%+ in ([\d.]+) secs", said)}
    return {
        "requests": sum(statuses.values()),
        "rate": float((re.search(r"Requests/sec:\s+([\d.]+)", said) or [0, 0])[1]),
        "p50": quantiles.get("50", 0), "p99": quantiles.get("99", 0),
        "errors": errors + sum(count for status, count in statuses.items() if status != "200"),
    }
