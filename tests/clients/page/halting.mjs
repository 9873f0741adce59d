// The kill switch, as people see it.

export default ({ browser, given, pages, person, violations }) => {
  /** Fills in the first step and goes to the second. */
  const choose = async (page, { scope, name, reason }) => {
    await page.click("#halt");
    await page.selectOption("#halt-scope", scope);
    if (name) await page.fill("#halt-name", name);
    await page.fill("#halt-reason", reason);
    await page.click("dialog button.main");
    await page.waitForSelector("dialog button.main.reject");
  };
  const end = async (page) => {
    await page.click(".halt button");
    await page.fill("#halt-reason", "it is over");
    await page.click("dialog button.main");
    await page.waitForSelector("#halts", { state: "hidden" });
  };
  /** What an agent is told that calls now. */
  const call = async () => {
    const headers = { "authorization": `Bearer ${given.token}`, "content-type": "application/json", "accept": "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "note" };
    const answer = await fetch(`${given.url}/mcp`, { method: "POST", headers, body: given.body });
    return answer.text();
  };
  const banner = (page) => page.locator("#halts").innerText();

  return {
    /** One person halts; another, on other pages, sees it without looking again; and sees it end. */
    async "halt and resume"() {
      const page = await person({ link: given.link });
      const other = await person({ invitation: given.invitation });
      await other.goto(`${given.url}/calls`);
      const offers = await other.locator("#halt").count();
      const hidden = await other.locator("#halts").isHidden();
      await choose(page, { scope: "tool", name: "note", reason: "an incident" });
      const preview = await page.locator("dialog").innerText();
      // Cancelled, nothing is halted.
      await page.click("dialog button.plain");
      await choose(page, { scope: "tool", name: "note", reason: "an incident" });
      const begun = Date.now();
      await page.click("dialog button.main.reject");
      await other.waitForSelector(".halt");
      const after = Date.now() - begun;
      const seen = await banner(other);
      const buttons = await other.locator(".halt button").count();
      const everywhere = [];
      for (const name of ["", ...Object.keys(pages), "account"]) {
        await other.goto(`${given.url}/${name}`);
        await other.waitForSelector(".halt");
        everywhere.push(name);
      }
      await page.waitForSelector(".halt");
      const refused = await call();
      await end(page);
      await other.waitForSelector("#halts", { state: "hidden" });
      return { offers, hidden, preview, after, seen, buttons, everywhere, refused, ran: await call() };
    },

    /** What axe finds in the banner and the dialogs, and how far a phone scrolls sideways. */
    async "halts looked at"() {
      const page = await person(given, { bypassCSP: true });
      const found = [];
      const look = async (where) => found.push(...await violations(page, where, async (colorScheme) => {
        if (!given.into) return;
        for (const [size, viewport] of Object.entries({ wide: { width: 1280, height: 860 }, phone: { width: 375, height: 760 } })) {
          await page.setViewportSize(viewport);
          await page.screenshot({ path: `${given.into}/${where}-${size}-${colorScheme}.png` });
        }
        await page.setViewportSize({ width: 1280, height: 900 });
      }));
      await page.waitForSelector(".halt");
      await look("halts-inbox");
      await page.click("#halts summary");
      await look("halts-all");
      await page.goto(`${given.url}/calls`);
      await page.waitForSelector(".halt");
      await look("halts-calls");
      await page.goto(`${given.url}/account`);
      await page.waitForSelector(".halt");
      await look("halts-account");
      await page.click("#halt");
      await page.selectOption("#halt-scope", "agent");
      await page.fill("#halt-name", "writer");
      await page.fill("#halt-reason", "It deletes what it should only read.");
      await look("halts-first");
      await page.click("dialog button.main");
      await page.waitForSelector("dialog button.main.reject");
      await look("halts-second");
      await page.keyboard.press("Escape");
      await page.locator(".halt button").first().click();
      await look("halts-resume");
      await page.keyboard.press("Escape");
      await page.setViewportSize({ width: 375, height: 760 });
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      return { found, sideways };
    },
  };
};
