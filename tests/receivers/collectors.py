"""OTLP by gRPC and HTTP into services made from the published protobuf; webhooks, HEC and `_bulk` into servers that keep to the
receivers' manuals strictly."""

import base64
import gzip
import hashlib
import hmac
import http.server
import json
import threading
from concurrent import futures
from urllib.parse import parse_qs, urlsplit

from receive import ALERTS, COUNT, FOLDER, TEXTS, deliver, expect, same, whole


def check_logs(request, uids):
    for resource in request.resource_logs:
        names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        expect(names["service.name"] == "agentward", names)
        for scope in resource.scope_logs:
            for record in scope.log_records:
                pairs = {pair.key: pair.value for pair in record.attributes}
                uid = pairs["event.id"].string_value
                alert = ALERTS[int(uid[4:])]
                same(uid, json.loads(record.body.string_value), alert, "body")
                same(uid, record.time_unix_nano, alert["time"], "time")
                same(uid, (record.severity_number, record.event_name), (17, "agentward.alert"), "severity")
                for name in ["agentward.rule.title", "user.id", "gen_ai.agent.name"]:
                    same(uid, pairs[name].string_value, TEXTS[uid], name)
                same(uid, pairs["process.pid"].int_value, 4242, "pid")
                same(uid, [item.string_value for item in pairs["agentward.tags"].array_value.values], alert["tags"], "tags")
                uids.append(uid)


def sink_otlp_grpc():
    import grpc
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as messages
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as service
    uids, faults, calls = [], [], []

    class Logs(service.LogsServiceServicer):
        def Export(self, request, context):
            calls.append(1)
            if len(calls) == 2:
                context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
            try:
                check_logs(request, uids)
            except Exception as error:
                faults.append(error)
            return messages.ExportLogsServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    service.add_LogsServiceServicer_to_server(Logs(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    deliver("grpc", type="otlp", protocol="grpc", url=f"http://127.0.0.1:{port}", batch=16)
    server.stop(None)
    expect(not faults, faults[:1])
    expect(whole(uids) == COUNT and len(calls) > 1, "a record came twice")


class Server:
    """An HTTP server whose `answer(handler, path, body)` gives status and body; what it raises fails the case."""

    def __init__(self, answer):
        self.faults = faults = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                try:
                    status, said = answer(self, self.path, body)
                except Exception as error:
                    faults.append(error)
                    status, said = 500, b"{}"
                self.send_response(status)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        expect(not self.faults, f"{type(self.faults[0]).__name__}: {self.faults[0]}" if self.faults else "")


def secret(name, text):
    path = FOLDER / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


def sink_otlp_http():
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as messages
    uids = []

    def answer(handler, path, body):
        same(path, handler.headers["content-type"], "application/x-protobuf", "content type")
        request = messages.ExportLogsServiceRequest()
        request.ParseFromString(body)
        check_logs(request, uids)
        return 200, messages.ExportLogsServiceResponse().SerializeToString()

    with Server(answer) as server:
        deliver("otlp", type="otlp", url=f"{server.url}/v1/logs")
    expect(whole(uids) == COUNT, "a record came twice")


def sink_http_signed_cloudevents():
    uids, key = [], base64.b64encode(bytes(range(24))).decode()

    def answer(handler, path, body):
        event = json.loads(body)
        uid = event["data"]["uid"]
        signed = f"{handler.headers['webhook-id']}.{handler.headers['webhook-timestamp']}.".encode() + body
        wanted = "v1," + base64.b64encode(hmac.new(base64.b64decode(key), signed, hashlib.sha256).digest()).decode()
        same(uid, handler.headers["webhook-signature"], wanted, "signature")
        same(uid, (event["specversion"], event["id"], handler.headers["webhook-id"]), ("1.0", uid, uid), "envelope")
        same(uid, event["data"], ALERTS[int(uid[4:])], "data")
        uids.append(uid)
        return 204, b""

    with Server(answer) as server:
        deliver("hook", type="http", url=f"{server.url}/in", cloudevents=True, signing_key_file=secret("signing", f"whsec_{key}"))
    expect(whole(uids) == COUNT, "an event came twice")


def hec(acknowledge):
    uids, asked, rest = [], {}, json.JSONDecoder()

    def answer(handler, path, body):
        path = urlsplit(path)
        if handler.headers["authorization"] != "Splunk token-1":
            return 403, b'{"text":"Invalid token","code":4}'
        channel = handler.headers["x-splunk-request-channel"]
        if path.path == "/services/collector/ack":
            same("ack", parse_qs(path.query)["channel"], [channel], "channel")
            said = {}
            for number in json.loads(body)["acks"]:
                asked[number] = asked.get(number, 0) + 1
                said[str(number)] = asked[number] > 1
            return 200, json.dumps({"acks": said}).encode()
        same("path", path.path, "/services/collector/event", "path")
        text, at = body.decode(), 0
        while at < len(text.rstrip()):
            envelope, at = rest.raw_decode(text, at + (len(text[at:]) - len(text[at:].lstrip())))
            uid = envelope["fields"]["uid"]
            alert = ALERTS[int(uid[4:])]
            same(uid, envelope["event"]["finding_info"]["title"], TEXTS[uid], "title")
            expect(abs(envelope["time"] - alert["time"] / 1e9) < 0.002 and envelope["sourcetype"] == "agentward:alert", envelope["time"])
            uids.append(uid)
        return 200, json.dumps({"text": "Success", "code": 0, **({"ackId": len(asked)} if acknowledge else {})}).encode()

    with Server(answer) as server:
        deliver("hec", type="splunk_hec", url=server.url, token_file=secret("token", "token-1"), acknowledge=acknowledge)
    expect(whole(uids) == COUNT and bool(asked) == acknowledge, "an event came twice")


def sink_splunk_hec():
    hec(False)


def sink_splunk_hec_with_acknowledgement():
    hec(True)


def sink_elastic_bulk():
    """Each item fails by itself: every seventh is told to come again once, every eleventh is there already."""
    documents, told, count = {}, set(), [0]

    def answer(handler, path, body):
        same("path", (path, handler.headers["content-type"]), ("/_bulk", "application/x-ndjson"), "path")
        expect(body.endswith(b"\n"), "the body does not end in a newline")
        lines = body.decode().split("\n")
        items = []
        for head, document in zip(lines[0:-1:2], lines[1::2]):
            action = json.loads(head)["create"]
            uid, document = action["_id"], json.loads(document)
            count[0] += 1
            if count[0] % 7 == 0 and uid not in told:
                told.add(uid)
                items.append({"create": {"_id": uid, "status": 429, "error": {"type": "es_rejected_execution_exception"}}})
                continue
            status = 409 if uid in documents or count[0] % 11 == 0 else 201
            documents[uid] = document
            items.append({"create": {"_id": uid, "status": status}})
            same(uid, document["rule"]["name"], TEXTS[uid], "rule.name")
        return 200, json.dumps({"errors": True, "items": items}).encode()

    with Server(answer) as server:
        deliver("bulk", type="elastic", url=server.url)
    whole(list(documents))


CASES = [sink_otlp_grpc, sink_otlp_http, sink_http_signed_cloudevents, sink_splunk_hec, sink_splunk_hec_with_acknowledgement, sink_elastic_bulk]
