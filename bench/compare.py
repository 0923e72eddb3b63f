#!/usr/bin/env python3
"""CPU per proxied request: Headgate against nginx, access log on in both, in one run.

Starts a static nginx as the backend and both proxies in front of it with the same hosts, then loads them in turn with
wrk, several rounds interleaved. CPU is the user and system time of the proxy's whole process tree over the requests
that it served. Absolute figures drift with the machine; the ratio of one run is what counts.

Needs nginx and wrk (Debian: nginx-light, wrk) and a release build. Talks to loopback only.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BACKEND, NGINX, HEADGATE, ADMIN = 18081, 18082, 18083, 18084

BACKEND_CONF = """
worker_processes 1; daemon off; pid {dir}/backend.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000;
    server {{ listen 127.0.0.1:%d reuseport; location / {{ return 200 "0123456789abcdef"; }} }}
}}
""" % BACKEND

# As an expert would tune it: one listener per worker, upstream keep-alive, a buffered log.
NGINX_CONF = """
worker_processes {workers}; daemon off; pid {dir}/proxy.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    log_format main escape=json '{{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method",'
        '"host":"$host","path":"$uri","status":$status,"duration":$request_time,"upstream":"$upstream_addr",'
        '"bytes":$body_bytes_sent,"agent":"$http_user_agent","id":"$request_id"}}';
    access_log {dir}/logs/nginx.log main buffer=64k flush=1s;
    keepalive_requests 1000000; server_names_hash_max_size 262144; server_names_hash_bucket_size 128;
    upstream backend {{ server 127.0.0.1:%d; keepalive 128; keepalive_requests 1000000; }}
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Scheme $scheme;
    proxy_set_header X-Request-ID $request_id; proxy_buffering off;
    {servers}
}}
""" % BACKEND

INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: host-{n}, namespace: bench }}
spec:
  rules:
    - host: host-{n}.example
      http: {{ paths: [{{ path: /, pathType: Prefix, backend: {{ service: {{ name: app, port: {{ number: 80 }} }} }} }}] }}
---"""

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{ name: app, namespace: bench }}
spec: {{ ports: [{{ port: 80 }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: app-1, namespace: bench, labels: {{ kubernetes.io/service-name: app }} }}
addressType: IPv4
ports: [{{ port: {port} }}]
endpoints: [{{ addresses: [127.0.0.1] }}]
"""


def main():
    args = arguments()
    for tool in ("nginx", "wrk"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install nginx-light wrk")
    binary = ROOT / "target/release/headgate"
    if not binary.exists():
        sys.exit("target/release/headgate is missing: cargo build --release")
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "logs").mkdir()
        processes = []
        try:
            run(args, binary, pathlib.Path(folder), processes)
        finally:
            for process in processes:
                process.send_signal(signal.SIGKILL if process.args[0] == str(binary) else signal.SIGQUIT)
                process.wait()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--seconds", type=int, default=4, help="length of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--connections", type=int, default=64)
    return parser.parse_args()


def run(args, binary, folder, processes):
    start(processes, nginx(folder, "backend", BACKEND_CONF.format(dir=folder)))
    wait_for(BACKEND)
    print(f"{'hosts':>6} {'proxy':>9} {'us/request':>22} {'requests/s':>12}   ratio")
    for hosts in args.hosts:
        pair = [start_nginx(args, folder, hosts, processes), start_headgate(args, binary, folder, hosts, processes)]
        measured = [[], []]
        for _ in range(args.rounds):
            for (process, port), figures in zip(pair, measured):
                figures.append(measure(args, process, port, f"host-{hosts // 2}.example"))
        report(hosts, measured)
        for process, _ in pair:
            process.send_signal(signal.SIGTERM)
            process.wait()
            processes.remove(process)


def start_nginx(args, folder, hosts, processes):
    server = "server {{ listen 127.0.0.1:%d%s; server_name host-{n}.example; location / {{ proxy_pass http://backend; }} }}"
    servers = [(server % (NGINX, " reuseport" if n == 0 else "")).format(n=n) for n in range(hosts)]
    conf = NGINX_CONF.format(dir=folder, workers=args.workers, servers="\n".join(servers))
    process = start(processes, nginx(folder, "proxy", conf))
    wait_for(NGINX)
    return process, NGINX


def start_headgate(args, binary, folder, hosts, processes):
    objects = folder / "objects"
    objects.mkdir(exist_ok=True)
    (objects / "hosts.yaml").write_text("".join(INGRESS.format(n=n) for n in range(hosts)))
    (objects / "service.yaml").write_text(SERVICE.format(port=BACKEND))
    process = start(processes, [
        str(binary), "serve", "--dir", str(objects), "--bind-address", "127.0.0.1", "--http-port", str(HEADGATE),
        "--https-port", "0", "--healthz-port", str(ADMIN), "--workers", str(args.workers),
        "--access-log", str(folder / "logs/headgate.log"), "--log-level", "warn", "--shutdown-grace-period", "0s",
    ])
    wait_for(HEADGATE)
    return process, HEADGATE


def nginx(folder, name, conf):
    path = folder / f"{name}.conf"
    path.write_text(conf)
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(path)]


def start(processes, command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    processes.append(process)
    return process


def wait_for(port, path="/"):
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).read()
            return
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            sys.exit(f"nothing answers on port {port}")
        time.sleep(0.05)


def measure(args, process, port, host):
    """One round: microseconds of CPU per request, and requests per second."""
    before = cpu_seconds(process.pid)
    wrk = subprocess.run(
        ["wrk", "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "-H", f"Host: {host}", f"http://127.0.0.1:{port}/"],
        capture_output=True, text=True, check=True,
    ).stdout
    after = cpu_seconds(process.pid)
    if "Non-2xx" in wrk or "Socket errors" in wrk:
        sys.exit(f"port {port} failed requests:\n{wrk}")
    requests = int(re.search(r"(\d+) requests in", wrk)[1])
    return (after - before) / requests * 1e6, float(re.search(r"Requests/sec:\s+([\d.]+)", wrk)[1])


def cpu_seconds(pid):
    """User and system time of a process and its children."""
    ticks = 0
    for each in [pid, *children(pid)]:
        fields = pathlib.Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def report(hosts, measured):
    ratio = statistics.median(ours[0] / theirs[0] for theirs, ours in zip(*measured))
    for name, figures, note in (("nginx", measured[0], ""), ("headgate", measured[1], f"{ratio:.2f}")):
        cost = [figure[0] for figure in figures]
        rate = statistics.median(figure[1] for figure in figures)
        spread = f"{statistics.median(cost):.2f} ({min(cost):.2f}-{max(cost):.2f})"
        print(f"{hosts:>6} {name:>9} {spread:>22} {rate:>12.0f}   {note}")


if __name__ == "__main__":
    main()
