// A definition that its server changed, on the page of the catalog.

export default ({ given, person, violations }) => ({
  /** Looks at what changed and accepts it, by keyboard. */
  async quarantine() {
    const page = await person(given, { bypassCSP: true });
    await page.goto(`${given.url}/catalog`);
    await page.waitForSelector("button.open");
    const before = await page.locator("tbody tr").first().innerText();
    const first = page.locator("tbody tr").first();
    await first.locator(".badge:has-text('definition changed')").waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".lines .added");
    const lines = await page.locator(".lines li.added, .lines li.removed").allInnerTexts();
    const badge = await page.locator(".aside .outcome .badge").first().innerText();
    const shoot = (name) => async (colorScheme) => {
      if (!given.into) return;
      for (const [size, viewport] of Object.entries({ phone: { width: 375, height: 760 }, wide: { width: 1280, height: 900 } })) {
        await page.setViewportSize(viewport);
        await page.screenshot({ path: `${given.into}/${name}-${size}-${colorScheme}.png` });
      }
    };
    const found = await violations(page, "a changed definition", shoot("quarantine"));
    await page.setViewportSize({ width: 375, height: 760 });
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.locator("button:has-text('Accept this definition')").focus();
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog");
    found.push(...await violations(page, "to accept it", shoot("quarantine-accept")));
    await page.locator("dialog button.main").focus();
    await page.keyboard.press("Enter");
    await page.waitForSelector(".aside h3:has-text('Arguments')");
    await page.waitForFunction(() => !document.querySelector(".lines"));
    const description = await page.locator(".aside blockquote").first().innerText();
    return { before, lines, badge, violations: found, sideways, description };
  },
});
