"""One case over one websocket: CASE HOST PORT [CERTIFICATE]. Exits with 0 if all that should be so is so."""

import socket
import ssl
import sys

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

case, host, port, *certificate = sys.argv[1:]


def dial(path, to=host, **options):
    """Opens ws://host/path, or wss:// if there is a certificate to verify; the address is always loopback."""
    tcp = socket.create_connection(("127.0.0.1", int(port)))
    scheme = "wss" if certificate else "ws"
    if certificate:
        options |= {"ssl": ssl.create_default_context(cafile=certificate[0]), "server_hostname": host}
    return connect(f"{scheme}://{to}:{port}{path}", sock=tcp, max_size=None, **options)


def same(got, expected):
    assert got == expected, f"got {got!r:.200}, expected {expected!r:.200}"


def echo():
    with dial("/echo") as connection:
        same("permessage-deflate" in connection.response.headers["Sec-WebSocket-Extensions"], True)
        for message in ["text", "ünïcödé", "", b"", bytes(range(256)), "again"]:
            connection.send(message)
            same(connection.recv(timeout=20), message)


def uncompressed():
    with dial("/echo", compression=None) as connection:
        same(connection.response.headers.get("Sec-WebSocket-Extensions"), None)
        connection.send("as it is")
        same(connection.recv(timeout=20), "as it is")


def megabyte():
    with dial("/echo", compression=None) as connection:
        message = bytes(n * 7 % 251 for n in range(1 << 20))
        for _ in range(3):
            connection.send(message)
            same(connection.recv(timeout=20) == message, True)


def pings():
    with dial("/silent") as connection:
        for payload in [b"", b"1", b"x" * 125]:
            same(connection.ping(payload).wait(20), True)


def fragments():
    with dial("/fragments") as connection:
        # The library ends every fragmented message with an empty frame.
        same(list(connection.recv_streaming()), ["one ", "two ", "three", ""])
        connection.send(["four ", "five"])


def client_closes():
    connection = dial("/echo")
    connection.close(3000, "done")
    # The server answers a close with the same code.
    same((connection.protocol.close_rcvd.code, connection.protocol.close_rcvd.reason), (3000, "done"))


def server_closes():
    with dial("/close") as connection:
        connection.send("please")
        try:
            connection.recv(timeout=20)
        except ConnectionClosed as closed:
            same((closed.rcvd.code, closed.rcvd.reason), (4001, "enough"))
        else:
            raise AssertionError("still open")


def subprotocols():
    for offered, chosen in [
        (["v1.chat", "v2.chat"], "v2.chat"),
        (["v1.chat"], "v1.chat"),
        (None, None),
    ]:
        with dial("/echo", subprotocols=offered) as connection:
            same(connection.subprotocol, chosen)


def headers():
    with dial("/headers", additional_headers={"X-Own": "1"}, origin="https://page.example") as connection:
        fields = dict(line.split(": ", 1) for line in connection)
        same(fields["host"], f"{host}:{port}")
        same(fields["x-own"], "1")
        same(fields["origin"], "https://page.example")
        same(fields["x-forwarded-for"], "127.0.0.1")
        same(fields["x-forwarded-proto"], "https" if certificate else "http")


def refused():
    try:
        dial("/echo", to="nobody.example")
    except InvalidStatus as answer:
        same(answer.response.status_code, 404)
    else:
        raise AssertionError("it opened")


globals()[case]()
