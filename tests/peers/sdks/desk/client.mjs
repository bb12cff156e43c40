// A client made with the MCP package of npm: `client.mjs KIND WHERE COUNT WORDS` goes through what the desk has and prints the messages.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { tapped } from "./tap.mjs";

const [kind, where, count, words] = process.argv.slice(2);
const said = [];
const parts = kind === "stdio" ? JSON.parse(where) : [];
const transport =
  kind === "stdio"
    ? new StdioClientTransport({ command: parts[0], args: parts.slice(1), stderr: "inherit" })
    : kind === "sse"
      ? new SSEClientTransport(new URL(`http://127.0.0.1:${where}/sse`))
      : new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${where}/mcp`));
const client = new Client({ name: "clerk", version: "1.0" }, { capabilities: { elicitation: { form: {} }, sampling: {}, roots: { listChanged: true } } });
client.setRequestHandler(ElicitRequestSchema, () => ({ action: "accept", content: { ok: true } }));
client.setRequestHandler(CreateMessageRequestSchema, () => ({ role: "assistant", content: { type: "text", text: "Yes, naïve." }, model: "m-1", stopReason: "endTurn" }));
client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: "file:///srv/desk", name: "desk" }] }));
const failing = (call) => call.catch(() => undefined);

await client.connect(tapped(transport, "client", (speaker, message) => said.push([speaker, structuredClone(message)])));
await client.listTools();
await client.listResources();
await client.listResourceTemplates();
await client.listPrompts();
await client.readResource({ uri: "desk://rules" });
await client.readResource({ uri: "desk://orders/7" });
await client.getPrompt({ name: "polite", arguments: { name: "Ada" } });
await client.complete({ ref: { type: "ref/prompt", name: "polite" }, argument: { name: "name", value: "A" } });
await failing(client.callTool({ name: "fails", arguments: { reason: "no paper" } }));
await failing(client.callTool({ name: "nothing", arguments: {} }));
await failing(client.readResource({ uri: "desk://nowhere" }));
await client.ping();
await client.setLoggingLevel("info");
await client.sendRootsListChanged();
if (kind !== "http-json") await client.callTool({ name: "ask", arguments: { question: "Pay 12?" } }, undefined, { onprogress: () => {} });
for (const [number, one] of JSON.parse(words).slice(0, Number(count)).entries()) {
  if (number % 2) await client.callTool({ name: "lookup", arguments: { order: one } });
  else await client.callTool({ name: "price", arguments: { order: String(number), lines: one.split(" ") } });
}
await client.close();
console.log(JSON.stringify(said));
process.exit(0);
