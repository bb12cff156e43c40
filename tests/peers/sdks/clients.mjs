// The SDKs of npm: `node clients.mjs PORT CASES` asks each case whole and as a stream, and prints what they read, a line each.
import dns from "node:dns";
import { readFileSync } from "node:fs";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [port, file] = process.argv.slice(2);
// The SDKs name the providers' own hosts; all of them are here.
const lookup = dns.lookup;
dns.lookup = (_host, options, done) => lookup("127.0.0.1", options, done);

const parsed = (text) => (text ? JSON.parse(text) : {});
const said = (id, name, given) => ({ id, name, arguments: given });
const openai = new OpenAI({ baseURL: `http://api.openai.com:${port}/v1`, apiKey: "test", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: `http://api.anthropic.com:${port}`, apiKey: "test", maxRetries: 0 });
const schema = (fields) => ({ type: "object", properties: fields });

async function chat(one, stream) {
  const messages = one.system ? [{ role: "system", content: one.system }] : [];
  for (const turn of one.turns) {
    if (turn.role === "tool") messages.push({ role: "tool", tool_call_id: turn.id, content: turn.text });
    else {
      const calls = (turn.calls ?? []).map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: JSON.stringify(call.arguments) } }));
      messages.push({ role: turn.role, content: turn.text || null, ...(calls.length ? { tool_calls: calls } : {}) });
    }
  }
  const tools = one.tools.map(([name, description, fields]) => ({ type: "function", function: { name, description, parameters: schema(fields) } }));
  const asked = { model: "gpt-5", messages, tools };
  const answer = stream
    ? await openai.chat.completions.stream({ ...asked, stream_options: { include_usage: true } }).finalChatCompletion()
    : await openai.chat.completions.create(asked);
  const [choice] = answer.choices;
  const calls = (choice.message.tool_calls ?? []).map((call) => said(call.id, call.function.name, parsed(call.function.arguments)));
  return { text: choice.message.content ?? "", calls, stop: choice.finish_reason, input: answer.usage.prompt_tokens, output: answer.usage.completion_tokens, model: answer.model };
}

async function responses(one, stream) {
  const input = one.turns.flatMap((turn) =>
    turn.role === "tool"
      ? [{ type: "function_call_output", call_id: turn.id, output: turn.text }]
      : [
          ...(turn.text ? [{ role: turn.role, content: turn.text }] : []),
          ...(turn.calls ?? []).map((call) => ({ type: "function_call", call_id: call.id, name: call.name, arguments: JSON.stringify(call.arguments) })),
        ],
  );
  const tools = one.tools.map(([name, description, fields]) => ({ type: "function", name, description, parameters: schema(fields), strict: false }));
  const asked = { model: "gpt-5", input, tools, ...(one.system ? { instructions: one.system } : {}) };
  let answer;
  if (stream) {
    for await (const event of await openai.responses.create({ ...asked, stream: true })) answer = event.response ?? answer;
  } else answer = await openai.responses.create(asked);
  const calls = answer.output.filter((item) => item.type === "function_call").map((call) => said(call.call_id, call.name, parsed(call.arguments)));
  const parts = answer.output.filter((item) => item.type === "message").flatMap((item) => item.content);
  const text = parts.map((part) => part.text ?? "").join("");
  return { text, calls, stop: answer.incomplete_details?.reason ?? answer.status, input: answer.usage.input_tokens, output: answer.usage.output_tokens, model: answer.model };
}

async function messages(one, stream) {
  const list = [];
  for (const turn of one.turns) {
    const role = turn.role === "tool" ? "user" : turn.role;
    const blocks =
      turn.role === "tool"
        ? [{ type: "tool_result", tool_use_id: turn.id, content: turn.text, ...(turn.failed ? { is_error: true } : {}) }]
        : [
            ...(turn.text ? [{ type: "text", text: turn.text }] : []),
            ...(turn.calls ?? []).map((call) => ({ type: "tool_use", id: call.id, name: call.name, input: call.arguments })),
          ];
    if (list.at(-1)?.role === role) list.at(-1).content.push(...blocks);
    else list.push({ role, content: blocks });
  }
  const tools = one.tools.map(([name, description, fields]) => ({ name, description, input_schema: schema(fields) }));
  const asked = { model: "claude-opus-4-5", max_tokens: 1024, messages: list, tools, ...(one.system ? { system: one.system } : {}) };
  const answer = stream ? await anthropic.messages.stream(asked).finalMessage() : await anthropic.messages.create(asked);
  const of = (kind) => answer.content.filter((block) => block.type === kind);
  const calls = of("tool_use").map((block) => said(block.id, block.name, block.input));
  const text = of("text").map((block) => block.text).join("");
  return { text, calls, stop: answer.stop_reason, input: answer.usage.input_tokens, output: answer.usage.output_tokens, model: answer.model };
}

for (const [sdk, ask] of [["npm openai chat", chat], ["npm openai responses", responses], ["npm anthropic", messages]]) {
  for (const one of JSON.parse(readFileSync(file, "utf8"))) {
    for (const stream of [false, true]) {
      console.log(JSON.stringify({ sdk, case: one.key, stream, answered: await ask(one, stream) }));
    }
  }
}
