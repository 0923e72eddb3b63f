"""What 100,000 hosts cost a request more than 10 do: two of the same proxy, side by side."""

from columns import COLUMNS
from loads import load
from peers import all_peers

FEW, MANY = 10, 100_000


def growth(args, scene):
    """By column: microseconds per request with few and with many hosts, round by round."""
    pair = [(the_proxy(), scene.apart(hosts)) for hosts in (FEW, MANY)]
    pair[1][0].port += 1000
    found = {}
    try:
        for peer, own in pair:
            peer.start(own)
        for column in COLUMNS:
            if column.name in ("small", "new", "handshake"):
                rounds = [[load(peer, column, own, args.seconds)["cpu"] for peer, own in pair] for _ in range(args.rounds)]
                found[column.name] = rounds
    finally:
        for peer, _ in pair:
            if peer.process:
                peer.process.stop()
    return found


def the_proxy():
    return next(peer for peer in all_peers() if peer.name == "headgate")
