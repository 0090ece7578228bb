// Visits a shop with generations of posthog-js in headless Chromium. For each line of standard input it prints, as one
// JSON line, what each SDK saw so far, since what a page says as it goes is still on its way when the visits are over;
// the browser stays open until standard input ends.
//
// A browser gives the listeners of a page that goes half a second, and kills it then: what the SDK had not sent yet is
// lost with it. On a busy machine that happens, and says nothing of the server: the visit is made again with another key.
// Argument: {"chromium", "modules", "server", "port", "atOnce", "visits": [{"kind", "package", "keys", "user"}]}.
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { servePages } from './browser/pages.mjs';
import { pages, visit } from './browser/visit.mjs';
import { watch } from './browser/watch.mjs';

const plan = JSON.parse(process.argv[2]);
const args = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-dev-shm-usage'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
  '--disable-blink-features=AutomationControlled',
];
const userAgent = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36';
const site = await servePages(plan.modules, plan.port);
const browser = await chromium.launch({ executablePath: plan.chromium, headless: true, args });

const results = [];

/** Whether the listeners of each page of a visit have run to their end, and the browser has sent what they said. */
const went = async (kind, key) => {
  for (let look = 0; look < 50; look += 1) {
    if (site.gone[key] === pages[kind]) return true;
    await pause(200);
  }
  return false;
};

const attempt = async (wanted, key) => {
  const context = await browser.newContext({ userAgent });
  // A hang is a fault of the SDK's page; a busy machine is none.
  context.setDefaultTimeout(120_000);
  const seen = watch(context, plan.server, key);
  try {
    await visit(context, { ...wanted, key, site: site.origin, beyond: site.beyond, server: plan.server });
  } catch (error) {
    seen.complaints.push(`the visit broke off: ${error.message}`);
  }
  return seen;
};

const make = async (wanted) => {
  let seen;
  for (const key of wanted.keys) {
    seen = await attempt(wanted, key);
    if (seen.complaints.length > 0 || (await went(wanted.kind, key))) return results.push(seen);
  }
  seen.complaints.push('the browser killed a page of each visit before its listeners had run');
  return results.push(seen);
};

const waiting = [...plan.visits];
const visitor = async () => {
  while (waiting.length > 0) await make(waiting.shift());
};
await Promise.all(Array.from({ length: plan.atOnce }, visitor));
for await (const _ of createInterface({ input: process.stdin })) {
  const told = results.map((seen) => ({ ...seen, captured: site.captured[seen.key] ?? [] }));
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
await browser.close();
site.close();
