// People who sign their verdicts with passkeys, held by an authenticator of the browser's own making.

export default ({ browser, given, blank, person, violations, wait, opened, wrong }) => {
  /** A browser with an authenticator in it; `verified` says whether it finds out who is there. */
  async function withAuthenticator(options) {
    const page = await blank(options);
    const session = await page.context().newCDPSession(page);
    await session.send("WebAuthn.enable");
    const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", {
      options: { protocol: "ctap2", ctap2Version: "ctap2_1", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    });
    const verified = (isUserVerified) => session.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified });
    return { page, verified };
  }

  async function invited(page, invitation) {
    await page.goto(invitation);
    await page.fill("#passkey-name", "Laptop");
    await page.click("[data-passkey] button");
    await page.waitForSelector("#inbox");
  }

  const told = (page) => page.locator(".decisions .wrong");
  const open = async (page, id) => {
    await page.goto(`${given.url}/holds/${id}`);
    await opened(page);
    await page.waitForSelector("article h3:has-text('last 24 hours')");
  };
  const picture = (page, name) => page.screenshot({ path: `${given.into}/${name}.png` });

  /** What was refused on purpose is no complaint of the browser's. */
  const expected = (status) => {
    const at = wrong.findIndex((it) => it.startsWith(`${status} `) && it.endsWith("/verdict"));
    if (at >= 0) wrong.splice(at, 1);
    return at >= 0;
  };

  return {
    /** Invited, signs one call in place: after a prompt that was cancelled, and a signature that was changed on its way. */
    async signing() {
      const { page, verified } = await withAuthenticator();
      await invited(page, given.invitation);
      await open(page, given.first);
      await picture(page, "signing-before");
      await verified(false);
      await page.click("button.approve");
      await told(page).waitFor();
      const cancelled = await told(page).innerText();
      await picture(page, "signing-cancelled");
      const state = await page.locator("article").getAttribute("data-state");
      await verified(true);
      await page.route("**/verdict", async (route) => {
        const body = route.request().postDataJSON();
        body.signature.signature = `${body.signature.signature.slice(0, -8)}AAAAAAAA`;
        await route.continue({ postData: JSON.stringify(body) });
      });
      await page.click("button.approve");
      await page.waitForFunction((before) => { const it = document.querySelector(".decisions .wrong"); return it && !it.hidden && it.textContent !== before; }, cancelled);
      const refused = await told(page).innerText();
      const was = expected(403);
      await page.unroute("**/verdict");
      await page.click("button.approve");
      await page.waitForSelector("article[data-state=finished]");
      const outcome = await page.locator(".outcome").innerText();
      await picture(page, "signing-after");
      await open(page, given.second);
      await page.keyboard.press("e");
      await page.fill("#edited", given.edited);
      await picture(page, "signing-edit");
      await page.click("dialog button.main");
      await page.waitForSelector("article[data-state=finished]");
      // Identical calls are signed one by one.
      await open(page, given.third);
      const many = await page.locator(".decisions").innerText();
      await picture(page, "signing-identical");
      await page.click("button.approve");
      await page.waitForSelector("article[data-state=finished]");
      return { cancelled, state, refused, was, outcome, many };
    },

    /** Has no passkey: is told where to get one, and of the other way. */
    async unsigned() {
      const page = await person({ invitation: given.invitation }, { bypassCSP: true });
      await open(page, given.hold);
      await page.click("button.approve");
      await told(page).waitFor();
      const words = await told(page).innerText();
      const link = await told(page).locator("a").getAttribute("href");
      const found = await violations(page, "unsigned", (colorScheme) => picture(page, `unsigned-${colorScheme}`));
      await page.setViewportSize({ width: 375, height: 760 });
      await told(page).scrollIntoViewIfNeeded();
      await picture(page, "unsigned-phone");
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      return { words, link, found, sideways, state: await page.locator("article").getAttribute("data-state") };
    },
  };
};
