"""Hostile alerts through every codec and every sink of the real program, into real receivers.

receive.py PROGRAM FOLDER COUNT [WORD]: COUNT alerts, each text of which is hostile, go through `agentward sinks test --from`; what
arrives is read by programs of other projects (rsyslog, nats-server, librdkafka's cluster, gRPC with the published protobuf,
liblognorm, the OCSF 1.8.0 schema) and compared field by field. A line a case, exit code 1 when any failed.
"""

import json
import pathlib
import random
import subprocess
import sys
import time

PROGRAM, FOLDER, COUNT = sys.argv[1], pathlib.Path(sys.argv[2]).absolute(), int(sys.argv[3])
WORD = sys.argv[4] if len(sys.argv) > 4 else ""

PIECES = [
    "a|b", "a=b", "a\\b", "\\", "\\\\", "\n", "\r\n", "\t", "\0", "\x1b[2J", "\x1b]0;t\x07", "\x7f", "\x85", "\x9b31m", "\u2028", "\u202e",
    "\ufeff", '"', "'", "]", "[", "{", "}", '"}\n{"uid":"forged"}', "\nCEF:0|x|y|z|1|n|10|", " key=value", "\x1fsev=10", "|", "||",
    "<34>1 - - - - - -", "10 <34>1 x", "é", "日本", "😀", "  ", "$(id)", "${jndi:ldap://x}", "%s%n", "</script>", "plain words", "\x1e", "a" * 300,
]


def invisible(letter):
    """What the codecs of lines show as \\u{..}: control and format characters."""
    code = ord(letter)
    return (code < 0x20 or 0x7f <= code <= 0x9f or 0x200b <= code <= 0x200f or 0x2028 <= code <= 0x202e
            or 0x2060 <= code <= 0x206f or code == 0xfeff or 0xe0000 <= code <= 0xe007f)


def visible(text):
    return "".join(f"\\u{{{ord(letter):x}}}" if invisible(letter) else letter for letter in text)


def cef_extension(text):
    return "".join(letter if letter in "\n\r" else " " if letter == "\t" else visible(letter) for letter in text)


def cef_header(text):
    return "".join(" " if letter in "\n\r\t" else visible(letter) for letter in text)


def leef_value(text):
    names = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "".join(names.get(letter) or visible(letter) for letter in text)


def alerts():
    dice = random.Random(7)
    made = []
    for number in range(COUNT):
        text = "x" + "".join(dice.choice(PIECES) for _ in range(dice.randint(1, 5))) + "y"
        made.append({
            "uid": f"uid-{number:05}", "time": 1790000000123456789 + number * 1000000,
            "rule": {"id": text, "title": text, "version": "1", "pack": "core", "pack_hash": "00"},
            "severity": "high", "proof": "served", "group": text, "count": 1, "workflow": f"w{number % 7}", "action": "a1",
            "chain": [{"action": "a1", "kind": "api.request", "time": 1790000000123456789, "summary": text}],
            "actor": {"user": {"id": text}, "agent": {"id": text, "name": text}, "proc": {"name": text, "pid": 4242}, "tenant": {"id": text}},
            "object": {"id": text, "type": text}, "matched": {"arg.x": text}, "state": None,
            "tags": ["attack.t1059", "owasp.api1"], "fix": text, "incomplete": [],
        })
    return made


ALERTS = alerts()
TEXTS = {alert["uid"]: alert["rule"]["title"] for alert in ALERTS}
SOURCE = FOLDER / "alerts.jsonl"
faults = 0
rates = []


def expect(condition, why):
    if not condition:
        raise AssertionError(why)


def same(uid, found, wanted, field):
    expect(found == wanted, f"{uid}: {field}: {found!r} is not {wanted!r}")


def whole(uids):
    """Every alert arrived, and nothing that is none of ours."""
    expect(set(uids) == set(TEXTS), f"{len(set(uids))} of {COUNT} arrived, {len(set(uids) - set(TEXTS))} are forged")
    return len(uids)


def deliver(name, fails=False, **keys):
    """Runs the program's own sink; returns what it printed."""
    config = FOLDER / f"{name}.toml"
    lines = ["[[sink]]", f"name = {json.dumps(name)}"] + [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    config.write_text("\n".join(lines) + "\n")
    command = [PROGRAM, "sinks", "test", name, "--config", config, "--from", SOURCE, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    try:
        said = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise AssertionError(f"exit {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}") from None
    rates.append(said["delivered"] * 1000 / max(1, said["milliseconds"]))
    if not fails:
        expect(done.returncode == 0, f"not all were acknowledged: {said}")
    return said


def lines_of(codec):
    path = FOLDER / f"{codec}.log"
    path.unlink(missing_ok=True)
    deliver(f"file-{codec}", type="file", codec=codec, path=str(path))
    text = path.read_bytes().decode()
    expect(not any(letter != "\n" and letter != "\x1f" and (ord(letter) < 0x20 or 0x7f <= ord(letter) <= 0x9f) for letter in text),
           "a control character is in the lines")
    lines = text.split("\n")
    expect(lines.pop() == "", "the last line has no end")
    expect(len(lines) == COUNT, f"{len(lines)} lines for {COUNT} alerts")
    return lines


def codec_native():
    for line in lines_of("native"):
        read = json.loads(line)
        same(read["uid"], read, ALERTS[int(read["uid"][4:])], "all")


def codec_ocsf():
    import jsonschema
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0")).get_class_schema("detection_finding", [])
    validator = jsonschema.validators.validator_for(schema)(schema)
    uids = []
    for line in lines_of("ocsf"):
        read = json.loads(line)
        errors = [f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in validator.iter_errors(read)]
        expect(not errors, f"the schema says: {errors[:3]}")
        uid = read["finding_info"]["uid"]
        text = TEXTS[uid]
        uids.append(uid)
        for field, found in [("title", read["finding_info"]["title"]), ("rule", read["finding_info"]["analytic"]["uid"]),
                             ("tenant", read["metadata"]["tenant_uid"]), ("fix", read["remediation"]["desc"]),
                             ("user", read["evidences"][0]["actor"]["user"]["uid"]), ("resource", read["resources"][0]["uid"]),
                             ("agent", read["evidences"][0]["actor"]["app_name"]), ("related", read["finding_info"]["related_events"][0]["title"])]:
            same(uid, found, text, field)
    whole(uids)


def codec_ecs():
    uids = []
    for line in lines_of("ecs"):
        read = json.loads(line)
        uid = read["event"]["id"]
        uids.append(uid)
        for field, found in [("rule.name", read["rule"]["name"]), ("rule.id", read["rule"]["id"]), ("user.id", read["user"]["id"]),
                             ("message", read["message"]), ("organization.id", read["organization"]["id"]), ("process.name", read["process"]["name"])]:
            same(uid, found, TEXTS[uid], field)
    whole(uids)


def codec_cef():
    """Read by liblognorm's CEF parser."""
    rules = FOLDER / "cef.rulebase"
    rules.write_text("version=2\nrule=:%f:cef%\n")
    sent = "\n".join(lines_of("cef")) + "\n"
    read = subprocess.run(["lognormalizer", "-r", rules, "-e", "json"], input=sent.encode(), capture_output=True, timeout=300)
    uids = []
    for line in read.stdout.decode().splitlines():
        fields = json.loads(line, strict=False)
        expect("f" in fields, f"not read as CEF: {line[:300]}")
        fields = fields["f"]
        extensions = fields["Extensions"]
        uid = extensions["externalId"]
        text = TEXTS[uid]
        uids.append(uid)
        for field, found, wanted in [("id", fields["SignatureID"], cef_header(text)), ("name", fields["Name"], cef_header(text)),
                                     ("severity", fields["Severity"], "8"), ("suser", extensions["suser"], cef_extension(text)),
                                     ("cs1", extensions["cs1"], cef_extension(text)), ("msg", extensions["msg"], cef_extension(text))]:
            same(uid, found, wanted, field)
        expect(len(extensions) == 21, f"{uid}: extension keys {sorted(extensions)}")
    whole(uids)


def codec_leef():
    """Read as IBM's format guide says: six header fields, the declared delimiter, the first `=` ends a key."""
    uids = []
    for line in lines_of("leef"):
        header = line.split("|", 6)
        delimiter = chr(int(header[5][1:], 16))
        pairs = dict(part.split("=", 1) for part in header[6].split(delimiter))
        uid = pairs["externalId"]
        text = TEXTS[uid]
        uids.append(uid)
        same(uid, header[4], leef_value(text).replace("|", "/"), "event id")
        for key in ["usrName", "agent", "tenant", "process", "ruleTitle", "fix"]:
            same(uid, pairs[key], leef_value(text), key)
        expect(len(pairs) == 18, f"{uid}: attributes {sorted(pairs)}")
    whole(uids)


def terminal():
    """Nothing of an alert commands the terminal."""
    config = FOLDER / "terminal.toml"
    config.write_text('[[sink]]\nname = "out"\ntype = "stdout"\ncodec = "native"\n')
    done = subprocess.run([PROGRAM, "sinks", "test", "out", "--config", config, "--from", SOURCE], capture_output=True, timeout=300)
    text = done.stdout.decode()
    controls = [letter for letter in text if letter != "\n" and (ord(letter) < 0x20 or 0x7f <= ord(letter) <= 0x9f)]
    expect(not controls and len(text.split("\n")) == COUNT + 2, f"{len(controls)} control characters, {len(text.splitlines())} lines")


def main():
    import brokers, collectors, syslogs
    global faults
    cases = [codec_native, codec_ocsf, codec_ecs, codec_cef, codec_leef, terminal]
    cases += syslogs.CASES + collectors.CASES + brokers.CASES
    FOLDER.mkdir(parents=True, exist_ok=True)
    SOURCE.write_text("".join(json.dumps(alert, ensure_ascii=False) + "\n" for alert in ALERTS))
    ran = [case for case in cases if WORD in case.__name__]
    for case in ran:
        started = time.monotonic()
        rates.clear()
        try:
            case()
            verdict = "ok"
        except Exception as error:  # one broken receiver must not hide the others
            faults += 1
            verdict = f"FAILED: {type(error).__name__}: {str(error)[:600]}"
        print(f"{case.__name__.replace('_', ' '):40} {verdict} ({COUNT} alerts, {max(rates, default=0):.0f} acknowledged/s, {time.monotonic() - started:.1f} s)", flush=True)
    print(f"{len(ran) - faults} passed, {faults} failed")
    sys.exit(1 if faults or not ran else 0)


if __name__ == "__main__":
    sys.modules["receive"] = sys.modules["__main__"]
    main()
