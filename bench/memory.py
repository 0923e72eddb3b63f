"""Memory of each peer at rest, and what a connection adds: idle after a request, idle over TLS, in the middle of an answer."""

import subprocess

from columns import Column
from loads import load, wrong
from peers import FLOOR, all_peers

CONNECTIONS = 1000
WARM = Column("warm", "first requests", connections=1)
KINDS = {
    "idle": ["--hold", "idle", "--path", "/small"],
    "idle, TLS": ["--hold", "idle", "--path", "/small", "--tls"],
    "active": ["--hold", "half", "--path", "/half"],
}


def memory(chosen, scene):
    """By peer and kind: bytes at rest and with the connections, in a process of its own each time."""
    found = {}
    for peer in all_peers():
        if peer.name in chosen:
            found[peer.name] = {kind: held(peer, scene, kind) for kind in KINDS if kind != "active" or peer.name != "floor"}
    return {"connections": CONNECTIONS, "hosts": scene.hosts, "peers": found}


def held(peer, scene, kind):
    peer.start(scene)
    try:
        load(peer, WARM, scene, 1)
        rest = peer.process.memory()
        tls = "--tls" in KINDS[kind]
        command = [
            FLOOR / "load", "--address", f"127.0.0.1:{peer.tls_port if tls else peer.port}",
            "--host", "echo.example" if kind == "active" else scene.host(), "--connections", str(CONNECTIONS), *KINDS[kind],
        ]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = client.stdout.readline()
        full = peer.process.memory()
        said += client.communicate()[0]
        if client.returncode or not said.startswith("held"):
            raise wrong(peer, Column(kind, kind), said)
        return {"rest": rest, "full": full}
    finally:
        peer.process.stop()
