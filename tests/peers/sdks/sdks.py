"""Calls through the model SDKs against aimock, as a recording, and what was asked and answered as the SDKs themselves read it.

    sdks.py CASES SEED slice|all NODE_FOLDER OUT

OUT gets `recording.jsonl` and `truth.jsonl`: one object for each call, in the order of the calls. What was asked is the case, and
aimock's journal must say the same; what was answered is what the SDK made of it, and must be what aimock was told to answer. Then
the same SDKs are answered with what aimock does not send: `told.py`.
"""

import json
import pathlib
import socket
import subprocess
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cases as made
import drivers
import runner
import told
import wire


def main():
    count, seed, which, node, out = int(sys.argv[1]), *sys.argv[2:4], *map(pathlib.Path, sys.argv[4:6])
    everything = [made.case(seed, number) for number in range(count)]
    (out / "cases.json").write_text(json.dumps(everything))
    (out / "answers.json").write_text(json.dumps([*everything, runner.CASE]))
    mock = subprocess.Popen(["node", beside(node, "standin.mjs"), out / "answers.json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    upstream, server = int(mock.stdout.readline()), told.Told()
    ports = {"aimock": upstream, "told": server.port}
    target = ["aimock"]
    recording = wire.Recording(out / "recording.jsonl")
    proxy = wire.Wire(recording, lambda: ports[target[0]])
    resolve = socket.getaddrinfo
    # The SDKs name the providers' own hosts; all of them are here.
    socket.getaddrinfo = lambda host, *more, **named: resolve("127.0.0.1" if "." in str(host) else host, *more, **named)
    truth = []
    try:
        for driver in drivers.of(which, proxy.port):
            for case in everything:
                for stream in (stream for stream in (False, True) if driver.takes(case, stream)):
                    try:
                        answered = driver.ask(case, stream)
                    except Exception as fault:
                        raise RuntimeError(f"{driver.name}, {case['key']}, stream {stream}: {case}") from fault
                    truth.append({"sdk": driver.name, "case": case["key"], "asked": asked(driver, case, stream), "answered": answered})
                    same(driver, case, stream, answered)
        truth += from_npm(proxy.port, node, out / "cases.json", everything)
        for name, stream, turns, tool, answered in runner.agent(proxy.port):
            said = {**asked(drivers.OpenAiChat, {**runner.CASE, "turns": turns}, stream), "tools": drivers.offered([tool])}
            truth.append({"sdk": name, "case": "agent", "asked": said, "answered": answered})
        journaled = list(truth)
        target[0] = "told"
        for driver in drivers.of(which, proxy.port):
            for name, stream, answered in told.calls(driver, server):
                truth.append({"sdk": driver.name, "case": name, "asked": asked(driver, told.ASKED, stream), "answered": answered})
        journal = json.load(urllib.request.urlopen(f"http://127.0.0.1:{upstream}/__aimock/journal"))
        agree(journal, journaled)
    finally:
        mock.stdin.close()
        mock.wait()
        proxy.close()
        recording.close()
    (out / "truth.jsonl").write_text("".join(json.dumps(row) + "\n" for row in truth))


def beside(node, name):
    """A program of this folder where Node finds the packages: it looks beside the program."""
    script = node / name
    script.write_bytes((pathlib.Path(__file__).parent / name).read_bytes())
    return script


def from_npm(port, node, file, everything):
    done = subprocess.run(["node", beside(node, "clients.mjs"), str(port), file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    alike = {"npm openai chat": drivers.OpenAiChat, "npm openai responses": drivers.Responses, "npm anthropic": drivers.Anthropic}
    cases = {case["key"]: case for case in everything}
    for row in map(json.loads, done.stdout.splitlines()):
        driver, case = alike[row["sdk"]], cases[row["case"]]
        same(driver, case, row["stream"], row["answered"])
        answered = {**drivers.read("", [], None), **row["answered"]}
        yield {"sdk": row["sdk"], "case": row["case"], "asked": asked(driver, case, row["stream"]), "answered": answered}


def asked(driver, case, stream):
    return {
        "provider": driver.provider,
        "model": driver.model,
        "streamed": stream,
        "tools": drivers.offered(driver.definitions(case)),
        "messages": driver.atoms(case),
    }


def same(driver, case, stream, answered):
    """The oracle is not empty: what the SDK read is what aimock was told."""
    reply, where = case["reply"], f"{driver.name}, {case['key']}, stream {stream}: {answered}"
    assert answered["text"] == reply.get("content", ""), where
    told = [(one["name"], json.loads(one["arguments"])) for one in reply.get("toolCalls", [])]
    assert [(one["name"], one["arguments"]) for one in answered["calls"]] == told, where
    if driver.counts and answered["input"] is not None:
        assert (answered["input"], answered["output"]) == (reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"]), where


def agree(journal, truth):
    """aimock read in each request what the case says."""
    entries = journal if isinstance(journal, list) else journal["entries"]
    assert len(entries) == len(truth), f"{len(entries)} in the journal, {len(truth)} calls"
    for entry, row in zip(entries, truth):
        body, where = entry["body"], f"{row['sdk']} {row['case']}: {json.dumps(entry['body'])}"
        names = [tool["function"]["name"] for tool in body.get("tools") or []]
        assert names == [name for name, *_ in row["asked"]["tools"]], where
        told = [said["id"] for message in body["messages"] for said in message.get("tool_calls") or []]
        mine = [atom[2] for atom in row["asked"]["messages"] if atom[1] == "call"]
        assert len(told) == len(mine), where
        roles = {message["role"] for message in body["messages"]} - {"developer"}
        assert roles == {atom[0] for atom in row["asked"]["messages"]}, where


if __name__ == "__main__":
    main()
