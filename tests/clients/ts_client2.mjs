// The official TypeScript SDK, 2.x, as a client: protocol 2026-07-28 and, by handshake, the earlier ones.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { getDefaultEnvironment, StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { abilities, drive, environment, logs, noted, options, replies, reply, target } from "./drive.mjs";

const client = new Client(
  { name: options.name ?? "ts-client2", version: "1.0.0" },
  { versionNegotiation: { mode: options.mode ?? "auto" }, capabilities: abilities },
);
if (options.asks) for (const method of Object.keys(replies)) client.setRequestHandler(method, reply(method));
client.setNotificationHandler("notifications/message", ({ params }) => logs.push(params));
client.onerror = noted;

const transport = target.url
  ? new StreamableHTTPClientTransport(new URL(target.url), {
      requestInit: { headers: { Authorization: `Bearer ${target.token}` } },
    })
  : new StdioClientTransport({ ...target, env: environment(getDefaultEnvironment()) });

async function connect() {
  await client.connect(transport);
  return {
    protocol: client.getNegotiatedProtocolVersion() ?? null,
    server: client.getServerVersion(),
    capabilities: client.getServerCapabilities(),
    instructions: client.getInstructions(),
  };
}

// Without a cursor this SDK walks the pages itself.
await drive(connect, {
  list: async () => ({ tools: (await client.listTools()).tools }),
  call: (params, request) => client.callTool(params, request),
  level: (level) => client.setLoggingLevel(level),
  close: () => client.close(),
});
