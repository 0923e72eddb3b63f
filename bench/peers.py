"""The proxies that are compared: how each is started from its template in `config/`, and what it cannot do.

The first one, nginx, is what all others are divided by. Words like @port@ are filled in; what stands between @each@ and
@end@ is repeated for every host.
"""

import base64
import os
import pathlib
import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace

from processes import Failed, Process

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = ROOT / "target/bench"
FLOOR = TARGET / "cargo/release"
PYTHON = TARGET / "python"
PORTS = {"backend": 18100, "backend_h2c": 18101, "echo": 18102}


@dataclass
class Peer:
    """A proxy: its command and its files, both with words to fill in."""

    name: str
    command: list
    configs: list
    env: dict = field(default_factory=dict)
    lacks: dict = field(default_factory=dict)
    """Columns it has no figure in, and why."""
    max_hosts: int = 100_000
    """Caddy and Traefik try one host after the other, which takes for ever with more."""
    port: int = 0
    process: Process = None

    @property
    def tls_port(self):
        return self.port + 1

    def start(self, scene):
        words = scene.words() | {"port": self.port, "tls_port": self.tls_port, "admin_port": self.port + 2}
        for config in self.configs:
            write(scene.folder, config, words, range(scene.hosts))
        command = [filled(word, words) for word in self.command]
        env = {name: filled(value, words) for name, value in self.env.items()}
        self.process = Process(self.name, command, scene.folder, env)
        self.process.wait_for(self.port, scene.host())
        self.process.wait_for(self.tls_port)


@dataclass
class Scene:
    """What all peers have in common while they are compared."""

    folder: pathlib.Path
    hosts: int
    workers: int
    binary: pathlib.Path

    def words(self):
        pem = {name: (self.folder / f"{name}.pem").read_bytes() for name in ("certificate", "key")}
        encoded = {name: base64.b64encode(text).decode() for name, text in pem.items()}
        tools = {"headgate": self.binary, "floor": FLOOR, "python": PYTHON}
        return PORTS | encoded | tools | {"folder": self.folder, "workers": self.workers}

    def apart(self, hosts):
        """The same with a folder of its own, for a second process of one peer."""
        folder = self.folder / f"{hosts}-hosts"
        for name in ("logs", "objects"):
            (folder / name).mkdir(parents=True)
        for name in ("certificate.pem", "key.pem"):
            shutil.copy(self.folder / name, folder)
        return replace(self, folder=folder, hosts=hosts)

    def host(self):
        return f"host-{self.hosts // 2}.example"


def write(folder, config, words, hosts):
    """A template of `config/`, filled in. Objects of Headgate go into several files, which may have 16 MiB each."""
    text = (HERE / "config" / config).read_text(encoding="utf-8")
    if config != "objects/hosts.yaml":
        (folder / config).write_text(filled(text, words, hosts), encoding="utf-8")
        return
    for old in (folder / "objects").glob("[0-9]*.yaml"):
        old.unlink()
    for first in hosts[::10_000]:
        (folder / f"objects/{first}.yaml").write_text(filled(text, words, hosts[first : first + 10_000]), encoding="utf-8")


def filled(text, words, hosts=()):
    for name, value in words.items():
        text = text.replace(f"@{name}@", str(value))
    return re.sub(
        r"@each@\n(.*?)@end@\n?",
        lambda each: "".join(each[1].replace("@n@", str(n)) for n in hosts),
        text,
        flags=re.DOTALL,
    )


def all_peers():
    peers = [
        Peer("nginx", ["nginx", "-p", "@folder@", "-e", "stderr", "-c", "@folder@/nginx.conf"], ["nginx.conf"]),
        Peer(
            "headgate",
            ["@headgate@", "serve", "--dir", "@folder@/objects", "--bind-address", "127.0.0.1",
             "--http-port", "@port@", "--https-port", "@tls_port@", "--healthz-port", "@admin_port@",
             "--workers", "@workers@", "--access-log", "@folder@/logs/headgate.log", "--log-level", "warn",
             "--ssl-redirect=false", "--hsts=false", "--backend-idle-timeout", "600s", "--shutdown-grace-period", "0s",
             "--drain-timeout", "1s"],
            ["objects/headgate.yaml", "objects/hosts.yaml"],
        ),
        Peer("haproxy", ["haproxy", "-db", "-f", "@folder@/haproxy.cfg"], ["haproxy.cfg", "haproxy.map"]),
        Peer(
            "envoy",
            ["@python@/bin/envoy", "-c", "@folder@/envoy.yaml", "--concurrency", "@workers@", "--disable-hot-restart",
             "--file-flush-interval-msec", "1000", "--log-level", "error"],
            ["envoy.yaml"],
        ),
        Peer(
            "caddy", ["@python@/bin/caddy", "run", "--config", "@folder@/Caddyfile"], ["Caddyfile"], {"GOMAXPROCS": "@workers@"},
            {"refused": "no rate limits without plugins"}, 1000,
        ),
        Peer(
            "traefik", ["@python@/bin/traefik", "--configFile=@folder@/traefik.yaml"], ["traefik.yaml", "traefik-hosts.yaml"],
            {"GOMAXPROCS": "@workers@"}, max_hosts=1000,
        ),
        Peer(
            "floor",
            ["@floor@/floor", "--plain", "127.0.0.1:@port@", "--tls", "127.0.0.1:@tls_port@", "--workers", "@workers@",
             "--backend", "127.0.0.1:@backend@", "--upload", "127.0.0.1:@echo@",
             "--certificate", "@folder@/certificate.pem", "--key", "@folder@/key.pem"],
            [],
            lacks=dict.fromkeys(["websocket", "h2c", "refused"], "it only forwards"),
            max_hosts=1000,
        ),
    ]
    for number, peer in enumerate(peers):
        peer.port = 18110 + 10 * number
    return peers


def prepare(folder):
    """What peers and backend read: a certificate of ECDSA P-256, and files to answer with."""
    for name in ("logs", "files", "objects"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, size in {"10k": 10 << 10, "1m": 1 << 20}.items():
        (folder / "files" / name).write_bytes(os.urandom(size))
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:*.example", "-keyout", folder / "key.pem",
         "-out", folder / "certificate.pem"],
        capture_output=True, text=True, check=False,
    )
    if made.returncode:
        raise Failed(f"no certificate: {made.stderr}")
    pem = [(folder / name).read_text(encoding="utf-8") for name in ("certificate.pem", "key.pem")]
    (folder / "haproxy.pem").write_text("".join(pem), encoding="utf-8")


def backends(folder):
    """The backends of all peers, started."""
    write(folder, "backend.conf", PORTS | {"folder": folder}, ())
    app = Process("backend", ["nginx", "-p", folder, "-e", "stderr", "-c", folder / "backend.conf"], folder)
    echo = Process("echo", [FLOOR / "echo", f"127.0.0.1:{PORTS['echo']}"], folder)
    for process, port in ((app, "backend"), (app, "backend_h2c"), (echo, "echo")):
        process.wait_for(PORTS[port], seconds=20)
    return [app, echo]
