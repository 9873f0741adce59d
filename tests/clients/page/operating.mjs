// What operators do.
export default ({ given, person }) => ({
  /** Adds an agent, replaces its token, revokes it, and invites a person. */
  async operate() {
    const page = await person(given);
    await page.goto(`${given.url}/people`);
    const secret = async () => {
      const text = await page.locator("dialog pre").innerText();
      await page.click("dialog button.main");
      await page.waitForSelector("dialog", { state: "detached" });
      return text;
    };
    await page.click("text=Add an agent");
    await page.fill("#name", "made-here");
    await page.fill("#groups", "guests, night");
    await page.click("dialog button.main");
    await page.waitForSelector("dialog pre");
    const first = await secret();
    await page.click("button.open:has-text('made-here')");
    const facts = await page.locator(".aside .terms").innerText();
    await page.click("text=New token");
    await page.waitForSelector("dialog pre");
    const second = await secret();
    await page.click("text=Invite a person");
    await page.fill("#name", "dee");
    await page.click("dialog button.main");
    await page.waitForSelector("dialog pre");
    const invitation = await secret();
    await page.click("button.open:has-text('leaver')");
    await page.click(".aside button.reject");
    await page.click("dialog button.main");
    await page.waitForSelector("tr:has-text('leaver') >> text=revoked");
    return { first, second, facts, invitation };
  },
});
