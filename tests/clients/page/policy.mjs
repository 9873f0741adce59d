// The policy and the catalog.

export default ({ given, person, violations }) => {
  const answered = (page) => page.waitForSelector(".explanation");
  const label = (page, name) => page.getByLabel(name, { exact: false }).first();
  /** Asks, and waits for another answer than the one that stands there. */
  const ask = async (page) => {
    await page.evaluate(() => document.querySelector(".answer").replaceChildren());
    await page.click("button.main:has-text('Explain')");
    await answered(page);
  };
  const text = (page, selector) => page.locator(selector).innerText();
  const fill = async (page, { environment, replicas }) => {
    await label(page, "service").fill("web");
    await page.selectOption("select:near(:text('environment'))", { label: environment });
    await label(page, "replicas").fill(replicas);
  };
  return {
    /** Other rules over recorded calls: the file `given.file` with `given.text`, first with a mistake. */
    async simulate() {
      const page = await person(given, { bypassCSP: true });
      await page.goto(`${given.url}/policy?look=simulate`);
      await page.waitForSelector("#simulate-text");
      const standing = () => text(page, ".asking p[role=status]");
      const before = { text: await page.inputValue("#simulate-text"), standing: await standing() };
      await page.selectOption("#simulate-file", await page.locator("#simulate-file option", { hasText: given.file }).getAttribute("value"));
      await page.fill("#simulate-text", "rules: 7");
      await page.click("button.main:has-text('Simulate')");
      await page.waitForSelector("p.wrong[role=alert]:not([hidden])");
      const refused = await text(page, "p.wrong[role=alert]:not([hidden])");
      await page.fill("#simulate-text", given.text);
      const changed = await standing();
      await page.click("button.main:has-text('Simulate')");
      await answered(page);
      const shoot = async (colorScheme) => {
        if (!given.into) return;
        for (const [size, viewport] of Object.entries({ phone: { width: 375, height: 760 }, wide: { width: 1280, height: 900 } })) {
          await page.setViewportSize(viewport);
          await page.screenshot({ path: `${given.into}/simulate-${size}-${colorScheme}.png` });
        }
      };
      const found = await violations(page, "simulate", shoot);
      const answer = await text(page, ".explanation");
      await page.setViewportSize({ width: 375, height: 760 });
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      return { before, refused, changed, answer, violations: found, sideways };
    },

    /** From a cell of the table to why it is so. */
    async why() {
      const page = await person(given);
      await page.goto(`${given.url}/policy`);
      await page.click("button.tab:has-text('Table')");
      await page.waitForSelector(".grid button.cell");
      await page.getByPlaceholder("Tool").fill("fleet_scale");
      await page.waitForFunction(() => document.querySelectorAll(".grid tbody tr").length === 1);
      const first = page.locator(".grid button.cell").first();
      await first.focus();
      const moved = await first.getAttribute("aria-label");
      for (let step = 0; step < 9; step += 1) await page.keyboard.press("ArrowRight");
      const cell = await page.evaluate(() => document.activeElement.getAttribute("aria-label"));
      await page.keyboard.press("Enter");
      await page.waitForSelector(".asking .field");
      const agent = await page.inputValue("#explain-agent");
      // Nothing filled in: what is missing is told at the field, in the gateway's words.
      await ask(page);
      const fault = await page.locator(".explanation ul").first().innerText();
      await fill(page, { environment: "production", replicas: "50" });
      await ask(page);
      const denied = await text(page, ".verdict");
      const nearest = await text(page, ".nearest");
      await fill(page, { environment: "staging", replicas: "50" });
      await ask(page);
      const constrained = await text(page, ".explanation");
      return { cell, moved, agent, fault, denied, nearest, constrained };
    },

    /** Tries a tool: what does not fit, what runs, what is held; and from its story to why. */
    async try() {
      const page = await person(given);
      await page.goto(`${given.url}/catalog`);
      await page.click("button.open:has-text('fleet_scale')");
      await page.waitForSelector(".aside .field");
      const call = async () => {
        await page.evaluate(() => document.querySelector(".answer").replaceChildren());
        await page.click(".aside button.main");
        await page.waitForSelector(".aside .outcome");
      };
      await fill(page, { environment: "staging", replicas: "500" });
      await call();
      await page.waitForSelector(".field .wrong:not([hidden])");
      const fault = await page.locator(".field .wrong:not([hidden])").innerText();
      await label(page, "replicas").fill("50");
      await call();
      const ran = await text(page, ".aside .outcome");
      await fill(page, { environment: "production", replicas: "3" });
      await page.selectOption("select:near(:text('drain'))", { label: "false" });
      for (const region of ["north", "south"]) {
        await page.click("text=Add an item");
        await page.keyboard.type(region);
      }
      await label(page, "cpu").fill("0.5");
      await label(page, "strategy").fill('{"kind": "rolling"}');
      // What the fields say is the same as JSON, and back.
      await page.click("button.tab:has-text('As JSON')");
      await page.click("button.tab:has-text('As JSON')");
      await call();
      const hold = (await page.locator(".aside .outcome a[href^='/holds/']").getAttribute("href")).slice("/holds/".length);
      await page.goto(`${given.url}/calls`);
      await page.locator("button.open").nth(1).click();
      await page.click("a:has-text('Explain why')");
      await answered(page);
      return { fault, ran, hold, story: await text(page, ".explanation") };
    },

    /** What an agent used of its limits. */
    async usage() {
      const page = await person(given);
      await page.goto(`${given.url}/people`);
      await page.click(`button.open:has-text('${given.agent}')`);
      await page.waitForSelector(".aside h3:has-text('Limits')");
      return { usage: await text(page, ".aside") };
    },

    /** What axe finds in every look of the policy and of the catalog, and their pictures, in both themes and two widths. */
    async policies() {
      const page = await person(given, { bypassCSP: true });
      const [found, names, sideways] = [[], [], []];
      const look = async (name) => {
        for (const [size, viewport] of Object.entries({ phone: { width: 375, height: 760 }, wide: { width: 1280, height: 860 } })) {
          await page.setViewportSize(viewport);
          found.push(...await violations(page, `${name}, ${size}`, async (colorScheme) => {
            names.push(`${name}-${size}-${colorScheme}.png`);
            await page.screenshot({ path: `${given.into}/${names.at(-1)}` });
          }));
          if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth + 1)) sideways.push(`${name}, ${size}`);
        }
        await page.setViewportSize({ width: 1280, height: 860 });
      };
      await page.goto(`${given.url}/policy`);
      await page.click("button.open:has-text('production-writes')");
      await look("policy-rules");
      await page.goto(`${given.url}/policy?look=table`);
      await page.waitForSelector(".grid button.cell");
      await look("policy-table");
      await page.goto(`${given.url}/policy?look=explain&agent=guest&tool=fleet_scale`);
      await page.waitForSelector(".asking .field");
      await fill(page, { environment: "production", replicas: "50" });
      await ask(page);
      await look("policy-explain");
      await page.goto(`${given.url}/catalog`);
      await page.click("button.open:has-text('fleet_scale')");
      await page.waitForSelector(".aside .field");
      await look("catalog-tool");
      await fill(page, { environment: "staging", replicas: "12" });
      await page.click(".aside button.main");
      await page.waitForSelector(".aside .outcome");
      await page.locator(".aside .outcome").scrollIntoViewIfNeeded();
      await look("catalog-tried");
      return { found, names, sideways };
    },
  };
};
