// The official TypeScript SDK, 1.x, as a client: protocols up to 2025-11-25.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { getDefaultEnvironment, StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema, LoggingMessageNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { abilities, drive, environment, logs, noted, options, pages, reply, target } from "./drive.mjs";

const client = new Client({ name: options.name ?? "ts-sdk", version: "1.0.0" }, { capabilities: abilities });
if (options.asks) {
  client.setRequestHandler(ElicitRequestSchema, reply("elicitation/create"));
  client.setRequestHandler(CreateMessageRequestSchema, reply("sampling/createMessage"));
  client.setRequestHandler(ListRootsRequestSchema, reply("roots/list"));
}
client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => logs.push(params));
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
  level: (level) => client.setLoggingLevel(level),
  async close() {
    if (target.url) await transport.terminateSession();
    await client.close();
  },
});
