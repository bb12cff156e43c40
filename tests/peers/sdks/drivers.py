"""One class for each SDK: how a neutral case is asked through it, and what it reads in the answer."""

import hashlib
import json


def of(which, port):
    quick = [OpenAiChat, AzureChat, Responses, Anthropic, Ollama, Converse]
    others = [Groq, OpenRouter, BedrockAnthropic, Gemini, Vertex, Mistral, Cohere]
    # An SDK is imported only when its turn comes: some take seconds.
    yield from (make(port) for make in quick + (others if which == "all" else []))


def parsed(text):
    return json.loads(text) if text else {}


def read(text, calls, stop, input=None, output=None, model=None, cached=None, reasoning=None):
    return {"text": text or "", "calls": calls, "stop": stop, "input": input, "output": output, "model": model, "cached": cached, "reasoning": reasoning, "remote": [], "refusal": False, "failed": False}


def said(id, name, arguments):
    return {"id": id, "name": name, "arguments": arguments}


def atoms(case, result=lambda text: text, ids=True, failures=False):
    """Roles and contents in order, whatever messages a provider packs them into; of a result also whether the tool failed, where
    the provider's messages can say so."""
    out = [["system", "text", case["system"]]] if case["system"] else []
    for turn in case["turns"]:
        if turn["role"] == "tool":
            out.append(["tool", "result", turn["id"] if ids else None, result(turn["text"]), failures and turn["failed"]])
            continue
        if turn["text"]:
            out.append([turn["role"], "text", turn["text"]])
        out += [["assistant", "call", one["id"] if ids else None, one["name"], one["arguments"]] for one in turn.get("calls", [])]
    return out


def offered(definitions):
    """Name, description and the hash of each definition with sorted keys."""
    text = lambda definition: json.dumps(definition, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return [[one["name"], one["description"], hashlib.sha256(text(one).encode()).hexdigest()] for one in definitions]


class Driver:
    atoms = staticmethod(atoms)
    host = ""
    # Whether aimock answers with the tokens that it is told.
    counts = True

    @staticmethod
    def definition(name, description, schema):
        """What describes a tool, as it goes to the provider."""
        return {"name": name, "description": description, "parameters": schema}

    @classmethod
    def definitions(cls, case):
        return [cls.definition(name, description, {"type": "object", "properties": fields}) for name, description, fields in case["tools"]]

    @staticmethod
    def takes(case, stream):
        """Whether the SDK reads what aimock answers; where it does not, `told.py` has an answer that it reads."""
        return True

    def __init__(self, port):
        self.url = f"http://{self.host}:{port}"
        self.client = self.connect()


class OpenAiChat(Driver):
    name, provider, model, host, base = "openai chat", "openai", "gpt-5", "api.openai.com", "/v1"

    def connect(self):
        import openai

        return openai.OpenAI(base_url=self.url + self.base, api_key="test", max_retries=0)

    def messages(self, case):
        out = [{"role": "system", "content": case["system"]}] if case["system"] else []
        for turn in case["turns"]:
            if turn["role"] == "tool":
                out.append({"role": "tool", "tool_call_id": turn["id"], "content": turn["text"]})
            else:
                message = {"role": turn["role"], "content": turn["text"] or None}
                calls = [
                    {"id": one["id"], "type": "function", "function": {"name": one["name"], "arguments": json.dumps(one["arguments"])}}
                    for one in turn.get("calls", [])
                ]
                out.append({**message, "tool_calls": calls} if calls else message)
        return out

    def tools(self, case):
        return [{"type": "function", "function": definition} for definition in self.definitions(case)]

    def ask(self, case, stream):
        asked = {"model": self.model, "messages": self.messages(case), "tools": self.tools(case)}
        if stream:
            with self.client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
                for _ in events:
                    pass
                try:
                    answer = events.get_final_completion()
                except Exception as fault:
                    # The helper raises on `length`, with what it has.
                    answer = getattr(fault, "completion", None)
                    if answer is None:
                        raise
        else:
            answer = self.client.chat.completions.create(**asked)
        choice = answer.choices[0]
        calls = [said(one.id, one.function.name, parsed(one.function.arguments)) for one in choice.message.tool_calls or []]
        usage = answer.usage
        details = {
            "cached": usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens,
            "reasoning": usage.completion_tokens_details and usage.completion_tokens_details.reasoning_tokens,
        }
        return read(choice.message.content, calls, choice.finish_reason, usage.prompt_tokens, usage.completion_tokens, answer.model, **details)


class AzureChat(OpenAiChat):
    name, provider, host = "openai azure", "azure.ai.openai", "desk.openai.azure.com"

    def connect(self):
        import openai

        return openai.AzureOpenAI(azure_endpoint=self.url, api_key="test", api_version="2025-04-01-preview", max_retries=0)


class Groq(OpenAiChat):
    name, provider, model, host, base = "openai to Groq", "groq", "llama-4", "api.groq.com", "/openai/v1"


class OpenRouter(OpenAiChat):
    name, provider, model, host, base = "openai to OpenRouter", "openrouter", "openai/gpt-5", "openrouter.ai", "/api/v1"


class Responses(OpenAiChat):
    name = "openai responses"

    @staticmethod
    def definition(name, description, schema):
        return {"type": "function", "name": name, "description": description, "parameters": schema, "strict": False}

    def ask(self, case, stream):
        items = []
        for turn in case["turns"]:
            if turn["role"] == "tool":
                items.append({"type": "function_call_output", "call_id": turn["id"], "output": turn["text"]})
                continue
            if turn["text"]:
                items.append({"role": turn["role"], "content": turn["text"]})
            for one in turn.get("calls", []):
                items.append({"type": "function_call", "call_id": one["id"], "name": one["name"], "arguments": json.dumps(one["arguments"])})
        asked = {"model": self.model, "input": items, "tools": self.definitions(case), **({"instructions": case["system"]} if case["system"] else {})}
        if stream:
            ends = ("response.completed", "response.incomplete", "response.failed")
            answer = next(event.response for event in self.client.responses.create(**asked, stream=True) if event.type in ends)
        else:
            answer = self.client.responses.create(**asked)
        calls = [said(item.call_id, item.name, parsed(item.arguments)) for item in answer.output if item.type == "function_call"]
        stop = answer.incomplete_details.reason if answer.incomplete_details else answer.status
        usage = answer.usage
        details = {
            "cached": usage.input_tokens_details and usage.input_tokens_details.cached_tokens,
            "reasoning": usage.output_tokens_details and usage.output_tokens_details.reasoning_tokens,
        }
        return read(answer.output_text, calls, stop, usage.input_tokens, usage.output_tokens, answer.model, **details)


class Anthropic(Driver):
    name, provider, model, host = "anthropic", "anthropic", "claude-opus-4-5", "api.anthropic.com"

    @staticmethod
    def atoms(case):
        return atoms(case, failures=True)

    @staticmethod
    def definition(name, description, schema):
        return {"name": name, "description": description, "input_schema": schema}

    def connect(self):
        import anthropic

        return anthropic.Anthropic(base_url=self.url, api_key="test", max_retries=0)

    def ask(self, case, stream):
        messages = []
        for turn in case["turns"]:
            if turn["role"] == "tool":
                failed = {"is_error": True} if turn["failed"] else {}
                blocks, role = [{"type": "tool_result", "tool_use_id": turn["id"], "content": turn["text"], **failed}], "user"
            else:
                blocks, role = [{"type": "text", "text": turn["text"]}] if turn["text"] else [], turn["role"]
                blocks += [{"type": "tool_use", "id": one["id"], "name": one["name"], "input": one["arguments"]} for one in turn.get("calls", [])]
            if messages and messages[-1]["role"] == role:
                messages[-1]["content"] += blocks
            else:
                messages.append({"role": role, "content": blocks})
        asked = {"model": self.model, "max_tokens": 1024, "messages": messages, "tools": self.definitions(case), **({"system": case["system"]} if case["system"] else {})}
        if stream:
            with self.client.messages.stream(**asked) as events:
                answer = events.get_final_message()
        else:
            answer = self.client.messages.create(**asked)
        text = "".join(block.text for block in answer.content if block.type == "text")
        calls = [said(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"]
        usage = answer.usage
        return read(text, calls, answer.stop_reason, usage.input_tokens, usage.output_tokens, answer.model, usage.cache_read_input_tokens)


class BedrockAnthropic(Anthropic):
    name, provider, model, host = "anthropic bedrock", "aws.bedrock", "anthropic.claude-opus-4-5-v1:0", "bedrock-runtime.us-east-1.amazonaws.com"
    # aimock's stream of InvokeModel lacks the envelope.
    takes = staticmethod(lambda case, stream: not stream)

    def connect(self):
        import anthropic

        return anthropic.AnthropicBedrock(base_url=self.url, aws_access_key="AKIATEST", aws_secret_key="test", aws_region="us-east-1", max_retries=0)


class Gemini(Driver):
    name, provider, model, host = "google-genai", "gcp.gemini", "gemini-2.5-pro", "generativelanguage.googleapis.com"

    @staticmethod
    def atoms(case):
        return atoms(case, result=lambda text: json.dumps({"result": text}))

    @staticmethod
    def definition(name, description, schema):
        return {"name": name, "description": description, "parameters_json_schema": schema}

    def connect(self):
        from google import genai

        return genai.Client(api_key="test", http_options={"base_url": self.url, "api_version": "v1beta"})

    def ask(self, case, stream):
        from google.genai import types

        contents = []
        for turn in case["turns"]:
            if turn["role"] == "tool":
                answer = types.FunctionResponse(id=turn["id"], name=turn["name"], response={"result": turn["text"]})
                parts, role = [types.Part(function_response=answer)], "user"
            else:
                parts, role = [types.Part(text=turn["text"])] if turn["text"] else [], {"assistant": "model"}.get(turn["role"], "user")
                parts += [types.Part(function_call=types.FunctionCall(id=one["id"], name=one["name"], args=one["arguments"])) for one in turn.get("calls", [])]
            if contents and contents[-1].role == role:
                contents[-1].parts += parts
            else:
                contents.append(types.Content(role=role, parts=parts))
        tools = [types.FunctionDeclaration(**definition) for definition in self.definitions(case)]
        asked = {
            "model": self.model,
            "contents": contents,
            "config": types.GenerateContentConfig(system_instruction=case["system"], tools=[types.Tool(function_declarations=tools)]),
        }
        answers = list(self.client.models.generate_content_stream(**asked)) if stream else [self.client.models.generate_content(**asked)]
        parts = [part for answer in answers for part in answer.candidates[0].content.parts or []]
        text = "".join(part.text for part in parts if part.text and not part.thought)
        calls = [said(part.function_call.id, part.function_call.name, part.function_call.args or {}) for part in parts if part.function_call]
        last = answers[-1]
        usage = last.usage_metadata
        stop = last.candidates[0].finish_reason.value
        return read(text, calls, stop, usage.prompt_token_count, usage.candidates_token_count, last.model_version, usage.cached_content_token_count, usage.thoughts_token_count)


class Vertex(Gemini):
    name, provider, host = "google-genai vertex", "gcp.vertex_ai", "us-central1-aiplatform.googleapis.com"

    def connect(self):
        import google.auth.credentials
        from google import genai

        class Known(google.auth.credentials.Credentials):
            token = "test"

            def refresh(self, request):
                self.token = "test"

        return genai.Client(vertexai=True, project="desk", location="us-central1", credentials=Known(), http_options={"base_url": self.url, "api_version": "v1"})


class Mistral(OpenAiChat):
    name, provider, model, host = "mistralai", "mistral_ai", "mistral-large-latest", "api.mistral.ai"
    # The SDK wants a name in every part of a call.
    takes = staticmethod(lambda case, stream: not (stream and "toolCalls" in case["reply"]))

    def connect(self):
        from mistralai.client import Mistral as Client

        return Client(api_key="test", server_url=self.url)

    def messages(self, case):
        return [{**message, "content": message["content"] or ""} for message in super().messages(case)]

    def ask(self, case, stream):
        asked = {"model": self.model, "messages": self.messages(case), "tools": self.tools(case)}
        if not stream:
            answer = self.client.chat.complete(**asked)
            choice = answer.choices[0]
            calls = [said(one.id, one.function.name, whole(one.function.arguments)) for one in choice.message.tool_calls or []]
            return read(choice.message.content, calls, choice.finish_reason, answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.model)
        text, stop, usage, model, calls = "", None, None, None, {}
        for event in self.client.chat.stream(**asked):
            model, usage = event.data.model or model, event.data.usage or usage
            for choice in event.data.choices:
                text, stop = text + (choice.delta.content or ""), choice.finish_reason or stop
                for one in choice.delta.tool_calls or []:
                    known = calls.setdefault(one.index, [one.id, "", ""])
                    known[1] += one.function.name or ""
                    known[2] += one.function.arguments if isinstance(one.function.arguments, str) else json.dumps(one.function.arguments)
        calls = [said(id, name, parsed(arguments)) for id, name, arguments in calls.values()]
        tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
        return read(text, calls, stop, *tokens, model)


def whole(arguments):
    return parsed(arguments) if isinstance(arguments, str) else arguments


class Cohere(OpenAiChat):
    name, provider, model, host = "cohere", "cohere", "command-a-03-2025", "api.cohere.com"

    def connect(self):
        import cohere

        return cohere.ClientV2(api_key="test", base_url=self.url)

    def messages(self, case):
        return [{name: value for name, value in message.items() if value is not None} for message in super().messages(case)]

    def ask(self, case, stream):
        asked = {"model": self.model, "messages": self.messages(case), "tools": self.tools(case)}
        if not stream:
            answer = self.client.chat(**asked)
            text = "".join(part.text for part in answer.message.content or [] if part.type == "text")
            calls = [said(one.id, one.function.name, parsed(one.function.arguments)) for one in answer.message.tool_calls or []]
            tokens = answer.usage.tokens
            return read(text, calls, answer.finish_reason, whole_number(tokens.input_tokens), whole_number(tokens.output_tokens))
        text, stop, tokens, calls = "", None, None, []
        for event in self.client.chat_stream(**asked):
            if event.type == "content-delta":
                text += event.delta.message.content.text or ""
            elif event.type == "tool-call-start":
                one = event.delta.message.tool_calls
                calls.append([one.id, one.function.name, one.function.arguments or ""])
            elif event.type == "tool-call-delta":
                calls[-1][2] += event.delta.message.tool_calls.function.arguments
            elif event.type == "message-end":
                stop, tokens = event.delta.finish_reason, event.delta.usage.tokens
        return read(text, [said(id, name, parsed(json_text)) for id, name, json_text in calls], stop, whole_number(tokens.input_tokens), whole_number(tokens.output_tokens))


def whole_number(number):
    return None if number is None else int(number)


class Ollama(Driver):
    name, provider, model, host, counts = "ollama", "ollama", "qwen3:8b", "ollama.desk.example", False

    @staticmethod
    def atoms(case):
        return atoms(case, ids=False)

    def connect(self):
        import ollama

        return ollama.Client(host=self.url)

    def ask(self, case, stream):
        messages = [{"role": "system", "content": case["system"]}] if case["system"] else []
        for turn in case["turns"]:
            if turn["role"] == "tool":
                messages.append({"role": "tool", "tool_name": turn["name"], "content": turn["text"]})
            else:
                calls = [{"function": {"name": one["name"], "arguments": one["arguments"]}} for one in turn.get("calls", [])]
                messages.append({"role": turn["role"], "content": turn["text"], **({"tool_calls": calls} if calls else {})})
        tools = [{"type": "function", "function": definition} for definition in self.definitions(case)]
        answers = self.client.chat(model=self.model, messages=messages, tools=tools, stream=stream)
        answers = list(answers) if stream else [answers]
        calls = [said(None, one.function.name, dict(one.function.arguments)) for answer in answers for one in answer.message.tool_calls or []]
        last = answers[-1]
        return read("".join(answer.message.content or "" for answer in answers), calls, last.done_reason, last.prompt_eval_count, last.eval_count, last.model)


class Converse(Driver):
    name, provider, model, host = "botocore converse", "aws.bedrock", "us.amazon.nova-pro-v1:0", "bedrock-runtime.us-east-1.amazonaws.com"
    # botocore refuses the `contentBlockStart` of a text.
    takes = staticmethod(lambda case, stream: not stream)

    @staticmethod
    def atoms(case):
        return atoms(case, failures=True)

    @staticmethod
    def definition(name, description, schema):
        return {"name": name, "description": description, "inputSchema": {"json": schema}}

    def connect(self):
        import botocore.session

        session = botocore.session.get_session()
        session.set_credentials("AKIATEST", "test")
        return session.create_client("bedrock-runtime", region_name="us-east-1", endpoint_url=self.url)

    def ask(self, case, stream):
        messages = []
        for turn in case["turns"]:
            if turn["role"] == "tool":
                failed = {"status": "error"} if turn["failed"] else {}
                blocks, role = [{"toolResult": {"toolUseId": turn["id"], "content": [{"text": turn["text"]}], **failed}}], "user"
            else:
                blocks, role = [{"text": turn["text"]}] if turn["text"] else [], turn["role"]
                blocks += [{"toolUse": {"toolUseId": one["id"], "name": one["name"], "input": one["arguments"]}} for one in turn.get("calls", [])]
            if messages and messages[-1]["role"] == role:
                messages[-1]["content"] += blocks
            else:
                messages.append({"role": role, "content": blocks})
        tools = [{"toolSpec": definition} for definition in self.definitions(case)]
        asked = {"modelId": self.model, "messages": messages, "toolConfig": {"tools": tools}, **({"system": [{"text": case["system"]}]} if case["system"] else {})}
        if not stream:
            answer = self.client.converse(**asked)
            blocks = answer["output"]["message"]["content"]
            calls = [said(block["toolUse"]["toolUseId"], block["toolUse"]["name"], block["toolUse"]["input"]) for block in blocks if "toolUse" in block]
            return read("".join(block.get("text", "") for block in blocks), calls, answer["stopReason"], answer["usage"]["inputTokens"], answer["usage"]["outputTokens"])
        text, stop, usage, calls = "", None, {}, {}
        for event in self.client.converse_stream(**asked)["stream"]:
            if "contentBlockStart" in event and "toolUse" in event["contentBlockStart"]["start"]:
                start = event["contentBlockStart"]["start"]["toolUse"]
                calls[event["contentBlockStart"]["contentBlockIndex"]] = [start["toolUseId"], start["name"], ""]
            elif "contentBlockDelta" in event:
                delta = event["contentBlockDelta"]["delta"]
                text += delta.get("text", "")
                if "toolUse" in delta:
                    calls[event["contentBlockDelta"]["contentBlockIndex"]][2] += delta["toolUse"]["input"]
            elif "messageStop" in event:
                stop = event["messageStop"]["stopReason"]
            elif "metadata" in event:
                usage = event["metadata"]["usage"]
        return read(text, [said(id, name, parsed(json_text)) for id, name, json_text in calls.values()], stop, usage["inputTokens"], usage["outputTokens"])
