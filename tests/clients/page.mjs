// A person at a browser. `node page.mjs SCENARIO JSON` does what the scenario says and prints what it saw as JSON.
// The scenarios are in `page/`: each file there gives some.
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [scenario, given] = [process.argv[2], JSON.parse(process.argv[3])];
/** How long anything may take, in milliseconds. */
const PATIENCE = 20_000;

const browser = await chromium.launch({
  executablePath: given.chromium,
  // In a container there is neither a namespace for the browser's own sandbox nor much shared memory.
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
const wrong = [];
const elsewhere = [];

/** A browser of its own, whose complaints are noted. */
async function blank(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("dialog", (dialog) => { wrong.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("console", (message) => {
    // What was answered with which status is looked at below.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) wrong.push(message.text());
  });
  page.on("response", (response) => {
    // A refused verdict is shown to the person.
    if (response.status() >= 400 && response.status() !== 409) wrong.push(`${response.status()} ${response.url()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(given.url) && !request.url().startsWith("data:")) elsewhere.push(request.url());
  });
  return page;
}

/** One in which a person signs in with a link or takes up an invitation. */
async function person({ link, invitation }, options = {}) {
  const page = await blank(options);
  if (invitation) {
    await page.goto(invitation);
    if (await page.locator("form button").count() && !(await page.locator("#password").count())) await page.click("form button");
    await page.fill("#password", "correct horse battery");
    await page.fill("#again", "correct horse battery");
    await page.click("form button.wide");
  } else {
    await page.goto(link);
    await page.click("form button");
  }
  await page.waitForSelector("#inbox");
  return page;
}

const rows = (page) => page.locator("#rows a");
const wait = (page, count) => page.waitForFunction((count) => document.querySelectorAll("#rows a").length === count, count);
const opened = (page, state = "pending") => page.waitForSelector(`article[data-state=${state}]`);

const { source } = createRequire(import.meta.url)("axe-core");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
/** What axe finds on a page (opened with `bypassCSP`), in both themes; `also` looks at it in each. */
async function violations(page, where, also = async () => {}) {
  const found = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(source);
    const { violations } = await page.evaluate((runOnly) => axe.run({ runOnly }), RULES);
    for (const { id, nodes } of violations) found.push(`${where}, ${colorScheme}: ${id}: ${nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
    await also(colorScheme);
  }
  return found;
}

/** The pages, and what is there once they have what they show; a row opens beside them. */
const ROW = "button.open";
const pages = { calls: ROW, workflows: ROW, audit: ROW, policy: ROW, catalog: ROW, people: ROW, limits: ROW, statistics: ".tiles" };

const scenarios = {};
for (const file of readdirSync(new URL("page/", import.meta.url))) {
  const { default: some } = await import(`./page/${file}`);
  Object.assign(scenarios, some({ browser, given, blank, person, rows, wait, opened, pages, violations, wrong, elsewhere }));
}

try {
  const saw = await scenarios[scenario]();
  process.stdout.write(`${JSON.stringify({ ...saw, wrong, elsewhere })}\n`);
} catch (error) {
  process.stderr.write(`${error.stack}\nwrong: ${JSON.stringify(wrong)}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
