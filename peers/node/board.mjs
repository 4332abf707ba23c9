// Bull Board over queues of one Redis, and a browser that looks and clicks as it is told.
//
//   node board.mjs PORT QUEUE...
//
// Orders, a line each (see crates/testkit/src/peer.rs):
//   see   {at, press, has, lacks}      opens a page, presses what is named, and waits until it shows every text of `has` and
//                                      none of `lacks`; answers what it shows as a tree of texts
//   do    {at, press, fill, end}       opens a page, presses what is named, fills in the dialog that comes up, and ends it
//                                      with a button; answers what the board's server was asked for, and its status
//
// With BOARD_PICTURES set to a folder, it leaves a picture of each page that was seen there, for people.
//
// `press` is a list of {menu}, {tab}, {button}, {row, button} (of a table's row), {badge} (a button by a part
// of its text), {icon} (an action of a job's card).

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const require = createRequire(process.cwd() + '/');
const express = require('express');
const { Queue } = require('bullmq');
const { createBullBoard } = require('@bull-board/api');
const { BullMQAdapter } = require('@bull-board/api/bullMQAdapter');
const { ExpressAdapter } = require('@bull-board/express');
const { chromium } = require('playwright-core');

const PATIENCE = 20_000; // what the page, or the server behind it, may take
const LOOKS = 50; // how often the page is read while it is waited for; it tells nobody when it has changed
const SETTLES = 500; // what a field may take to say what was typed
const ICONS = {
  // by what their tooltips say
  Retry: 'refresh-cw',
  Promote: 'corner-up-left',
  Reschedule: 'clock',
  Duplicate: 'files',
  'Update Data': 'pencil',
  Clean: 'trash2',
  'Remove unprocessed children': 'list-x',
};
const QUIET = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

const pictures = process.env.BOARD_PICTURES;
let taken = 0;
const [port, ...names] = process.argv.slice(2);
const queues = names.map((name) => new Queue(name, { connection: { host: '127.0.0.1', port: Number(port) } }));
const adapter = new ExpressAdapter();
adapter.setBasePath('/board');
createBullBoard({ queues: queues.map((queue) => new BullMQAdapter(queue)), serverAdapter: adapter });
const app = express();
app.use('/board', adapter.getRouter());
const server = await new Promise((ready) => {
  const server = app.listen(0, '127.0.0.1', () => ready(server));
});
const home = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: QUIET });
const page = await browser.newPage({ viewport: { width: 1600, height: 1200 }, locale: 'en-US', timezoneId: 'UTC' });
page.setDefaultTimeout(PATIENCE);
// The page wants fonts of other hosts; it does without.
await page.route((url) => url.origin !== home, (route) => route.abort());

async function open({ at, press = [] }) {
  await page.goto(`${home}/board${at}`, { waitUntil: 'domcontentloaded' });
  for (const one of press) await pressed(one);
}

async function shown() {
  const parts = await page.locator('main, [role=dialog], [role=alertdialog]').all();
  const texts = await Promise.all(parts.map((part) => part.ariaSnapshot()));
  return texts.join('\n').replaceAll('\\"', '"'); // names are quoted, and quotes within them escaped
}

async function see({ at, press, has = [], lacks = [] }) {
  await open({ at, press });
  const until = Date.now() + PATIENCE;
  for (;;) {
    const text = await shown();
    const missing = has.filter((part) => !text.includes(part));
    const unwanted = lacks.filter((part) => text.includes(part));
    if (missing.length + unwanted.length === 0) {
      if (pictures) await page.screenshot({ path: join(pictures, `${port}-${++taken}.png`) });
      return text;
    }
    if (Date.now() > until) {
      throw new Error(`lacks ${JSON.stringify(missing)}, has ${JSON.stringify(unwanted)}:\n${text}`);
    }
    await page.waitForTimeout(LOOKS);
  }
}

async function pressed({ menu, tab, button, row, badge, icon }) {
  const main = page.locator('main');
  if (menu) {
    await main.locator('button[aria-haspopup=menu]').click();
    await page.getByRole('menuitem', { name: menu, exact: true }).click();
  } else if (tab) {
    await page.getByRole('tab', { name: tab, exact: true }).click();
  } else if (badge) {
    await main.getByRole('button').filter({ hasText: badge }).click();
  } else if (icon) {
    if (!ICONS[icon]) throw new Error(`no action is called ${icon}`);
    await main.locator(`button:has(svg.lucide-${ICONS[icon]})`).click();
  } else {
    const within = row ? page.getByRole('row').filter({ hasText: row }) : page;
    await within.getByRole('button', { name: button, exact: true }).click();
  }
}

// Fields are inputs, or editors that hand what they hold to a hidden input a little later. The form is made anew when the page
// learns what the queue has now: a field is looked for each time, and filled again when it has lost what was typed.
async function fill(dialog, fields) {
  const until = Date.now() + PATIENCE;
  for (const [label, text] of Object.entries(fields)) {
    const field = dialog.locator(`div:has(> label:text-is("${label}"))`);
    while ((await field.locator('input').inputValue()) !== text) {
      if (Date.now() > until) throw new Error(`"${label}" does not keep "${text}"`);
      await field.locator('[contenteditable=true], input:not([type=hidden])').fill(text);
      await page.waitForTimeout(SETTLES);
    }
  }
}

async function act({ at, press, fill: fields = {}, end }) {
  await open({ at, press });
  const dialog = page.locator('[role=dialog], [role=alertdialog]');
  if (Object.keys(fields).length > 0) {
    await page.waitForLoadState('networkidle');
    await fill(dialog, fields);
  }
  const answered = page.waitForResponse((response) => response.request().method() !== 'GET', { timeout: PATIENCE });
  const [response] = await Promise.all([answered, dialog.getByRole('button', { name: end, exact: true }).click()]);
  const asked = response.request();
  return { asked: `${asked.method()} ${new URL(asked.url()).pathname.slice('/board'.length)}`, status: response.status() };
}

const orders = { see, do: act };

for await (const line of createInterface({ input: process.stdin })) {
  const { n, op, with: order } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ n, ok: (await orders[op](order)) ?? null }));
  } catch (why) {
    console.log(JSON.stringify({ n, error: String(why.message) }));
  }
}
// A server that is gone would be asked for ever.
setTimeout(() => process.exit(1), 5_000).unref();
await browser.close();
server.close();
await Promise.all(queues.map((queue) => queue.close()));
process.exit(0);
