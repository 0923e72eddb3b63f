"""Starts and ends processes, waits until they answer, and reads what they have taken."""

import os
import pathlib
import signal
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The run cannot go on: something did not start, or did not answer as it has to."""


class Process:
    """A process with all its children; its output goes to a file, and is shown if it fails."""

    def __init__(self, name, command, folder, env=None):
        self.name = name
        self.output = folder / f"logs/{name}.out"
        try:
            with open(self.output, "ab") as output:
                self.child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | (env or {}))
        except OSError as error:
            raise Failed(f"{name} does not start: {error}") from None

    def wait_for(self, port, host=None, seconds=300):
        """Until the port is open, or until a small request for a host is answered with 200."""
        deadline = time.monotonic() + seconds
        while not answers(port, host):
            if self.child.poll() is not None:
                raise Failed(f"{self.name} ended with {self.child.returncode}:\n{self.said()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} does not answer on {port} after {seconds} s:\n{self.said()}")
            time.sleep(0.05)

    def said(self):
        return self.output.read_text(encoding="utf-8", errors="replace")[-2000:]

    def stop(self, seconds=5):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            for pid in self.tree():
                os.kill(pid, signal.SIGKILL)
            self.child.wait()

    def tree(self):
        """The process and all that it started."""
        found = [self.child.pid]
        for pid in found:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu(self):
        """Seconds of user and system time."""
        ticks = 0
        for pid in self.tree():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK

    def memory(self):
        """Bytes: the proportional share of what is mapped, and what is resident."""
        pss = rss = 0
        for pid in self.tree():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name == "Pss":
                    pss += int(rest.split()[0]) * 1024
                elif name == "Rss":
                    rss += int(rest.split()[0]) * 1024
        return {"pss": pss, "rss": rss}


def answers(port, host):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
            if host is None:
                return True
            stream.sendall(f"GET /small HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return stream.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False
