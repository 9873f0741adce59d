// What is spent of budgets, on the page of limits.
export default ({ given, person, violations }) => ({
  /** The rows of the budgets, and what a phone shows. */
  async budgets() {
    const page = await person(given, { bypassCSP: true });
    await page.goto(`${given.url}/limits`);
    await page.waitForSelector(".budgets tbody tr");
    const rows = await page.locator(".budgets tbody tr").allInnerTexts();
    const facts = await page.locator("#facts").innerText();
    const shoot = async (colorScheme) => {
      if (!given.into) return;
      for (const [size, viewport] of Object.entries({ phone: { width: 375, height: 760 }, wide: { width: 1280, height: 900 } })) {
        await page.setViewportSize(viewport);
        await page.screenshot({ path: `${given.into}/budgets-${size}-${colorScheme}.png`, fullPage: true });
      }
    };
    const found = await violations(page, "budgets", shoot);
    await page.setViewportSize({ width: 375, height: 760 });
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    return { rows, facts, violations: found, sideways };
  },
});
