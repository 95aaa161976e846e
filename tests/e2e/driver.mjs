// Drives one Chromium for the Rust tests: a JSON request on each line of standard input, its JSON answer on a line of standard output
// as soon as there is one: each has the "id" of its request, of whichever test that is.
//   {"op":"open","page":"alice-1","url":"https://…"}         → {"ok":null}, its "scripts" run before the page's own
//   {"op":"eval","page":"alice-1","script":"phone.status()"} → {"ok":{…}}, a promise awaited
//   {"op":"wait","page":"alice-1","script":"…","ms":9000}    → {"ok":value} once the script's value is truthy
//   {"op":"reload","page":"alice-1"}                         → {"ok":null}
//   {"op":"close","page":"alice-1"}                          → {"ok":null}
// Whatever fails is answered with {"error":"why"}. Once Chromium runs there is {"id":0}. The end of the input ends it.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const POLL_MS = 50;
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--ignore-certificate-errors",
  "--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required", "--disable-features=WebRtcHideLocalIpsWithMdns",
];

const profile = await mkdtemp(join(tmpdir(), "hookswitch-chromium-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM, headless: true, args: FLAGS, ignoreHTTPSErrors: true,
});
const pages = new Map();

const operations = {
  async open({ page: name, url, scripts }) {
    const page = await browser.newPage();
    for (const path of scripts) await page.addInitScript({ path });
    page.on("pageerror", (error) => process.stderr.write(`${name}: ${error.stack}\n`));
    page.on("console", (message) => process.stderr.write(`${name}: ${message.text()}\n`));
    pages.set(name, page);
    await page.goto(url);
    return null;
  },
  async eval({ page, script }) {
    return pages.get(page).evaluate(script);
  },
  async wait({ page, script, ms }) {
    const handle = await pages.get(page).waitForFunction(script, undefined, { timeout: ms, polling: POLL_MS });
    return handle.jsonValue();
  },
  async reload({ page }) {
    await pages.get(page).reload();
    return null;
  },
  async close({ page }) {
    await pages.get(page).close();
    pages.delete(page);
    return null;
  },
};

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

async function obey({ id, op, ...request }) {
  say(await operations[op](request).then((ok) => ({ id, ok: ok ?? null }), (error) => ({ id, error: error.message })));
}

say({ id: 0, ok: null });
for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line));
await browser.close();
await rm(profile, { recursive: true, force: true, maxRetries: 5 });
