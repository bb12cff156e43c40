// aimock, with an answer for each case: `node standin.mjs CASES` prints its port, and ends when its standard input closes.
import { readFileSync } from "node:fs";
import { LLMock, MCPMock } from "@copilotkit/aimock";

const cases = JSON.parse(readFileSync(process.argv[2], "utf8"));
const mock = new LLMock({ port: 0, chunkSize: 7 });
for (const { key, reply, after } of cases) {
  // The key stands in the user's words, which may be followed by tools' results.
  const wanted = (request) => JSON.stringify(request.messages ?? []).includes(`[${key}]`);
  const told = (request) => (request.messages ?? []).some((message) => message.role === "tool");
  if (after) mock.addFixture({ match: { predicate: (request) => wanted(request) && told(request) }, response: after });
  mock.addFixture({ match: { predicate: wanted }, response: reply });
}
const desk = new MCPMock({ serverInfo: { name: "desk", version: "3.1.0" } });
desk.addTool({ name: "lookup", description: "Looks an order up", inputSchema: { type: "object", properties: { order: { type: "string" } } } });
desk.onToolCall("lookup", (asked) => JSON.stringify({ order: asked.order, state: "paid" }));
mock.mount("/mcp", desk);
await mock.start();
console.log(mock.port);
process.stdin.resume();
process.stdin.on("end", () => mock.stop().then(() => process.exit(0)));
