"""A WebSocket client with permessage-deflate: texts and bytes, whole and in fragments, pings between."""

import os
import random
import ssl
import sys

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

# With a window that goes on from message to message, and with one that does not.
extension = ClientPerMessageDeflateFactory(client_no_context_takeover=sys.argv[1] == "fresh", server_no_context_takeover=sys.argv[1] == "fresh")
random.seed(7)
with connect(os.environ["WS_URL"] + "/talk?mode=" + sys.argv[1], ssl=ssl.create_default_context(), extensions=[extension],
             compression=None) as connection:
    assert connection.protocol.extensions, "the server agreed to the compression"
    for message in ["", "hello", "hello again, hello again", "ä€😀" * 500, random.randbytes(70_000), bytes(100_000), "x" * 30_000]:
        connection.send(message)
        assert connection.recv() == message and connection.recv() == message
        connection.ping().wait()
        if message:
            connection.send([message[:len(message) // 2], message[len(message) // 2:]])
            assert connection.recv() == message and connection.recv() == message
