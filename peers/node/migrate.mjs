// Runs the Node fleet of docs/from-bullmq.md as crates/queue/tests/migration.rs tells it: producers and workers come and go.
//
//   REDIS_URL=… node migrate.mjs      (working directory: target/peers/node)
import { createInterface } from 'node:readline';
import { letters, send, work } from './letters.mjs';

const say = (line) => console.log(JSON.stringify(line));
const workers = new Map();
let producing = null;

// Adds some hundred jobs a second until it is told to stop; answers how many were added.
async function produce(make) {
  let added = 0;
  while (producing) {
    const { id, words, options } = make(added++);
    await send(id, words, options);
    await new Promise((go) => setTimeout(go, 2));
  }
  return added;
}

// Of twenty jobs most are plain; some have a delay or a priority, fail once or always.
const job = (prefix) => (n) => {
  const id = `${prefix}-${n}`;
  switch (n % 20) {
    case 3: return { id, words: ['a', 'later'] };
    case 7: return { id, words: ['a'], options: { delay: 200 } };
    case 11: return { id, words: ['a', 'b'], options: { priority: 5 } };
    case 17: return { id, words: ['never'] };
    default: return { id, words: ['a', 'b', 'c'] };
  }
};

const orders = {
  async begin({ prefix }) {
    producing = true;
    producing = produce(job(prefix));
  },
  async end() {
    const running = producing;
    producing = null;
    return await running;
  },
  async join({ name }) {
    const worker = work(name);
    worker.on('error', (error) => say({ news: 'error', error: error.message }));
    workers.set(name, worker);
    await worker.waitUntilReady();
  },
  async leave({ name }) {
    await workers.get(name).close();
    workers.delete(name);
  },
  counts: async () => letters.getJobCounts(),
};

await letters.waitUntilReady();
for await (const line of createInterface({ input: process.stdin })) {
  const { n, op, with: order } = JSON.parse(line);
  try {
    say({ n, ok: (await orders[op](order)) ?? null });
  } catch (error) {
    say({ n, error: error.message });
  }
}
// A server that is gone would be asked for ever.
setTimeout(() => process.exit(1), 5_000).unref();
producing = null;
await Promise.all([...workers.values()].map((worker) => worker.close()));
await letters.close();
