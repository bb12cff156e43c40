"""Makes the requests that it is told: each line on standard input is `[METHOD, path, headers, body]` as JSON. Each goes over a connection
of its own, and its status is the answer."""

import http.client
import json
import os
import ssl
import sys
from urllib.parse import urlsplit

url = urlsplit(os.environ["STANDIN_URL"])
for line in sys.stdin:
    method, path, headers, body = json.loads(line)
    connection = http.client.HTTPSConnection(url.hostname, url.port, context=ssl.create_default_context())
    sent = None if body is None else json.dumps(body)
    connection.request(method, path, sent, {"Content-Type": "application/json", **headers} if sent else headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    print(answer.status, flush=True)
