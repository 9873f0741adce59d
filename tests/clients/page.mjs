// A person at a browser. `node page.mjs SCENARIO JSON` does what the scenario says and prints what it saw as JSON.
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
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

/** A browser of its own, in which a person signs in with a link or takes up an invitation. */
async function person({ link, invitation }, options = {}) {
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

const scenarios = {
  /** Decides all that waits with the keyboard alone: every second call is rejected. */
  async keyboard() {
    const page = await person(given);
    await wait(page, given.count);
    const decided = [];
    for (let done = 0; done < given.count; done += 1) {
      await page.keyboard.press("j");
      await opened(page);
      const id = await page.locator("article").getAttribute("data-id");
      if (done % 2) {
        await page.keyboard.press("r");
        await page.keyboard.type(`not this one, ${done}`);
      } else {
        await page.keyboard.press("a");
      }
      await page.keyboard.press("Enter");
      await page.waitForFunction((id) => {
        const article = document.querySelector("article");
        return article?.dataset.id === id && article.dataset.state !== "pending";
      }, id);
      decided.push(id);
    }
    await wait(page, 0);
    const empty = await page.locator("#rows .empty").innerText();
    // The last one was rejected, so the one before shows how an approved call ended.
    await page.goto(`${given.url}/holds/${decided.at(-2)}`);
    await page.waitForSelector("article[data-state=finished]");
    return { decided, empty, outcome: await page.locator(".outcome").innerText() };
  },

  /** Two people look at one call; who comes second is told who decided. */
  async race() {
    const [first, second] = [await person({ link: given.link }), await person({ invitation: given.invitation })];
    for (const page of [first, second]) {
      await wait(page, 1);
      await page.keyboard.press("j");
      await opened(page);
    }
    await first.keyboard.press("a");
    const begun = Date.now();
    await first.keyboard.press("Enter");
    await second.waitForFunction(() => document.querySelector("article")?.dataset.state !== "pending");
    const within = Date.now() - begun;
    return { within, told: await second.locator(".outcome").innerText(), toast: await second.locator("#told").innerText() };
  },

  /** Approves with other arguments, and is shown what changed before. */
  async edit() {
    const page = await person(given);
    await wait(page, 1);
    await page.keyboard.press("j");
    await opened(page);
    await page.keyboard.press("e");
    await page.fill("#edited", given.wrong);
    const refused = await page.locator("dialog .wrong").innerText();
    await page.fill("#edited", given.edited);
    const changes = await page.locator("dialog .differences").innerText();
    await page.click("dialog button.main");
    await page.waitForFunction(() => document.querySelector("article")?.dataset.state === "finished");
    return { refused, changes };
  },

  /** Grants a standing approval after its rule was shown. */
  async standing() {
    const page = await person(given);
    await wait(page, 1);
    await page.keyboard.press("j");
    await opened(page);
    await page.keyboard.press("s");
    await page.fill("#bounds", given.bounds);
    await page.fill("#standing-reason", "they are all alike");
    await page.click("dialog button.main");
    await page.waitForSelector("dialog pre:visible");
    const rule = await page.locator("dialog pre").innerText();
    await page.click("dialog button.main");
    await page.waitForSelector("dialog", { state: "detached" });
    return { rule };
  },

  /** Looks at every call that waits, and says what its text on the page is. */
  async hostile() {
    const page = await person(given);
    await wait(page, given.count);
    const texts = [];
    for (let done = 0; done < given.count; done += 1) {
      await page.keyboard.press("j");
      await page.waitForFunction((at) => {
        const rows = [...document.querySelectorAll("#rows a")];
        const article = document.querySelector("article");
        return article && rows[at]?.dataset.id === article.dataset.id;
      }, done);
      texts.push(await page.evaluate(() => {
        const article = document.querySelector("article");
        return {
          id: article.dataset.id,
          text: article.querySelector(".arguments").textContent,
          row: document.querySelector("#rows a[aria-current]").textContent,
          badge: article.querySelector(".look").parentElement.querySelector(".row .badge")?.textContent ?? null,
          foreign: article.querySelectorAll("script, img, iframe, object, embed, link, form[action], [onclick], [onerror], [style]").length,
        };
      }));
    }
    return { texts, polluted: await page.evaluate(() => ({}).polluted !== undefined), title: await page.title() };
  },

  /** What may not be approved before its last line was on the screen. */
  async long() {
    const page = await person(given);
    await wait(page, 1);
    await page.keyboard.press("j");
    await opened(page);
    const before = await page.locator("button.approve").isEnabled();
    await page.keyboard.press("a");
    await page.keyboard.press("Enter");
    await page.locator(".look").evaluate((look) => look.scrollTo(0, look.scrollHeight));
    await page.waitForSelector("button.approve:enabled");
    await page.keyboard.press("a");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("article")?.dataset.state === "finished");
    return { before };
  },

  /** Decides on a phone. */
  async phone() {
    const page = await person(given, { viewport: { width: 375, height: 720 }, hasTouch: true, isMobile: true });
    await wait(page, 1);
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    const list = await overflow();
    await rows(page).first().tap();
    await opened(page);
    const detail = await overflow();
    await page.locator("button.approve").tap();
    await page.waitForSelector("article[data-state=finished]");
    await page.locator("button.back").tap();
    await page.waitForSelector("#rows .empty");
    return { list, detail };
  },

  /** Adds an agent, replaces its token, revokes it, and invites a person. */
  async operate() {
    const page = await person(given);
    await page.goto(`${given.url}/people`);
    const secret = async () => {
      const text = await page.locator("dialog pre").innerText();
      await page.click("dialog button.main");
      await page.waitForSelector("dialog", { state: "detached" });
      return text;
    };
    await page.click("text=Add an agent");
    await page.fill("#name", "made-here");
    await page.fill("#groups", "guests, night");
    await page.click("dialog button.main");
    await page.waitForSelector("dialog pre");
    const first = await secret();
    await page.click("button.open:has-text('made-here')");
    const facts = await page.locator(".aside .terms").innerText();
    await page.click("text=New token");
    await page.waitForSelector("dialog pre");
    const second = await secret();
    await page.click("text=Invite a person");
    await page.fill("#name", "dee");
    await page.click("dialog button.main");
    await page.waitForSelector("dialog pre");
    const invitation = await secret();
    await page.click("button.open:has-text('leaver')");
    await page.click(".aside button.reject");
    await page.click("dialog button.main");
    await page.waitForSelector("tr:has-text('leaver') >> text=revoked");
    return { first, second, facts, invitation };
  },

  /** What axe finds on the pages, in both themes. */
  async axe() {
    const { source } = require("axe-core");
    const found = [];
    const look = async (page, where) => {
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await page.evaluate(source);
        const { violations } = await page.evaluate(() => axe.run({
          runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
        }));
        for (const { id, nodes } of violations) found.push(`${where}, ${colorScheme}: ${id}: ${nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
      }
    };
    const context = await browser.newContext({ bypassCSP: true });
    const outside = await context.newPage();
    await outside.goto(`${given.url}/sign-in`);
    await look(outside, "sign in");
    await outside.goto(`${given.url}/holds/${"0".repeat(32)}`);
    await look(outside, "a link");
    const page = await person(given, { bypassCSP: true });
    await wait(page, given.count);
    await look(page, "inbox");
    for (let at = 0; at < given.count; at += 1) {
      await page.keyboard.press("j");
      await opened(page);
      await page.waitForSelector("article h3:has-text('last 24 hours')");
      await look(page, `call ${at}`);
    }
    await page.keyboard.press("r");
    await look(page, "rejecting");
    await page.locator("#reason").blur();
    await page.keyboard.press("?");
    await look(page, "keys");
    await page.keyboard.press("Escape");
    for (const name of ["calls", "audit", "policy", "catalog", "people"]) {
      await page.goto(`${given.url}/${name}`);
      await page.locator("button.open").first().click();
      await look(page, name);
    }
    await page.click("text=Add an agent");
    await look(page, "a dialog");
    await page.goto(`${given.url}/account`);
    await look(page, "account");
    return { found };
  },

  /** Pictures of every page, in both themes and two widths, into `given.into`. */
  async pictures() {
    const sizes = { wide: { width: 1280, height: 860 }, phone: { width: 375, height: 760 } };
    const page = await person(given);
    await wait(page, given.count);
    const names = [];
    for (const [size, viewport] of Object.entries(sizes)) {
      for (const colorScheme of ["light", "dark"]) {
        await page.setViewportSize(viewport);
        await page.emulateMedia({ colorScheme });
        const picture = async (name) => {
          names.push(`${name}-${size}-${colorScheme}.png`);
          await page.screenshot({ path: `${given.into}/${names.at(-1)}` });
        };
        await page.goto(`${given.url}/`);
        await wait(page, given.count);
        await picture("inbox");
        await page.goto(`${given.url}/holds/${given.hold}`);
        await opened(page);
        await page.waitForSelector("article h3:has-text('last 24 hours')");
        await picture("call");
        for (const name of ["calls", "audit", "policy", "catalog", "people"]) {
          await page.goto(`${given.url}/${name}`);
          await page.waitForSelector("button.open");
          if (size === "wide") await page.locator("button.open").first().click();
          await picture(name);
        }
        await page.goto(`${given.url}/account`);
        await picture("account");
      }
    }
    return { names };
  },
};

try {
  const saw = await scenarios[scenario]();
  process.stdout.write(`${JSON.stringify({ ...saw, wrong, elsewhere })}\n`);
} catch (error) {
  process.stderr.write(`${error.stack}\nwrong: ${JSON.stringify(wrong)}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
