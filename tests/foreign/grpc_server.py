"""A gRPC backend (h2c). Messages are bytes, so nothing is generated. Prints its port; ends with its standard input."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

# Names of calls whose client has gone, set by their callbacks.
gone = {}


def unary(request, context):
    """Says what it was asked with; metadata goes back in both places."""
    received = {key: value for key, value in context.invocation_metadata() if key.startswith("x-")}
    context.send_initial_metadata([("x-initial", received.get("x-text", "")), ("x-initial-bin", b"\x00\xff\x01")])
    context.set_trailing_metadata([("x-trailing", "end"), ("x-trailing-bin", received.get("x-data-bin", b""))])
    return request


def about(request, context):
    """What the call looks like from here."""
    left = context.time_remaining()
    agent = dict(context.invocation_metadata())["user-agent"]
    return f"{left if left and left < 1e6 else 'no deadline'}|{agent}".encode()


def count(request, context):
    for n in range(int(request)):
        yield str(n).encode()


def large(request, context):
    for _ in range(int(request)):
        yield bytes(65536)


def add(requests, context):
    return str(sum(int(request) for request in requests)).encode()


def echo(requests, context):
    for request in requests:
        yield request
    context.set_trailing_metadata([("x-trailing", "end")])


def fails(request, context):
    context.set_trailing_metadata([("x-reason-bin", b"\x00\x01")])
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ü%\n")


def fails_after_two(request, context):
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.DATA_LOSS, "the rest is gone")


def hangs(request, context):
    """Never answers; remembers when it is cancelled."""
    event = gone.setdefault(request, threading.Event())
    context.add_callback(event.set)
    event.wait(30)
    return b""


def sends_and_hangs(request, context):
    event = gone.setdefault(request, threading.Event())
    context.add_callback(event.set)
    yield b"first"
    event.wait(30)


def was_cancelled(request, context):
    return str(gone[request].wait(20)).encode()


def waits(request, context):
    time.sleep(float(request))
    return b"waited"


methods = {
    **{f.__name__: grpc.unary_unary_rpc_method_handler(f) for f in (unary, about, fails, hangs, was_cancelled, waits)},
    **{f.__name__: grpc.unary_stream_rpc_method_handler(f) for f in (count, large, fails_after_two, sends_and_hangs)},
    "add": grpc.stream_unary_rpc_method_handler(add),
    "echo": grpc.stream_stream_rpc_method_handler(echo),
}
server = grpc.server(ThreadPoolExecutor(64), options=[("grpc.max_receive_message_length", -1)])
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Everything", methods)])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
os._exit(0)
