// An MCP client as a user configures it: it reads the configuration file, connects to `countersign` over what
// that says, writes a file and deletes it again. A line says what is done.
import { readFileSync } from "node:fs";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { getDefaultEnvironment, StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

/** `${VAR}` and `${VAR:-default}`, as Claude Code reads them. */
const expand = (text) => text.replace(/\$\{(\w+)(?::-([^}]*))?\}/g, (whole, name, other) => process.env[name] ?? other ?? whole);

const { countersign } = JSON.parse(readFileSync(process.argv[2], "utf8")).mcpServers;
const headers = Object.fromEntries(Object.entries(countersign.headers ?? {}).map(([name, value]) => [name, expand(value)]));
const transport = countersign.url
  ? new StreamableHTTPClientTransport(new URL(expand(countersign.url)), { requestInit: { headers } })
  : new StdioClientTransport({
      command: expand(countersign.command),
      args: countersign.args.map(expand),
      // A client starts its servers wherever it runs itself.
      cwd: "/",
      env: { ...getDefaultEnvironment(), ...countersign.env },
    });
const client = new Client({ name: "stopwatch", version: "1.0.0" });
await client.connect(transport);

async function call(name, args) {
  const result = await client.callTool({ name, arguments: args });
  if (result.isError) throw new Error(`${name}: ${JSON.stringify(result.content)}`);
}
await call("write_file", { path: "todo.txt", content: "buy milk\n" });
console.log("written");
await call("delete_file", { path: "todo.txt" });
console.log("deleted");
await client.close();
