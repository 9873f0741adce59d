// The official TypeScript SDK, 1.x, as a client: protocols up to 2025-11-25.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { getDefaultEnvironment, StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { drive, environment, noted, options, pages, target } from "./drive.mjs";

const client = new Client({ name: options.name ?? "ts-sdk", version: "1.0.0" });
client.onerror = noted;

const transport = target.url
  ? new StreamableHTTPClientTransport(new URL(target.url), {
      requestInit: { headers: { Authorization: `Bearer ${target.token}` } },
    })
  : new StdioClientTransport({ ...target, env: environment(getDefaultEnvironment()) });

async function connect() {
  await client.connect(transport);
  return {
    protocol: transport.protocolVersion ?? null,
    server: client.getServerVersion(),
    capabilities: client.getServerCapabilities(),
    instructions: client.getInstructions(),
  };
}

await drive(connect, {
  list: () => pages((params) => client.listTools(params)),
  call: (params, request) => client.callTool(params, undefined, request),
  async close() {
    if (target.url) await transport.terminateSession();
    await client.close();
  },
});
