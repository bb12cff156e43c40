"""rsyslog by TCP and TLS; RFC 5424 messages read by syslog-rfc5424-parser."""

import contextlib
import json
import re
import socket
import socketserver
import threading

from receive import ALERTS, COUNT, FOLDER, TEXTS, deliver, expect, same, whole
from services import certificates, free_port, program, until

SO_RCVBUFFORCE = 33  # include/uapi/asm-generic/socket.h; Python has no name for it


def rsyslog(name, port, module, options=""):
    """A configuration that writes each message's own text as one JSON string a line."""
    out = FOLDER / f"{name}.received"
    out.unlink(missing_ok=True)
    config = FOLDER / f"{name}.conf"
    config.write_text(f"""
global(workDirectory="{FOLDER}" maxMessageSize="256k" parser.escapeControlCharactersOnReceive="off")
{module}
template(name="all" type="list") {{
  constant(value="{{\\"sd\\":\\"") property(name="structured-data" format="json") constant(value="\\",\\"msg\\":\\"")
  property(name="msg" format="json") constant(value="\\",\\"app\\":\\"") property(name="app-name" format="json") constant(value="\\"}}\\n")
}}
input(type="imtcp" port="{port}" ruleset="in" {options})
ruleset(name="in") {{ action(type="omfile" file="{out}" template="all") }}
""")
    return out, ["rsyslogd", "-n", "-f", config, "-i", FOLDER / f"{name}.pid"]


def check(out):
    until(lambda: out.exists() and out.read_bytes().count(b"\n") >= COUNT, "rsyslog has not written all")
    uids = []
    for line in out.read_bytes().decode().split("\n")[:-1]:
        read = json.loads(line)
        expect(read["app"] == "agentward", line[:200])
        alert = json.loads(read["msg"].lstrip("\ufeff"))
        uids.append(alert["uid"])
        same(alert["uid"], alert, ALERTS[int(alert["uid"][4:])], "all")
        expect(f'id="{alert["uid"]}"' in read["sd"], read["sd"])
    expect(whole(uids) == COUNT, "a message came twice")


def sink_syslog_tcp_rsyslog():
    port = free_port()
    out, command = rsyslog("tcp", port, 'module(load="imtcp")')
    with program(*command, port=port):
        deliver("tcp", type="syslog", codec="native", transport="tcp", address=f"127.0.0.1:{port}")
        check(out)


def sink_syslog_tls_rsyslog():
    """With the right authority all arrive; with another, none, and the certificate is named as the reason."""
    port, keys = free_port(), certificates(FOLDER)
    module = f'''module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
global(defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{keys}/ca.pem" defaultNetstreamDriverCertFile="{keys}/server.pem"
       defaultNetstreamDriverKeyFile="{keys}/server.key")'''
    out, command = rsyslog("tls", port, module)
    with program(*command, port=port):
        wrong = deliver("tls", fails=True, type="syslog", codec="native", transport="tls", address=f"localhost:{port}",
                        ca_file=str(keys / "stranger.pem"))
        expect(wrong["delivered"] == 0 and "certificate" in wrong["reason"], wrong)
        deliver("tls", type="syslog", codec="native", transport="tls", address=f"localhost:{port}", ca_file=str(keys / "ca.pem"))
        check(out)


def sink_syslog_frames_rfc5424():
    """Octet counts and every message as another parser reads them."""
    from syslog_rfc5424_parser import SyslogMessage
    received = bytearray()

    class Keep(socketserver.BaseRequestHandler):
        def handle(self):
            while piece := self.request.recv(65536):
                received.extend(piece)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Keep)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    deliver("frames", type="syslog", codec="cef", transport="tcp", address=f"127.0.0.1:{server.server_address[1]}")
    server.shutdown()
    server.server_close()
    uids = messages(bytes(received), SyslogMessage)
    expect(whole(uids) == COUNT, "a message came twice")


def messages(rest, parser):
    uids = []
    while rest:
        length, _, rest = rest.partition(b" ")
        message, rest = rest[:int(length)].decode(), rest[int(length):]
        expect(not any(letter < " " for letter in message), "a control character is in a message")
        read = parser.parse(message)
        # This parser finds the ends of values but leaves their escapes in.
        data = {name: re.sub(r'\\(["\\\]])', r"\1", value) for name, value in read.sd["agentward@32473"].items()}
        uids.append(data["id"])
        plain = "".join(" " if ord(letter) < 0x20 or 0x7f <= ord(letter) <= 0x9f else letter for letter in TEXTS[data["id"]])
        same(data["id"], data["rule"], plain, "rule")
        expect(read.msg.lstrip("\ufeff").startswith("CEF:0|"), read.msg[:100])
    return uids


def sink_syslog_udp():
    from syslog_rfc5424_parser import SyslogMessage
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        # A parser in Python is slower than the sink: what the buffer cannot hold the kernel drops. Root may pass the system's bound.
        with contextlib.suppress(PermissionError):
            receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        uids, done = [], threading.Event()

        def keep():
            while not done.is_set() or len(uids) < COUNT:
                try:
                    message = receiver.recv(65536)
                except TimeoutError:
                    return
                uids.extend(messages(f"{len(message)} ".encode() + message, SyslogMessage))

        reader = threading.Thread(target=keep)
        reader.start()
        deliver("udp", type="syslog", codec="cef", transport="udp", address=f"127.0.0.1:{receiver.getsockname()[1]}")
        done.set()
        reader.join()
        whole(uids)


CASES = [sink_syslog_tcp_rsyslog, sink_syslog_tls_rsyslog, sink_syslog_frames_rfc5424, sink_syslog_udp]
