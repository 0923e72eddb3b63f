"""A websocket over HTTP/2 (RFC 8441), by the `h2` library: CASE HOST PORT [CERTIFICATE]. Exits with 0 if all is well."""

import socket
import ssl
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from websockets.frames import Close, CloseCode, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

case, host, port, *certificate = sys.argv[1:]
scheme = "https" if certificate else "http"


def same(got, expected):
    assert got == expected, f"got {got!r:.200}, expected {expected!r:.200}"


class Connection:
    """One HTTP/2 connection; events are kept until they are asked for."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
        if certificate:
            context = ssl.create_default_context(cafile=certificate[0])
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
            same(self.socket.selected_alpn_protocol(), "h2")
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()
        self.events = []

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def wait(self, kind, stream=None):
        """The next event of this kind (on this stream)."""
        while True:
            for event in self.events:
                same_stream = stream is None or stream == getattr(event, "stream_id", None)
                if isinstance(event, kind) and same_stream:
                    self.events.remove(event)
                    return event
                if isinstance(event, (StreamReset, StreamEnded)) and same_stream:
                    raise AssertionError(f"waiting for {kind}, got {event}")
            self.read()

    def read(self):
        data = self.socket.recv(65536)
        assert data, "the connection was closed"
        self.events += self.h2.receive_data(data)
        self.flush()

    def request(self, *pseudo, fields=(), end=True):
        stream = self.h2.get_next_available_stream_id()
        authority = (":authority", f"{host}:{port}")
        self.h2.send_headers(stream, [*pseudo, (":scheme", scheme), authority, *fields], end_stream=end)
        self.flush()
        return stream

    def headers(self, stream):
        return dict(self.wait(ResponseReceived, stream).headers)


class WebSocket:
    """A websocket on a stream of its own, framed by the `websockets` library."""

    def __init__(self, connection, path, fields=()):
        self.connection = connection
        fields = [("sec-websocket-version", "13"), *fields]
        self.stream = connection.request(
            (":method", "CONNECT"), (":protocol", "websocket"), (":path", path), fields=fields, end=False
        )
        self.headers = connection.headers(self.stream)
        self.protocol = Protocol(CLIENT, state=OPEN, max_size=None)

    def send(self):
        h2, rest = self.connection.h2, b"".join(self.protocol.data_to_send())
        while rest:
            room = min(h2.local_flow_control_window(self.stream), h2.max_outbound_frame_size)
            if room:
                h2.send_data(self.stream, rest[:room])
                rest = rest[room:]
                self.connection.flush()
            else:
                self.connection.read()

    def receive(self):
        event = self.connection.wait(DataReceived, self.stream)
        self.connection.h2.acknowledge_received_data(event.flow_controlled_length, self.stream)
        self.connection.flush()
        self.protocol.receive_data(event.data)

    def message(self):
        """The next whole message or the close frame."""
        opcode, data = None, b""
        while True:
            for frame in self.protocol.events_received():
                opcode = frame.opcode if opcode is None else opcode
                data += frame.data
                if frame.fin:
                    return opcode, bytes(data)
            self.receive()

    def echoes(self, message):
        self.protocol.send_binary(message)
        self.send()
        same(self.message() == (Opcode.BINARY, message), True)


def opened():
    connection = Connection()
    settings = connection.wait(RemoteSettingsChanged).changed_settings
    same(settings[SettingCodes.ENABLE_CONNECT_PROTOCOL].new_value, 1)
    return connection


def echo():
    socket = WebSocket(opened(), "/echo")
    same(socket.headers[":status"], "200")
    # Those belong to the handshake of HTTP/1.1, which is between the proxy and the backend.
    same({"upgrade", "connection", "sec-websocket-accept"} & socket.headers.keys(), set())
    for message in [b"one", b"", bytes(range(256))]:
        socket.echoes(message)


def megabyte():
    connection = opened()
    connection.h2.increment_flow_control_window(1 << 24)
    socket = WebSocket(connection, "/echo")
    socket.echoes(bytes(n * 7 % 251 for n in range(1 << 20)))


def subprotocols():
    socket = WebSocket(opened(), "/echo", [("sec-websocket-protocol", "v1.chat, v2.chat")])
    same(socket.headers["sec-websocket-protocol"], "v2.chat")


def beside_requests():
    connection = opened()
    sockets = [WebSocket(connection, "/echo") for _ in range(10)]
    for socket in sockets:
        socket.echoes(b"before")
    # What a websocket server says to a request that is none.
    stream = connection.request((":method", "GET"), (":path", "/echo"))
    same(connection.headers(stream)[":status"], "426")
    for socket in reversed(sockets):
        socket.echoes(b"after")


def client_closes():
    connection = opened()
    socket = WebSocket(connection, "/echo")
    socket.protocol.send_close(3000, "done")
    socket.send()
    opcode, data = socket.message()
    same((opcode, Close.parse(data)), (Opcode.CLOSE, Close(3000, "done")))
    # The backend has closed its connection, which ends the stream and not the connection.
    connection.wait(StreamEnded, socket.stream)
    WebSocket(connection, "/echo").echoes(b"another")


def server_closes():
    socket = WebSocket(opened(), "/close")
    socket.protocol.send_text(b"please")
    socket.send()
    opcode, data = socket.message()
    same((opcode, Close.parse(data)), (Opcode.CLOSE, Close(4001, "enough")))


def refused():
    socket = WebSocket(opened(), "/not-there")
    same(socket.headers[":status"], "404")


globals()[case]()
