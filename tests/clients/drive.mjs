// What the two TypeScript clients share: steps come as lines of JSON on standard input, one JSON document
// goes back for each on standard output. The first document says what the connection is.
import { createInterface } from "node:readline";

/** How to reach the server, as the first argument gives it: `{ command, args, cwd, env }` or `{ url, token }`. */
export const target = JSON.parse(process.argv[2]);
/** `{ name, mode }`: the name the client gives itself and how it opens the connection. */
export const options = JSON.parse(process.argv[3] ?? "{}");

/** What a client that may be asked can do, and what it answers; `asked` and `logs` are what reached it. */
export const abilities = options.asks ? { sampling: {}, elicitation: { form: {} }, roots: {} } : {};
const asked = [];
export const logs = [];
export const replies = {
  "elicitation/create": () => ({ action: "accept", content: { name: "Ada" } }),
  "sampling/createMessage": () => ({
    role: "assistant", model: "none", stopReason: "endTurn", content: { type: "text", text: "written by a model" },
  }),
  "roots/list": () => ({ roots: [{ uri: "file:///work", name: "Work" }] }),
};
export const reply = (method) => async (request) => {
  asked.push({ method, params: request.params });
  return replies[method](request);
};

const errors = [];
export const noted = (error) => errors.push(String(error?.stack ?? error));

/** Environment of a server that is started, over the small one that the SDKs give by default. */
export const environment = (defaults) => ({ ...defaults, ...target.env });

const failure = (error) => ({
  error: { name: error?.name, code: error?.code, message: String(error?.message ?? error), data: error?.data },
});
const say = (document) => process.stdout.write(`${JSON.stringify({ ...document, errors, asked, logs })}\n`);

/** Follows the steps until standard input ends. `list` and `call` are the client's. */
export async function drive(connect, { list, call, close, level }) {
  try {
    say({ connected: await connect() });
  } catch (error) {
    say(failure(error));
    process.exit(1);
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const step = JSON.parse(line);
    try {
      if (step.level) say({ level: await level(step.level) });
      else say(step.list ? await list() : await called(call, step));
    } catch (error) {
      say(failure(error));
    }
  }
  await close();
}

async function called(call, step) {
  const progress = [];
  // Without a word of the test, the SDK waits as long as it does by default.
  const request = step.timeout_ms ? { timeout: step.timeout_ms } : {};
  if (step.progress) request.onprogress = (news) => progress.push(news);
  try {
    const params = { name: step.call, arguments: step.arguments };
    return { result: await call(params, request), progress };
  } catch (error) {
    return { ...failure(error), progress };
  }
}

/** Every page of `tools/list`, one request each. */
export async function pages(page) {
  const tools = [];
  let count = 0;
  let cursor;
  do {
    const listed = await page(cursor === undefined ? undefined : { cursor });
    tools.push(...listed.tools);
    count += 1;
    cursor = listed.nextCursor;
  } while (cursor !== undefined);
  return { tools, pages: count };
}
