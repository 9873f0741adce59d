// A person decides on calls that wait.
export default ({ given, person, rows, wait, opened }) => ({
  /** Decides all that waits with the keyboard alone: every second call is rejected. */
  async keyboard() {
    const page = await person(given);
    await wait(page, given.count);
    const decided = [];
    for (let done = 0; done < given.count; done += 1) {
      await page.keyboard.press("j");
      await opened(page);
      const id = await page.locator("article").getAttribute("data-id");
      if (done % 2) {
        await page.keyboard.press("r");
        await page.keyboard.type(`not this one, ${done}`);
      } else {
        await page.keyboard.press("a");
      }
      await page.keyboard.press("Enter");
      await page.waitForFunction((id) => {
        const article = document.querySelector("article");
        return article?.dataset.id === id && article.dataset.state !== "pending";
      }, id);
      decided.push(id);
    }
    await wait(page, 0);
    const empty = await page.locator("#rows .empty").innerText();
    // The last one was rejected, so the one before shows how an approved call ended.
    await page.goto(`${given.url}/holds/${decided.at(-2)}`);
    await page.waitForSelector("article[data-state=finished]");
    return { decided, empty, outcome: await page.locator(".outcome").innerText() };
  },

  /** Approves with other arguments, and is shown what changed before. */
  async edit() {
    const page = await person(given);
    await wait(page, 1);
    await page.keyboard.press("j");
    await opened(page);
    await page.keyboard.press("e");
    await page.fill("#edited", given.wrong);
    const refused = await page.locator("dialog .wrong").innerText();
    await page.fill("#edited", given.edited);
    const changes = await page.locator("dialog .differences").innerText();
    await page.click("dialog button.main");
    await page.waitForFunction(() => document.querySelector("article")?.dataset.state === "finished");
    return { refused, changes };
  },

  /** Grants a standing approval after its rule was shown. */
  async standing() {
    const page = await person(given);
    await wait(page, 1);
    await page.keyboard.press("j");
    await opened(page);
    await page.keyboard.press("s");
    await page.fill("#bounds", given.bounds);
    await page.fill("#standing-reason", "they are all alike");
    await page.click("dialog button.main");
    await page.waitForSelector("dialog pre:visible");
    const rule = await page.locator("dialog pre").innerText();
    await page.click("dialog button.main");
    await page.waitForSelector("dialog", { state: "detached" });
    return { rule };
  },

  /** What may not be approved before its last line was on the screen. */
  async long() {
    const page = await person(given);
    await wait(page, 1);
    await page.keyboard.press("j");
    await opened(page);
    const before = await page.locator("button.approve").isEnabled();
    await page.keyboard.press("a");
    await page.keyboard.press("Enter");
    await page.locator(".look").evaluate((look) => look.scrollTo(0, look.scrollHeight));
    await page.waitForSelector("button.approve:enabled");
    await page.keyboard.press("a");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("article")?.dataset.state === "finished");
    return { before };
  },

  /** Decides on a phone. */
  async phone() {
    const page = await person(given, { viewport: { width: 375, height: 720 }, hasTouch: true, isMobile: true });
    await wait(page, 1);
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    const list = await overflow();
    await rows(page).first().tap();
    await opened(page);
    const detail = await overflow();
    await page.locator("button.approve").tap();
    await page.waitForSelector("article[data-state=finished]");
    await page.locator("button.back").tap();
    await page.waitForSelector("#rows .empty");
    return { list, detail };
  },
});
