// A call whose outcome nobody recorded.
export default ({ given, person, rows, opened, violations }) => ({
  /** Finds it in the inbox, and says that it was done. */
  async unknown() {
    const page = await person(given, { bypassCSP: true });
    await page.waitForSelector(`#rows a[data-id="${given.id}"]`);
    const row = await rows(page).first().locator(".badge").innerText();
    await page.keyboard.press("j");
    await opened(page, "unknown");
    const ways = await page.locator("[data-resolution]").allInnerTexts();
    const found = await violations(page, "outcome unknown", (colorScheme) => given.into && page.screenshot({ path: `${given.into}/unknown-${colorScheme}.png` }));
    await page.click("[data-resolution=done]");
    await page.fill("#resolve-reason", given.reason);
    found.push(...await violations(page, "what became of it"));
    await page.click("dialog button.main");
    await opened(page, "finished");
    await page.waitForFunction(() => !document.querySelector("#rows a"));
    return { row, ways, violations: found, left: await rows(page).count() };
  },
});
