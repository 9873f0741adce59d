// Opens pages as a browser does that was never there before, and measures. `node look.mjs JSON` prints JSON.
import { createRequire } from "node:module";

const { chromium } = createRequire(new URL("../../tests/clients/", import.meta.url))("playwright-core");
const given = JSON.parse(process.argv[2]);
/** How long anything may take, and for how long nothing may arrive until a load has ended, in milliseconds. */
const PATIENCE = 30_000;
const QUIET = 400;
/** How long the browser has to come to rest once a tab is open and the one before is gone, in milliseconds: a load
 * is measured, and not the starting and ending of its processes. */
const REST = 600;

const browser = await chromium.launch({
  executablePath: given.chromium,
  // In a container there is neither a namespace for the browser's own sandbox nor much shared memory.
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

async function signedIn({ link }) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(link);
  await page.click("form button");
  await page.waitForSelector("#inbox");
  const state = await context.storageState();
  await context.close();
  return state;
}

/** One load in a context of its own: nothing is cached, no connection is open. */
async function load(url, storageState) {
  const context = await browser.newContext({ storageState, viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const network = await context.newCDPSession(page);
  let [bytes, requests, last] = [0, 0, Date.now()];
  network.on("Network.loadingFinished", ({ encodedDataLength }) => {
    bytes += encodedDataLength;
    requests += 1;
    last = Date.now();
  });
  await network.send("Network.enable");
  await new Promise((settle) => setTimeout(settle, REST));
  await page.goto(url);
  // Whoever asks the page something while it loads makes it slower: a third of a megabyte of program comes with
  // the first question. So it is asked when all is quiet.
  while (Date.now() - last < QUIET) await new Promise((settle) => setTimeout(settle, 50));
  // What has no program of ours is of use when it is loaded.
  const at = await page.waitForFunction((path) => {
    const { loadEventEnd } = performance.getEntriesByType("navigation")[0];
    return path.endsWith(".svg") ? loadEventEnd : performance.getEntriesByName("of use")[0]?.startTime;
  }, url).then((handle) => handle.jsonValue());
  const timings = process.env.FIRST_LOAD_TIMINGS && await page.evaluate(() => performance.getEntries()
    .filter(({ responseEnd }) => responseEnd !== undefined)
    .map(({ name, startTime, responseStart, responseEnd, encodedBodySize }) => [name, Math.round(startTime), Math.round(responseStart), Math.round(responseEnd), encodedBodySize].join(" ")));
  if (timings) process.stderr.write(`${timings.join("\n")}\nof use ${Math.round(at)}\n\n`);
  await context.close();
  return { bytes, requests, at };
}

try {
  const states = new Map();
  for (const store of given.stores) states.set(store.name, await signedIn(store));
  const targets = Object.entries(given.pages).flatMap(([page, path]) => given.stores.map((store) =>
    ({ page, store: store.name, url: `${store.url}${path}`, requests: 0, bytes: 0, times: [] })));
  for (let round = 0; round < given.warmUp + given.rounds; round += 1) {
    for (const target of targets) {
      const { bytes, requests, at } = await load(target.url, states.get(target.store));
      if (round < given.warmUp) continue;
      target.bytes = Math.max(target.bytes, Math.round(bytes));
      target.requests = Math.max(target.requests, requests);
      target.times.push(at);
    }
  }
  process.stdout.write(JSON.stringify(targets));
} finally {
  await browser.close();
}
