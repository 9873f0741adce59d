// What is said about everything together.
export default ({ given, person }) => ({
  /** What the metrics say, as tiles, in the table of the first plot, and by tool. */
  async metrics() {
    const page = await person(given);
    await page.click("nav >> text=Metrics");
    await page.waitForSelector(".tiles");
    const tiles = await page.locator(".tiles").innerText();
    const bars = await page.locator(".plot").first().locator("svg rect:not(.area)").count();
    await page.locator(".plot summary").first().click();
    const numbers = await page.locator(".plot tbody").first().innerText();
    const tools = await page.locator(".plot:has-text('By tool') tbody").innerText();
    return { tiles, numbers, tools, bars };
  },

  /** What is left of the first limit, in the table and beside it. */
  async limits() {
    const page = await person(given);
    await page.click("nav >> text=Limits");
    await page.waitForSelector("button.open");
    const row = await page.locator("tbody tr").first().innerText();
    await page.locator("button.open").first().click();
    return { row, facts: await page.locator("#facts").innerText(), beside: await page.locator(".aside").innerText() };
  },

  /** What the list of calls shows of one tool. */
  async calls() {
    const page = await person(given);
    await page.goto(`${given.url}/calls`);
    await page.waitForSelector("button.open");
    await page.fill("[data-filter=tool]", given.tool);
    await page.keyboard.press("Enter");
    await page.waitForFunction((count) => document.querySelectorAll("tbody tr").length === count, given.count);
    return { rows: await page.locator("tbody").innerText() };
  },

  /** What is said while the gateway cannot be reached, and after it can be again. */
  async offline() {
    const page = await person(given);
    const standing = () => page.locator("#standing").innerText();
    const stands = (how) => page.waitForSelector(`#standing[data-standing=${how}]`);
    await stands("live");
    await page.context().setOffline(true);
    await stands("offline");
    const offline = await standing();
    if (given.into) await page.screenshot({ path: `${given.into}/offline-wide-light.png` });
    await page.context().setOffline(false);
    await stands("live");
    return { offline, live: await standing() };
  },

  /** What a search of the whole log finds. */
  async search() {
    const page = await person(given);
    await page.goto(`${given.url}/audit`);
    await page.waitForSelector("button.open");
    await page.fill("input[type=search]", given.words);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.getElementById("facts").textContent.includes("found"));
    const [facts, rows] = [await page.locator("#facts").innerText(), await page.locator("tbody").innerText()];
    await page.fill("input[type=search]", "");
    await page.waitForFunction(() => !document.getElementById("facts").textContent.includes("found"));
    return { facts, rows };
  },

  /** What is told to whoever has the log verified. */
  async verify() {
    const page = await person(given);
    await page.goto(`${given.url}/audit`);
    await page.click("text=Verify");
    await page.waitForSelector(".found.done, .found.wrong");
    return { told: await page.locator(".found").innerText() };
  },
});
