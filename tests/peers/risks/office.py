"""The stand-in of the risk stories: models that follow each run's plan, and the companies whose APIs the agents call.

    office.py DIR     DIR gets ca.pem, ledger.jsonl and, once ready, port; DIR/runs/NUMBER.json says what a run needs:
                      {"model": [[tool, arguments], …], "api": {"METHOD /path": [status, body]}}

A run's model is found by the key that its agent sends; one decision a turn, then a closing sentence. Where the same agent has several
conversations, each is about a case of its own, N-1, N-2, …: the decisions say `{case}`.
"""

import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import standin


class Office(standin.Handler):
    def model(self, url, body):
        key = self.headers.get("x-api-key") or self.headers["Authorization"].removeprefix("Bearer ")
        number = key.removeprefix("sk-run-")
        case = re.search(r"N-\d+", body.decode())
        case = case[0] if case else ""
        with open(os.path.join(self.server.folder, "runs", f"{number}.json")) as file:
            plan = json.loads(file.read().replace("{case}", case))["model"]
        form = standin.anthropic_messages if url.path.endswith("/messages") else standin.openai_chat
        decide = lambda texts, results, tools: tuple(plan[len(results)]) if len(results) < len(plan) else None
        self.say(*form(json.loads(body), decide, f"{number}n{case}"))

    def api(self, url, body):
        call = f"{self.command} {url.path}"
        folder = os.path.join(self.server.folder, "runs")
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name)) as file:
                answers = json.load(file)["api"]
            if call in answers:
                return self.json(*answers[call])
        self.json(404, {"error": f"nobody answers {call}"})


standin.ROUTES = [("/v1/chat/completions", Office.model), ("/v1/messages", Office.model), ("/", Office.api)]
standin.Handler = Office

if __name__ == "__main__":
    standin.main()
