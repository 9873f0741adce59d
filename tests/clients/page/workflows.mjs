// Workflows: the list, the calls of one, and rolling it back.
export default ({ given, person, violations }) => ({
  /** Two people look at the plan that undoes a workflow of `given.agent`; one runs it, then the other tries to. */
  async workflows() {
    const shoot = (page, name) => async (colorScheme) => {
      if (!given.into) return;
      for (const [size, viewport] of Object.entries({ phone: { width: 375, height: 760 }, wide: { width: 1280, height: 860 } })) {
        await page.setViewportSize(viewport);
        await page.screenshot({ path: `${given.into}/${name}-${size}-${colorScheme}.png` });
      }
    };
    const page = await person(given, { bypassCSP: true });
    const steps = (of) => of.locator("dialog .steps li");
    const run = (of) => of.locator("dialog button.main");
    const begin = async (of) => {
      await of.goto(`${given.url}/workflows?agent=${given.agent}`);
      await of.locator("button.open").first().click();
      await of.waitForSelector(".story.calls li");
      await of.click("text=Roll back …");
      await of.waitForSelector("dialog .steps li");
    };
    await page.goto(`${given.url}/workflows?agent=${given.agent}`);
    await page.waitForSelector("button.open");
    const rows = await page.locator("tbody tr").allInnerTexts();
    await begin(page);
    const second = await page.context().newPage();
    await begin(second);
    const calls = await page.locator(".story.calls li").allInnerTexts();
    const shown = await steps(page).allInnerTexts();
    const first = await run(page).innerText();
    const found = await violations(page, "rolling back", shoot(page, "rolling-back"));
    await page.locator("dialog .steps input").first().check();
    await page.waitForSelector("dialog .steps li[data-state=skipped]");
    const fewer = await run(page).innerText();
    await run(page).click();
    await page.waitForSelector("dialog .steps li[data-state=waiting]");
    await page.waitForSelector(".story.calls >> text=undone by");
    const story = await page.locator(".story.calls li").allInnerTexts();
    const after = await steps(page).allInnerTexts();
    found.push(...await violations(page, "rolled back", shoot(page, "rolled-back-by-people")));
    await run(second).click();
    await second.waitForSelector("dialog p.wrong[role=alert]:not([hidden])");
    const stale = await second.locator("dialog p.wrong[role=alert]").innerText();
    await second.waitForSelector("dialog .steps li[data-state=waiting]");
    const now = await steps(second).allInnerTexts();
    await page.locator("dialog >> text=Close").click();
    await page.setViewportSize({ width: 1280, height: 860 });
    found.push(...await violations(page, "a workflow", shoot(page, "a-workflow")));
    await page.setViewportSize({ width: 375, height: 760 });
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    return { rows, calls, shown, run: first, fewer, after, story, stale, now, violations: found, sideways };
  },
});
