// What can be seen on the pages.

export default ({ browser, given, opened, pages, person, rows, violations, wait }) => ({
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

  /** What axe finds on the pages, in both themes. */
  async axe() {
    const found = [];
    const look = async (page, where) => found.push(...await violations(page, where));
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
    for (const [name, shown] of Object.entries(pages)) {
      await page.goto(`${given.url}/${name}`);
      await page.waitForSelector(shown);
      if (shown === "button.open") await page.locator(shown).first().click();
      await look(page, name);
    }
    await page.goto(`${given.url}/people`);
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
        for (const [name, shown] of Object.entries(pages)) {
          await page.goto(`${given.url}/${name}`);
          await page.waitForSelector(shown);
          if (size === "wide" && shown === "button.open") await page.locator(shown).first().click();
          await picture(name);
        }
        await page.goto(`${given.url}/account`);
        await picture("account");
      }
    }
    return { names };
  },
});
