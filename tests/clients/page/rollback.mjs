// What the page says while an earlier revision is in force.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export default ({ given, person }) => ({
  /** The banner of the policy page, what axe finds in it, and how far a phone scrolls sideways. */
  async "rolled back"() {
    const { source } = require("axe-core");
    const page = await person(given, { bypassCSP: true });
    await page.goto(`${given.url}/policy`);
    await page.waitForSelector("p.found.wrong");
    const said = await page.locator("p.found.wrong").innerText();
    const found = [];
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.evaluate(source);
      const { violations } = await page.evaluate(() => axe.run({
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      }));
      for (const { id, nodes } of violations) found.push(`${colorScheme}: ${id}: ${nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
      if (!given.into) continue;
      for (const [size, viewport] of Object.entries({ wide: { width: 1280, height: 860 }, phone: { width: 375, height: 760 } })) {
        await page.setViewportSize(viewport);
        await page.screenshot({ path: `${given.into}/rolled-back-${size}-${colorScheme}.png` });
      }
      await page.setViewportSize({ width: 1280, height: 900 });
    }
    await page.setViewportSize({ width: 375, height: 760 });
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    return { said, found, sideways };
  },
});
