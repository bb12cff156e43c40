"""Conversations made from a seed, and what the model answers: neutral, in no provider's words."""

import json
import random

WORDS = "order refund invoice ticket Grüße 数据 naïve \"quoted\" back\\slash tab\tend line\nbreak {brace} 50% plain".split(" ")
TOOLS = [
    ("lookup_order", "Looks an order up", {"order": {"type": "string"}}),
    ("refund", "Pays back", {"order": {"type": "string"}, "amount": {"type": "number"}}),
    ("send_mail", "Sends a mail", {"to": {"type": "string"}, "body": {"type": "string"}}),
    ("noop", "Nothing to say", {}),
]


# aimock cuts streams between UTF-16 units: in an answer this would come out as two halves of a letter.
PAIR = "🙂"


def words(rng, most=12, extra=()):
    return " ".join(rng.choice([*WORDS, *extra]) for _ in range(rng.randint(1, most)))


def arguments(rng, name):
    filled = {
        "lookup_order": {"order": str(rng.randint(1, 9999))},
        "refund": {"order": words(rng, 2), "amount": rng.choice([12, 12.5, 0, -3, 4900.25])},
        "send_mail": {"to": "a@example.com", "body": words(rng), "cc": [{"name": words(rng, 2)}, None, True]},
        "noop": {},
    }
    return filled[name]


def call(rng, key, number):
    name = rng.choice(TOOLS)[0]
    return {"id": f"call_{key}_{number}", "name": name, "arguments": arguments(rng, name)}


def case(seed, number):
    rng = random.Random(f"{seed}/{number}")
    key = f"k{number}"
    turns = [{"role": "user", "text": f"[{key}] {words(rng, extra=[PAIR])}"}]
    for step in range(rng.choice([0, 0, 1, 1, 2])):
        calls = [call(rng, key, f"{step}{index}") for index in range(rng.choice([1, 1, 2]))]
        turns.append({"role": "assistant", "text": rng.choice(["", words(rng)]), "calls": calls})
        turns += [{"role": "tool", "id": one["id"], "name": one["name"], "text": words(rng, 30, [PAIR]), "failed": rng.random() < 0.3} for one in calls]
    kind = rng.choice(["text", "text", "call", "calls", "both", "long"])
    reply = {}
    if kind in ("text", "both", "long"):
        reply["content"] = words(rng, 40)
    if kind in ("call", "both"):
        reply["toolCalls"] = [call(rng, key, "r0")]
    if kind == "calls":
        reply["toolCalls"] = [call(rng, key, f"r{index}") for index in range(rng.randint(2, 3))]
    for one in reply.get("toolCalls", []):
        one["arguments"] = json.dumps(one["arguments"])
    if kind == "long":
        reply["finishReason"] = "length"
    reply["usage"] = {"prompt_tokens": rng.randint(1, 90_000), "completion_tokens": rng.randint(1, 9_000)}
    return {
        "key": key,
        "system": rng.choice([None, words(rng)]),
        "turns": turns,
        "tools": rng.sample(TOOLS, rng.randint(1, len(TOOLS))),
        "reply": reply,
    }
