// The MCP package of npm over streamable HTTP and TLS.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const client = new Client({ name: 'peer', version: '1.0.0' });
await client.connect(new StreamableHTTPClientTransport(new URL(process.env.MCP_URL)));
await client.listTools();
for (const size of [1, 3000, 40000]) {
  await client.callTool({ name: 'echo', arguments: { text: 'e'.repeat(size) } });
}
await client.close();
