"""One case of gRPC: CASE HOST PORT [CERTIFICATE]. Exits with 0 if all that should be so is so."""

import queue
import sys
import time

import grpc
from grpc import StatusCode

case, host, port, *certificate = sys.argv[1:]
options = [
    ("grpc.default_authority", f"{host}:{port}"),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
]
if certificate:
    with open(certificate[0], "rb") as pem:
        credentials = grpc.ssl_channel_credentials(pem.read())
    options.append(("grpc.ssl_target_name_override", host))
    channel = grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)
else:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
PATIENCE = 20


def same(got, expected):
    assert got == expected, f"got {got!r:.200}, expected {expected!r:.200}"


def name(method):
    return f"/test.Everything/{method}"


def call(method, request, **more):
    return channel.unary_unary(name(method))(request, **{"timeout": PATIENCE, **more})


def failure(outcome):
    """The error with which a call or the reading of a stream ends."""
    try:
        outcome()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it succeeded")


class Conversation:
    """A bidirectional stream, one message at a time."""

    def __init__(self, method="echo", **more):
        self.outgoing = queue.Queue()
        self.call = channel.stream_stream(name(method))(iter(self.outgoing.get, None), **more)

    def say(self, message):
        self.outgoing.put(message)
        same(next(self.call), message)

    def end(self):
        self.outgoing.put(None)
        same(list(self.call), [])
        same(self.call.code(), StatusCode.OK)


def unary():
    metadata = [("x-text", "some text"), ("x-data-bin", bytes(range(256)))]
    response, call = channel.unary_unary(name("unary")).with_call(b"hello", metadata=metadata, timeout=PATIENCE)
    same(response, b"hello")
    same((call.code(), call.details()), (StatusCode.OK, ""))
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    same((initial["x-initial"], initial["x-initial-bin"]), ("some text", b"\x00\xff\x01"))
    same((trailing["x-trailing"], trailing["x-trailing-bin"]), ("end", bytes(range(256))))
    same(call_with_empty_message(), b"")


def call_with_empty_message():
    return call("unary", b"")


def server_stream():
    stream = channel.unary_stream(name("count"))(b"200", timeout=PATIENCE)
    same([int(message) for message in stream], list(range(200)))
    same(stream.code(), StatusCode.OK)
    same(list(channel.unary_stream(name("count"))(b"0", timeout=PATIENCE)), [])


def client_stream():
    add = channel.stream_unary(name("add"))
    same(add((str(n).encode() for n in range(200)), timeout=PATIENCE), b"19900")
    same(add(iter(()), timeout=PATIENCE), b"0")


def bidirectional_stream():
    conversation = Conversation(timeout=PATIENCE)
    for n in range(100):
        conversation.say(f"message {n}".encode())
    conversation.end()
    same(dict(conversation.call.trailing_metadata())["x-trailing"], "end")


def many_at_once():
    conversations = [Conversation(timeout=PATIENCE) for _ in range(30)]
    futures = [channel.unary_unary(name("unary")).future(str(n).encode(), timeout=PATIENCE) for n in range(200)]
    for conversation in conversations:
        conversation.say(b"here")
    same([int(future.result()) for future in futures], list(range(200)))
    for conversation in conversations:
        conversation.end()


def large_messages():
    message = bytes(n * 7 % 251 for n in range(3 << 20))
    same(call("unary", message) == message, True)
    same(sum(map(len, channel.unary_stream(name("large"))(b"200", timeout=PATIENCE))), 200 * 65536)
    conversation = Conversation(timeout=PATIENCE)
    for _ in range(3):
        conversation.say(message)
    conversation.end()


def compressed():
    message = b"again and again " * 10_000
    same(call("unary", message, compression=grpc.Compression.Gzip) == message, True)


def statuses():
    error = failure(lambda: call("fails", b""))
    same((error.code(), error.details()), (StatusCode.NOT_FOUND, "no such thing: ü%\n"))
    same(dict(error.trailing_metadata())["x-reason-bin"], b"\x00\x01")
    received = []
    error = failure(lambda: received.extend(channel.unary_stream(name("fails_after_two"))(b"", timeout=PATIENCE)))
    same((error.code(), error.details()), (StatusCode.DATA_LOSS, "the rest is gone"))
    error = failure(lambda: call("not_there", b""))
    same(error.code(), StatusCode.UNIMPLEMENTED)


def partial_stream():
    received = []
    stream = channel.unary_stream(name("fails_after_two"))(b"", timeout=PATIENCE)
    failure(lambda: [received.append(message) for message in stream])
    same(received, [b"one", b"two"])


def deadlines():
    left, _ = call("about", b"", timeout=15).split(b"|")
    assert 5 < float(left) <= 15, left
    left, agent = channel.unary_unary(name("about"))(b"").split(b"|")
    same(left, b"no deadline")
    same(agent.startswith(b"grpc-python/"), True)
    error = failure(lambda: call("hangs", f"deadline {port}".encode(), timeout=0.5))
    same(error.code(), StatusCode.DEADLINE_EXCEEDED)
    same(call("was_cancelled", f"deadline {port}".encode()), b"True")


def cancel():
    key = f"cancel {port}".encode()
    stream = channel.unary_stream(name("sends_and_hangs"))(key)
    same(next(stream), b"first")
    stream.cancel()
    same(failure(lambda: next(stream)).code(), StatusCode.CANCELLED)
    same(call("was_cancelled", key), b"True")


def held_idle():
    """The route's idle timeout is one second: a conversation and an answer may be silent for longer."""
    conversation = Conversation()
    conversation.say(b"before")
    slow = channel.unary_unary(name("waits")).future(b"3")
    time.sleep(3)
    conversation.say(b"after")
    conversation.end()
    same(slow.result(), b"waited")


def no_endpoint():
    error = failure(lambda: call("unary", b"x"))
    same(error.code(), StatusCode.UNAVAILABLE)


def no_route():
    error = failure(lambda: call("unary", b"x"))
    same(error.code(), StatusCode.UNIMPLEMENTED)


globals()[case]()
