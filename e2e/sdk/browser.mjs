// Visits a shop with generations of posthog-js in headless Chromium. For each line of standard input it prints, as one
// JSON line, what each SDK saw so far, since what a page says as it goes is still on its way when the visits are over;
// the browser stays open until standard input ends.
// Argument: {"chromium", "modules", "server", "port", "atOnce", "visits": [{"kind", "package", "key", "user"}]}.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { servePages } from './browser/pages.mjs';
import { visit } from './browser/visit.mjs';
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

const make = async (wanted) => {
  const context = await browser.newContext({ userAgent });
  // A hang is a fault of the SDK's page; a busy machine is none.
  context.setDefaultTimeout(120_000);
  const seen = watch(context, plan.server, wanted.key);
  try {
    await visit(context, { ...wanted, site: site.origin, server: plan.server });
  } catch (error) {
    seen.complaints.push(`the visit broke off: ${error.message}`);
  }
  results.push(seen);
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
