"""BoringSSL inside a Python extension: every size, both ways."""

import os

from curl_cffi import requests

url = os.environ["STANDIN_URL"]
session = requests.Session(verify=os.environ["SSL_CERT_FILE"])
for size in (0, 1, 1000, 16384, 70000, 1048576):
    body = bytes(at * 31 % 256 for at in range(size))
    assert len(session.post(f"{url}/echo?n={size}&chunked=1", data=body).content) == size
    assert len(session.get(f"{url}/echo?n={size}&gzip=1").content) == size
