"""A websocket backend. Prints its port; ends with its standard input."""

import logging
import os
import sys
import threading

from websockets.sync.server import serve


def handle(connection):
    match connection.request.path:
        case "/echo":
            for message in connection:
                connection.send(message)
        case "/close":
            connection.recv()
            connection.close(4001, "enough")
        case "/silent":
            # Answers pings, and says at the end with which code the client closed.
            for _ in connection:
                pass
        case "/fragments":
            connection.send(["one ", "two ", "three"])
            connection.recv()
        case "/headers":
            for name, value in connection.request.headers.raw_items():
                connection.send(f"{name.lower()}: {value}")


def choose(connection, offered):
    return next((known for known in ["v2.chat", "v1.chat"] if known in offered), None)


# A suite sends what makes it complain.
logging.getLogger("websockets").addHandler(logging.NullHandler())

with serve(handle, "127.0.0.1", 0, select_subprotocol=choose, max_size=None) as server:
    print(server.socket.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()
