#!/usr/bin/env python3
"""image.py NAME OUT.tar FILE[=PATH]...: an image from scratch that has each file at its path (if none is given, at the
one it has here) and runs the first. In docker-archive format, for `ctr images import`."""
import hashlib
import io
import json
import platform
import sys
import tarfile


def layer_of(files):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for source, path in files:
            with open(source, "rb") as content:
                add(tar, path.lstrip("/"), content.read())
    return layer.getvalue()


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o755
    tar.addfile(info, io.BytesIO(content))


def hash_of(content):
    return hashlib.sha256(content).hexdigest()


name, out, *files = sys.argv[1:]
files = [(source, path or source) for source, _, path in (file.partition("=") for file in files)]
layer = layer_of(files)
config = json.dumps({
    "architecture": {"aarch64": "arm64"}.get(platform.machine(), "amd64"), "os": "linux",
    "config": {"Entrypoint": [files[0][1]]},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hash_of(layer)]},
}).encode()
config_name, layer_name = hash_of(config) + ".json", hash_of(layer) + ".tar"
manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]).encode()
with tarfile.open(out, "w") as tar:
    for entry, content in ((config_name, config), (layer_name, layer), ("manifest.json", manifest)):
        add(tar, entry, content)
