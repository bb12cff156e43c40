"""As busy.c, in Python with the system's OpenSSL. busy.py FOLDER"""

import select
import ssl
import sys

folder = sys.argv[1]
server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=f"{folder}/ca.pem")
server.load_cert_chain(f"{folder}/server.crt", f"{folder}/server.key")
up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
near, far = client.wrap_bio(down, up, server_hostname="localhost"), server.wrap_bio(up, down, server_side=True)
for end in (near, far, near, far):
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        pass
print("busy", flush=True)
number = 0
while number % 64 or not select.select([sys.stdin], [], [], 0)[0]:
    data = b"%d " % number * (1 + number % 400)
    source, sink = (near, far) if number % 2 else (far, near)
    assert source.write(data) == len(data)
    assert sink.read(len(data)) == data
    number += 1
print(f"{number} messages", flush=True)
