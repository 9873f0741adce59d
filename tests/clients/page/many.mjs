// More calls wait than a page shows at first.
export default ({ given, person, rows, wait }) => ({
  /** Counts the rows: at first, after "More", by the keyboard, and of a search for one that is not there yet. */
  async many() {
    const page = await person(given);
    const lists = [];
    page.on("request", (request) => { if (request.url().includes("/approvals?state=pending")) lists.push(request.url()); });
    await page.reload();
    await wait(page, 25);
    const first = { rows: await rows(page).count(), count: await page.locator("#count").innerText() };
    // The stream is open, so nothing is asked for a second time because of it.
    await page.waitForSelector("#standing[data-standing=live]");
    const asked = lists.length;
    await page.click("#rows button");
    await wait(page, given.count);
    const more = { count: await page.locator("#count").innerText(), button: await page.locator("#rows button").count() };
    const focused = await page.evaluate(() => [...document.querySelectorAll("#rows a")].indexOf(document.activeElement));

    await page.goto(`${given.url}/`);
    await wait(page, 25);
    for (let at = 0; at < 26; at += 1) await page.keyboard.press("j");
    await wait(page, given.count);
    await page.waitForFunction(() => [...document.querySelectorAll("#rows a")].findIndex((row) => row.getAttribute("aria-current")) >= 25);

    await page.goto(`${given.url}/`);
    await wait(page, 25);
    const oldest = given.oldest.slice(0, 12);
    await page.fill("#search", oldest);
    await wait(page, 1);
    return { first, asked, more, focused, found: await rows(page).first().getAttribute("data-id") };
  },
});
