"""What came in and what became of it, for other processes of this computer.

The daemon publishes on two ZeroMQ sockets of its run folder, apart so that no camera drives the rest out.
Images, compressed images and point clouds, at most so many a second of each, are on pictures.sock as they
were received:

    [b"sensor/" + topic, received_ns (8 bytes, little endian), header, payload]

All else is on feed.sock, in 20 messages a second, each a list of rows in msgpack, in the order of time:

    [b"feed", [[b"sensor", topic, received_ns, header, payload?], ...,
               [b"chunk", ...], [b"event", JSON], [b"tick", ...]]]

Who may connect to the daemon's sensors' socket may subscribe here. Nothing waits: a process that does not
keep up loses messages. `FeedReader` is all that another process needs.
"""

from vlad.feed.items import PICTURES, Event, FaultSeen, Item, Turn
from vlad.feed.publisher import Feed
from vlad.feed.reader import FeedReader

__all__ = ["PICTURES", "Event", "FaultSeen", "Feed", "FeedReader", "Item", "Turn"]
