"""Puts a load on a peer, and judges what came back: an answer that is not the expected one ends the run."""

import json
import os
import re
import subprocess
from collections import Counter

from peers import FLOOR
from processes import Failed

H2_CONNECTIONS = 8


def load(peer, column, scene, seconds, rate=None):
    """What the client reports, with `cpu` of the peer in microseconds per request, and the requests per second.

    Logs are emptied: those of a whole run would fill the disk.
    """
    report = (h2load if column.h2 else own)(peer, column, scene, seconds, rate)
    report["cpu"] = report["cpu"] / report["requests"] * 1e6
    report["rate"] = report["requests"] / report["seconds"]
    judge(peer, column, report)
    for log in peer.process.output.parent.glob(f"{peer.name}.*"):
        os.truncate(log, 0)
    return report


def own(peer, column, scene, seconds, rate):
    command = [
        FLOOR / "load", "--address", f"127.0.0.1:{peer.tls_port if column.tls else peer.port}",
        "--host", column.host or scene.host(), "--path", column.path, "--bytes", str(column.bytes),
        "--connections", str(column.connections), "--seconds", str(seconds), *column.options,
    ]
    command += ["--tls"] if column.tls else []
    command += ["--rate", str(rate)] if rate else []
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ready = client.stdout.readline()
    before = peer.process.cpu()
    out, err = client.communicate("\n") if ready == "ready\n" else client.communicate()
    after = peer.process.cpu()
    if client.returncode:
        raise wrong(peer, column, out + err)
    return json.loads(out) | {"cpu": after - before}


def h2load(peer, column, scene, seconds, rate):
    """HTTP/2 by h2load, which logs each answer. Its figures for a fixed rate count from when a request was sent."""
    host, log = column.host or scene.host(), scene.folder / "logs/h2load.out"
    log.unlink(missing_ok=True)
    command = [
        "h2load", "-c", str(H2_CONNECTIONS), "-m", str(column.connections // H2_CONNECTIONS), "-D", str(max(1, round(seconds))),
        "--groups=X25519", "--tls13-ciphers=TLS_AES_128_GCM_SHA256", f"--log-file={log}",
        f"--connect-to=127.0.0.1:{peer.tls_port}", "-H", f":authority: {host}", f"https://{host}:{peer.tls_port}{column.path}",
    ]
    command += [f"--rps={rate / H2_CONNECTIONS}"] if rate else []
    before = peer.process.cpu()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    cpu = peer.process.cpu() - before
    if done.returncode or "Application protocol: h2" not in done.stdout or "Server Temp Key: X25519" not in done.stdout:
        raise wrong(peer, column, done.stdout + done.stderr)
    lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    statuses = Counter(line[1] for line in lines)
    data = int(re.search(r"\((\d+)\) data$", done.stdout, re.MULTILINE)[1])
    if set(statuses) != {"200"} or abs(data / column.bytes - len(lines)) > column.connections:
        raise wrong(peer, column, f"{statuses}, {data} bytes of bodies\n{done.stdout}")
    latencies = sorted(int(line[2]) for line in lines)
    return {
        "requests": len(lines), "seconds": max(1, round(seconds)), "statuses": statuses, "cpu": cpu, "handshakes": 0, "resumed": 0,
        "unsent": 0, "p50": at(latencies, 0.5), "p99": at(latencies, 0.99), "max": latencies[-1],
    }


def at(ordered, share):
    return ordered[round((len(ordered) - 1) * share)]


def wrong(peer, column, said):
    return Failed(f"{peer.name}, {column.title}: {said}\n{peer.process.said()}")


def judge(peer, column, report):
    """What the clients leave open: shares of what may come, and how many handshakes."""
    refused = sum(count for status, count in report["statuses"].items() if status in ("429", "503"))
    if column.refused and refused < 0.99 * report["requests"]:
        raise wrong(peer, column, f"only {refused} of {report['requests']} requests were refused")
    if column.resumed and report["resumed"] < 0.99 * report["handshakes"]:
        raise wrong(peer, column, f"only {report['resumed']} of {report['handshakes']} sessions were resumed")
    if not column.resumed and report["resumed"]:
        raise wrong(peer, column, "sessions were resumed where full handshakes were asked for")
