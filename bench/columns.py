"""The columns of the table: what is asked, of which host, and what must come back."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    name: str
    title: str
    path: str = "/small"
    host: str = ""
    """Another host than the one in the middle of the table."""
    tls: bool = False
    h2: bool = False
    connections: int = 64
    options: list = field(default_factory=list)
    """Of `load`."""
    bytes: int = 16
    resumed: bool = False
    refused: bool = False
    goal: float = 1.0
    """CPU of Headgate as a share of nginx's."""


COLUMNS = [
    Column("small", "small GET"),
    Column("new", "new connection", options=["--close"]),
    Column("10k", "10 kB", path="/10k", bytes=10 << 10),
    Column("1m", "1 MB", path="/1m", bytes=1 << 20, connections=16, goal=0.7),
    Column("upload", "upload 1 MB", host="echo.example", path="/upload", connections=16, options=["--upload", str(1 << 20)]),
    Column("tls-h1", "TLS h1", tls=True),
    Column("tls-h2", "TLS h2", tls=True, h2=True, goal=0.8),
    Column("handshake", "full handshake", tls=True, connections=16, options=["--close"], goal=0.8),
    Column("resumed", "resumed handshake", tls=True, connections=16, options=["--close", "--resume"], resumed=True, goal=0.8),
    Column("websocket", "websocket message", host="echo.example", path="/ws", options=["--websocket", "64"]),
    Column("h2c", "h2c backend", host="h2c.example"),
    Column("refused", "refusal", host="limited.example", options=["--status", "200,429,503"], refused=True),
]
