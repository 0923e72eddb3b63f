#!/usr/bin/env python3
"""Instructions that a request costs the proxy, counted by callgrind, against the budget in instructions.json.

Counts do not depend on what else the machine does, so that a slower request path fails a build and noise does not. They
are of all threads, with 10 hosts, limits, metrics and the access log on: what several runs differ by, over what they
differ by in requests, of a build with names (`cargo build --profile counted`). Up to 5 % above the budget passes.
`--record` writes what was counted as the new budget; `--keep FOLDER` leaves a profile for callgrind_annotate.
"""

import argparse
import json
import pathlib
import re
import socket
import socketserver
import ssl
import sys
import tempfile
import threading

from peers import HERE, PORTS, ROOT, Peer, Scene, prepare
from processes import Failed

BUDGET = HERE / "instructions.json"
ABOVE = 1.05
FEW, MANY = 100, 1100
HOST = "host-5.example"
FIELDS = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "en-GB,en;q=0.9,de;q=0.8",
    "cookie": "session=5f0c2c1b9f6e4c0e8d7a6b5c4d3e2f10; basket=17; consent=all; theme=dark",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--keep", type=pathlib.Path)
    args = parser.parse_args()
    backend = Backend(("127.0.0.1", 0), Answer)
    PORTS["backend"] = backend.server_address[1]
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(pathlib.Path(folder), 10, 1, ROOT / "target/counted/headgate")
        prepare(scene.folder)
        try:
            base = counted(scene, args.keep, {})
            found = {name: (counted(scene, args.keep, {name: MANY}) - base) // (MANY - FEW) for name in KINDS}
        except Failed as failed:
            sys.exit(f"FAILED: {failed}")
    if args.record:
        BUDGET.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    budget = json.loads(BUDGET.read_text(encoding="utf-8"))
    for name, count in found.items():
        print(f"{name:10} {count:8,} instructions a request, budget {budget[name]:8,}")
    over = [name for name, count in found.items() if count > ABOVE * budget[name]]
    if over:
        sys.exit(f"FAILED: over the budget: {', '.join(over)}. See where it goes: bench/instructions.py --keep FOLDER")


def counted(scene, keep, requests):
    """Instructions of a process that serves so many requests of each kind."""
    out = (keep or scene.folder) / f"callgrind.{'-'.join(requests) or 'base'}"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "@headgate@", "serve", "--dir", "@folder@/objects",
               "--bind-address", "127.0.0.1", "--http-port", "@port@", "--https-port", "@tls_port@", "--healthz-port",
               "@admin_port@", "--workers", "1", "--access-log", "@folder@/logs/headgate.log", "--ssl-redirect=false",
               "--shutdown-grace-period", "0s", "--drain-timeout", "1s"]
    peer = Peer("headgate", command, ["objects/headgate.yaml", "objects/hosts.yaml"], port=18210)
    peer.start(scene)
    try:
        for name, (client, port) in KINDS.items():
            client(peer.port + port, requests.get(name, FEW))
    finally:
        peer.process.stop(60)
    said = re.findall(r"Collected : (\d+)", peer.process.said())
    if not said:
        raise Failed(f"callgrind says nothing:\n{peer.process.said()}")
    peer.process.output.unlink()
    return int(said[-1])


class Backend(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Answer(socketserver.StreamRequestHandler):
    """Answers each request of a connection, whose body it reads, with 16 bytes."""

    disable_nagle_algorithm = True

    def handle(self):
        while head := b"".join(iter(self.rfile.readline, b"\r\n")):
            length = re.search(rb"content-length: (\d+)", head.lower())
            self.rfile.read(int(length[1]) if length else 0)
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n0123456789abcdef")


def http1(body=b""):
    line = f"POST /catalogue HTTP/1.1\r\ncontent-length: {len(body)}" if body else "GET /catalogue?page=3 HTTP/1.1"
    head = "\r\n".join([line, f"host: {HOST}", *(f"{name}: {value}" for name, value in FIELDS.items()), "", ""])
    return head.encode() + body


def one_by_one(stream, requests, message):
    for _ in range(requests):
        stream.sendall(message)
        answer = b""
        while not answer.endswith(b"0123456789abcdef"):
            more = stream.recv(65536)
            if not more:
                raise Failed(f"the answer ends: {answer}")
            answer += more
        if not answer.startswith(b"HTTP/1.1 200 OK\r\n"):
            raise Failed(f"not 200: {answer}")


def plain(port, requests, message=http1()):
    with connected(port) as stream:
        one_by_one(stream, requests, message)


def upload(port, requests):
    plain(port, requests, http1(b"x" * 10240))


def tls(port, requests):
    with over_tls(port, "http/1.1") as stream:
        one_by_one(stream, requests, http1())


def http2(port, requests):
    """Frames by hand: RFC 9113, with fields as literals without an index (RFC 7541)."""
    fields = {":method": "GET", ":scheme": "https", ":authority": HOST, ":path": "/catalogue?page=3"} | FIELDS
    block = b"".join(b"\0" + b"".join(integer(len(text)) + text.encode() for text in field) for field in fields.items())
    with over_tls(port, "h2") as stream:
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(8, 0, 0, (1 << 24).to_bytes(4, "big")))
        read = stream.makefile("rb")
        for number in range(requests):
            stream.sendall(frame(1, 5, 1 + 2 * number, block))
            while True:
                head = read.read(9)
                payload = read.read(int.from_bytes(head[:3], "big"))
                if head[3] in (3, 7) or head[3] == 1 and payload[:1] != b"\x88":
                    raise Failed(f"not 200: frame {head} {payload}")
                if head[3] == 4 and not head[4]:
                    stream.sendall(frame(4, 1, 0, b""))
                if head[3] in (0, 1) and head[4] & 1:
                    break


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def integer(number):
    return bytes([number]) if number < 127 else bytes([127, number - 127])


def connected(port):
    stream = socket.create_connection(("127.0.0.1", port), timeout=60)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def over_tls(port, protocol):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(connected(port), server_hostname=HOST)


KINDS = {"get": (plain, 0), "upload": (upload, 0), "tls": (tls, 1), "http2": (http2, 1)}

if __name__ == "__main__":
    main()
