// A person at a browser: opens the link that the gateway printed, signs in, looks at the one call that waits,
// and approves it. `node reviewer.mjs LINK CHROMIUM`.
import { chromium } from "playwright-core";

const [link, executablePath] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  // In a container there is neither a namespace for the browser's own sandbox nor much shared memory.
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
try {
  const page = await browser.newPage();
  await page.goto(link);
  await page.click("form button");
  await page.click("#rows a");
  const shown = await page.locator("article .arguments").innerText();
  if (!shown.includes("todo.txt")) throw new Error(`it shows ${shown}`);
  await page.click("button.approve:enabled");
  await page.waitForSelector("article[data-state=finished]");
} finally {
  await browser.close();
}
