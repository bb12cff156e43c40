"""grpcio as a client, plaintext: one answer, many, none."""

import os

import grpc

with grpc.insecure_channel(os.environ["GRPC_TARGET"]) as channel:
    for size in (0, 1, 100, 20_000, 300_000):
        message = bytes(at * 7 % 251 for at in range(size))
        assert channel.unary_unary("/test.Desk/Unary")(message, metadata=[("x-mark", "m"), ("x-raw-bin", b"\0\xff")]) == message[::-1]
        assert len(list(channel.unary_stream("/test.Desk/Stream")(message))) in range(7)
    try:
        channel.unary_unary("/test.Desk/Refused")(b"please")
        raise SystemExit("the call was not refused")
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
