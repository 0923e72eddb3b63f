"""What was measured on, and with which versions."""

import os
import pathlib
import re
import subprocess

from peers import ROOT, TARGET


def machine(binary):
    return {
        "processor": found(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text()),
        "cores": len(os.sched_getaffinity(0)),
        "memory": found(r"MemTotal:\s*(.*)", pathlib.Path("/proc/meminfo").read_text()),
        "kernel": os.uname().release,
        "load before": os.getloadavg()[0],
        "commit": said(["git", "-C", ROOT, "describe", "--always", "--dirty"]),
        "versions": {
            "nginx": version(["nginx", "-v"]),
            "headgate": version([binary, "--version"]),
            "haproxy": version(["haproxy", "-v"]),
            "envoy": version([TARGET / "python/bin/envoy", "--version"]),
            "caddy": version([TARGET / "python/bin/caddy", "version"]),
            "traefik": version([TARGET / "python/bin/traefik", "version"]),
            "wrk": version(["wrk", "-v"]),
            "h2load": version(["h2load", "--version"]),
        },
    }


def said(command):
    """What a command prints, whatever it thinks of it."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "missing"
    return (done.stdout + done.stderr).strip()


def version(command):
    return found(r"(\d+\.\d+(?:\.\d+)?)", said(command))


def found(pattern, text):
    match = re.search(pattern, text)
    return match[1] if match else "unknown"
