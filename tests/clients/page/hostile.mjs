// Texts that agents, tools and servers wrote to deceive or to break, wherever the pages show them.
import { createServer } from "node:http";

export default ({ browser, given, blank, person, wait, opened, wrong, elsewhere }) => {
  /** What the page holds: its text, what of it is no part of the page, and what its program has become. */
  const look = (page) => page.evaluate(() => ({
    text: document.body.textContent,
    title: document.title,
    foreign: document.querySelectorAll("main :is(script, img, iframe, object, embed, link, video, audio, form[action]:not([action^='/']), a:not([href^='/']), [onclick], [onerror], [onload], [style])").length,
    badge: [...document.querySelectorAll("main .badge")].some((it) => it.textContent.includes("hidden character")),
    polluted: ["polluted", "prototype"].some((key) => ({})[key] !== undefined) || typeof {}.toString !== "function",
  }));

  /** Opens every page, every row on it and everything that is folded up. */
  async function everything(page) {
    const seen = {};
    const unfold = async (name) => {
      await page.evaluate(() => document.querySelectorAll("details").forEach((it) => { it.open = true; }));
      (seen[name] ??= []).push(await look(page));
    };
    for (const hold of given.holds) {
      await page.goto(`${given.url}/holds/${hold}`);
      await page.waitForSelector("article h3:has-text('last 24 hours')");
      await unfold("holds");
    }
    for (const name of given.pages) {
      await page.goto(`${given.url}/${name}`);
      await page.waitForSelector("button.open");
      const rows = page.locator("button.open");
      for (let at = 0; at < Math.min(await rows.count(), 40); at += 1) {
        await rows.nth(at).click();
        await page.waitForFunction(() => { const it = document.querySelector(".aside"); return it && !it.hidden && !it.textContent.includes("Loading …"); });
        await unfold(name);
      }
    }
    return seen;
  }

  return {
    async everywhere() {
      const page = await person(given);
      return { seen: await everything(page) };
    },

    /** A page of another origin in the same browser, to which cookies of ours are sent all the same. */
    async attacked() {
      const page = await person(given);
      await wait(page, 1);
      const attacker = createServer((_, answer) => { answer.setHeader("content-type", "text/html"); answer.end("<!DOCTYPE html><title>evil</title>"); });
      await new Promise((done) => attacker.listen(0, "127.0.0.1", done));
      try {
        const evil = await page.context().newPage();
        const console_ = [];
        evil.on("console", (message) => console_.push(message.text()));
        await evil.goto(`http://127.0.0.1:${attacker.address().port}/`);
        const cookies = await page.context().cookies(given.url);
        const sent = [];
        page.context().on("request", (request) => sent.push(request));
        const answers = [];
        evil.on("response", (answer) => answers.push([answer.request().method(), new URL(answer.url()).pathname, answer.status()]));
        await evil.evaluate(async ({ url, id, digest }) => {
          const verdict = JSON.stringify({ decision: "approve", digest });
          const send = (path, type, body) => fetch(`${url}${path}`, { method: "POST", mode: "no-cors", credentials: "include", headers: { "content-type": type }, body }).catch(() => {});
          await send(`/api/v1/approvals/${id}/verdict`, "text/plain", verdict);
          await send("/sign-out", "application/x-www-form-urlencoded", "csrf=0");
          await send("/account/sessions/end", "application/x-www-form-urlencoded", "csrf=0&session=others");
          await fetch(`${url}/api/v1/approvals/${id}/verdict`, { method: "POST", credentials: "include", headers: { "content-type": "application/json", "x-csrf-token": "0" }, body: verdict }).catch(() => {});
        }, given);
        // The same by a form that is sent as one follows a link.
        await evil.evaluate(({ url }) => {
          const form = document.createElement("form");
          Object.assign(form, { method: "post", action: `${url}/sign-out`, target: "_blank" });
          document.body.append(form);
          form.submit();
        }, given);
        const framed = await evil.evaluate(({ url, id }) => new Promise((done) => {
          const frame = document.createElement("iframe");
          frame.onload = () => done(true);
          frame.src = `${url}/holds/${id}`;
          document.body.append(frame);
        }), given);
        const inside = evil.frames().filter((frame) => frame !== evil.mainFrame()).map((frame) => frame.url());
        const held = await Promise.all(evil.frames().slice(1).map((frame) => frame.locator("article, h1").count().catch(() => 0)));
        // Whoever is signed in still is, and the call still waits.
        await page.reload();
        await wait(page, 1);
        return { framed, inside, held, console: console_, answers, cookies: cookies.map(({ name }) => name) };
      } finally { attacker.close(); }
    },

    /** Opens a call as a stranger, signs in from there, and is shown that call. */
    async returning() {
      const page = await blank();
      await page.goto(`${given.url}/holds/${given.hold}`);
      const before = await page.locator("main").innerText();
      await page.click("text=Sign in");
      await page.waitForURL(/\/sign-in/);
      await page.fill("#name", "bo");
      await page.fill("#password", "correct horse battery");
      await page.click("form button.wide");
      await opened(page);
      return { before, url: page.url(), id: await page.locator("article").getAttribute("data-id") };
    },

    /** Two people look at one call, and the second has no clock: what comes, comes as an event. */
    async told() {
      const first = await person({ link: given.link });
      const second = await blank();
      await second.addInitScript(() => {
        const every = window.setInterval;
        // Nothing that is asked for again and again; the countdown on the page goes on.
        window.setInterval = (work, wait, ...more) => (wait >= 5_000 ? 0 : every(work, wait, ...more));
        const Real = window.EventSource;
        window.heard = [];
        window.EventSource = class extends Real {
          constructor(...given) {
            super(...given);
            super.addEventListener("hold", () => window.heard.push(performance.timeOrigin + performance.now()));
          }
        };
      });
      await second.goto(given.invitation);
      await second.fill("#password", "correct horse battery");
      await second.fill("#again", "correct horse battery");
      await second.click("form button.wide");
      for (const page of [first, second]) {
        await wait(page, 1);
        await page.keyboard.press("j");
        await opened(page);
      }
      await second.evaluate(() => {
        const seen = () => {
          const it = document.querySelector("article");
          if (!window.seen && it && it.dataset.state !== "pending") window.seen = performance.timeOrigin + performance.now();
        };
        new MutationObserver(seen).observe(document.getElementById("detail"), { childList: true, subtree: true, attributes: true });
        window.heard.length = 0;
      });
      await first.evaluate(() => {
        const real = window.fetch;
        window.fetch = async (path, ...more) => {
          const answer = await real(path, ...more);
          if (String(path).endsWith("/verdict")) window.answered = performance.timeOrigin + performance.now();
          return answer;
        };
      });
      await first.keyboard.press("a");
      await first.keyboard.press("Enter");
      await second.waitForFunction(() => window.seen);
      const { heard, seen } = await second.evaluate(() => ({ heard: window.heard, seen: window.seen }));
      const answered = await first.evaluate(() => window.answered);
      return {
        heard: heard.filter((at) => at <= seen).length, after: Math.round(seen - answered), drawn: Math.round(seen - heard[0]),
        told: await second.locator(".outcome").innerText(), toast: await second.locator("#told").innerText(),
      };
    },
  };
};
