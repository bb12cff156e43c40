// A desk made with the MCP package of npm: `server.mjs stdio|sse|http|http-json JOURNAL`, with the same journal as `server.py`.
import { createServer } from "node:http";
import { appendFileSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { McpServer, ResourceTemplate } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { completable } from "@modelcontextprotocol/sdk/server/completable.js";
import { z } from "zod";
import { tapped, pairs } from "./tap.mjs";

const [kind, path] = process.argv.slice(2);

function desk() {
  const one = new McpServer({ name: "desk", version: "3.1.0" }, { instructions: "A desk.", capabilities: { logging: {} } });
  const text = (words) => ({ content: [{ type: "text", text: words }] });
  one.registerTool("lookup", { description: "Looks an order up.", inputSchema: { order: z.string() } }, ({ order }) => text(`Order ${order}: paid, naïve "q" 数据 🙂`));
  const priced = { order: z.string(), amount: z.number(), lines: z.array(z.string()) };
  const asked = { order: z.string(), currency: z.string().optional(), lines: z.array(z.string()).optional() };
  one.registerTool("price", { title: "Price", description: "What an order costs", inputSchema: asked, outputSchema: priced }, ({ order, currency, lines }) => {
    const structuredContent = { order, amount: 12.5, lines: [currency ?? "EUR", ...(lines ?? [])] };
    return { ...text(JSON.stringify(structuredContent)), structuredContent };
  });
  one.registerTool("fails", { description: "Cannot work.", inputSchema: { reason: z.string() } }, ({ reason }) => { throw new Error(reason); });
  one.registerTool("ask", { description: "Asks the user, the model and the roots.", inputSchema: { question: z.string() } }, async ({ question }, extra) => {
    const token = extra._meta?.progressToken;
    const progress = (progress) => token !== undefined && extra.sendNotification({ method: "notifications/progress", params: { progressToken: token, progress, total: 3 } });
    await progress(1);
    await extra.sendNotification({ method: "notifications/message", params: { level: "info", logger: "desk", data: { question } } });
    const related = { relatedRequestId: extra.requestId };
    const model = await one.server.createMessage({ messages: [{ role: "user", content: { type: "text", text: question } }], systemPrompt: "Be brief.", maxTokens: 10 }, related);
    const roots = await one.server.listRoots(undefined, kind === "http" ? {} : related);
    one.sendToolListChanged();
    await progress(3);
    const requestedSchema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] };
    // Before 2025-06-18 there is no such question: then the call fails.
    const said = await one.server.elicitInput({ mode: "form", message: question, requestedSchema }, related);
    return text(`${said.action} ${model.content.text} ${roots.roots.length}`);
  });
  one.registerResource("rules", "desk://rules", { description: "What may be paid" }, (uri) => ({ contents: [{ uri: uri.href, text: "At most 25 EUR." }] }));
  one.registerResource("order", new ResourceTemplate("desk://orders/{order}", { list: undefined }), { mimeType: "application/json" }, (uri, { order }) => ({
    contents: [{ uri: uri.href, mimeType: "application/json", text: JSON.stringify({ order, state: "paid" }) }],
  }));
  const name = completable(z.string(), (value) => [`${value}da`, `${value}na`]);
  one.registerPrompt("polite", { description: "A polite answer", argsSchema: { name } }, ({ name }) => ({ messages: [{ role: "user", content: { type: "text", text: `Answer ${name} politely.` } }] }));
  return one;
}

const journals = [];
async function serve(transport) {
  const said = [];
  journals.push([transport, said]);
  await desk().connect(tapped(transport, "server", (speaker, message) => said.push([speaker, structuredClone(message)])));
  return transport;
}

function end() {
  for (const [transport, said] of journals) {
    const session = kind.startsWith("http") ? (transport.sessionId ?? null) : null;
    for (const row of pairs(said)) appendFileSync(path, JSON.stringify({ session, ...row }) + "\n");
  }
  process.exit(0);
}

if (kind === "stdio") {
  await serve(new StdioServerTransport());
  process.stdin.on("end", end);
  process.on("SIGTERM", end);
} else {
  const sessions = new Map();
  const http = createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    if (url.pathname === "/sse") {
      const transport = new SSEServerTransport("/messages", response);
      sessions.set(transport.sessionId, transport);
      return void (await serve(transport));
    }
    if (url.pathname === "/messages") return void sessions.get(url.searchParams.get("sessionId")).handlePostMessage(request, response);
    let transport = sessions.get(request.headers["mcp-session-id"]);
    if (!transport) {
      transport = await serve(
        new StreamableHTTPServerTransport({
          sessionIdGenerator: randomUUID,
          enableJsonResponse: kind === "http-json",
          onsessioninitialized: (id) => void sessions.set(id, transport),
        }),
      );
    }
    await transport.handleRequest(request, response);
  });
  http.listen(0, "127.0.0.1", () => console.log(http.address().port));
  process.stdin.resume();
  process.stdin.on("end", end);
}
