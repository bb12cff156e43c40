"""The MCP packages of PyPI and npm talk to each other, as recordings, and what was said as their own sessions and servers read it.

    talk.py SEED COUNT slice|all NODE_FOLDER OUT

OUT gets `talks.jsonl`: one object for each talk, with the file of its recording and a row for each call and notification. A row is
what the client's session gave to its transport and took from it; the server's journal must say the same.
"""

import asyncio
import contextlib
import hashlib
import json
import pathlib
import random
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "desk")]
import cases
import client
import wire

HANDSHAKES = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
NEWEST = "2026-07-28"
# Seconds after which a talk hangs, on a busy machine.
PATIENCE = 240
# Client, server, transport, revision (`None`: what both agree on by a handshake).
SLICE = [
    ("pypi", "pypi", "stdio", None),
    ("pypi", "pypi", "stdio", NEWEST),
    ("pypi", "pypi", "sse", None),
    ("pypi", "pypi", "http", None),
    ("pypi", "pypi", "http", NEWEST),
    ("npm", "npm", "stdio", None),
    ("npm", "npm", "sse", None),
    ("npm", "npm", "http", None),
]
OTHERS = [
    *(("pypi", server, transport, revision) for server in ("pypi", "npm") for transport in ("stdio", "http") for revision in HANDSHAKES),
    ("pypi", "pypi", "http-json", None),
    ("pypi", "pypi", "http-json", NEWEST),
    ("npm", "npm", "http-json", None),
    ("npm", "pypi", "stdio", None),
    ("npm", "pypi", "sse", None),
    ("npm", "pypi", "http", None),
    ("pypi", "npm", "sse", None),
]


def main():
    seed, count, which, node, out = sys.argv[1], int(sys.argv[2]), sys.argv[3], *map(pathlib.Path, sys.argv[4:6])
    # Node looks for packages beside the program.
    for script in (HERE / "desk").glob("*.mjs"):
        (node / script.name).write_bytes(script.read_bytes())
    with open(out / "talks.jsonl", "w") as talks:
        for number, (speaker, server, kind, revision) in enumerate(SLICE + (OTHERS if which == "all" else [])):
            recording, journal = out / f"talk-{number}.jsonl", out / f"journal-{number}.jsonl"
            name = f"{speaker} client, {server} server, {kind}, {revision or 'handshake'}"
            try:
                said = talk(speaker, server, kind, revision, seed, count, node, recording, journal)
                answered = [json.loads(line) for line in journal.read_text().splitlines()]
                told = rows(said)
                agree(told, answered)
                agreed = next((row["result"]["protocolVersion"] for row in told if row["method"] == "initialize"), NEWEST)
                assert agreed == (revision or HANDSHAKES[-1]), agreed
                complete(told, kind, agreed)
            except Exception as fault:
                raise RuntimeError(name) from fault
            session = next((row["session"] for row in answered if row["session"]), None)
            talks.write(json.dumps({"sdk": f"mcp {speaker} {kind}", "talk": name, "recording": recording.name, "rows": list(expected(told, agreed, session))}) + "\n")


def talk(speaker, server, kind, revision, seed, count, node, recording, journal):
    words = [sys.executable, HERE / "desk/server.py"] if server == "pypi" else ["node", node / "server.mjs"]
    words += [kind, journal]
    with contextlib.ExitStack() as ends:
        if kind == "stdio":
            where = [sys.executable, HERE / "wire.py", recording, *words]
        else:
            process = ends.enter_context(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            upstream = int(process.stdout.readline())
            passed = wire.Recording(recording)
            ends.callback(passed.close)
            proxy = wire.Wire(passed, lambda: upstream)
            ends.callback(proxy.close)
            ends.callback(process.stdin.close)
            where = proxy.port
        if speaker == "pypi":
            modern = revision == NEWEST
            return asyncio.run(client.talk(kind, where, seed, count, modern, None if modern else revision, PATIENCE))
        rng = random.Random(f"mcp/{seed}")
        told = [cases.words(rng, 6, [cases.PAIR]) for _ in range(count)]
        where = json.dumps([str(word) for word in where]) if kind == "stdio" else str(where)
        done = subprocess.run(["node", node / "client.mjs", kind, where, str(count), json.dumps(told)], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def rows(said):
    """Calls with their answers, and notifications, in the order in which the client's end had them."""
    out, open_calls = [], {}
    for speaker, message in said:
        if "method" in message:
            row = {"from": speaker, "method": message["method"], "id": message.get("id"), "params": message.get("params")}
            out.append(row)
            if "id" in message:
                open_calls[speaker, json.dumps(message["id"])] = row
        else:
            asker = "client" if speaker == "server" else "server"
            row = open_calls.pop((asker, json.dumps(message["id"])))
            row.update({key: message[key] for key in ("result", "error") if key in message})
    assert not open_calls, open_calls
    return out


def agree(told, answered):
    """The server's journal says what the client's end says."""

    def key(row):
        # The package seals the state that a server gives, behind the server's back.
        bare = lambda value: {name: part for name, part in (value or {}).items() if name not in ("_meta", "requestState")} or None
        return json.dumps([row["from"], row["method"], bare(row.get("params")), bare(row.get("result")), row.get("error")], sort_keys=True)

    mine, theirs = sorted(map(key, told)), sorted(map(key, answered))
    assert mine == theirs, f"only the client's end says {sorted(set(mine) - set(theirs))}, only the journal says {sorted(set(theirs) - set(mine))}"


ALWAYS = {"tools/list", "tools/call", "resources/list", "resources/templates/list", "resources/read", "prompts/list", "prompts/get", "completion/complete"}
ASKED = {"sampling/createMessage", "roots/list", "notifications/message", "notifications/progress", "notifications/tools/list_changed"}


def complete(told, kind, agreed):
    """Nothing is left out because a tool failed."""
    wanted = ALWAYS | ({"server/discover"} if agreed == NEWEST else {"initialize", "ping", "logging/setLevel", "notifications/initialized"})
    if agreed == NEWEST:
        assert any("inputResponses" in (row["params"] or {}) for row in told), "nobody was asked"
        wanted |= {"notifications/progress"} if kind == "http" else set()
    elif kind != "http-json":
        wanted |= ASKED | ({"elicitation/create"} if agreed >= "2025-06-18" else set())
    missing = wanted - {row["method"] for row in told}
    assert not missing, f"{missing} were not said"
    results = [row["result"] for row in told if row["method"] == "tools/call" and "result" in row]
    assert any("structuredContent" in result for result in results) and any(result.get("isError") for result in results)


def expected(told, agreed, session):
    """What an action for each row must say."""
    hashes, held = {}, {}
    for row in told:
        params, method = row["params"] or {}, row["method"]
        answer = row.get("result") if "error" not in row else {"error": row["error"]}
        failed = None if row["id"] is None else "error" in row or (row.get("result") or {}).get("isError", False)
        called = method == "tools/call"
        action = {
            "kind": "mcp.request",
            "method": method,
            "id": None if row["id"] is None else str(row["id"]),
            "arguments": params.get("arguments", {}) if called else params,
            "result": answer,
            "is_error": failed,
            "tool": params["name"] if called else None,
            "schema": hashes.get(params["name"]) if called else None,
            "server": "desk",
            "version": agreed,
            "client": "clerk",
            "session": session,
        }
        if method == "tools/list" and row["from"] == "client":
            hashes.update({tool["name"]: fingerprint(tool) for tool in row["result"]["tools"]})
        # Since 2026-07-28 a server asks in its answer, and the call is sent again: one call, and what the user said is an approval.
        if isinstance(answer, dict) and answer.get("resultType") == "input_required":
            held[answer["requestState"]] = action
            continue
        if "inputResponses" in params:
            first = held.pop(params["requestState"])
            first.update(result=answer, is_error=failed)
            action.update(result=next(iter(params["inputResponses"].values())), is_error=None)
            yield action
            action = first
        yield action
    assert not held, held


def fingerprint(tool):
    return hashlib.sha256(json.dumps(tool, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


main()
