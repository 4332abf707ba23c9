// A client of BullMQ 5 beside ours: adds, pauses, repeats and works as it is told.
//
//   node bullmq5.mjs <port of a Redis server>      (working directory: target/peers/node)
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(process.cwd() + '/');
const { Queue, Worker } = require('bullmq5');

const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null };
const say = (line) => console.log(JSON.stringify(line));
const queues = new Map();
const workers = new Map();

async function open(name) {
  if (!queues.has(name)) {
    queues.set(name, new Queue(name, { connection }));
    await queues.get(name).waitUntilReady();
  }
  return queues.get(name);
}

const orders = {
  open: async () => {},
  add: async (queue, { ids, data }) => {
    const jobs = await queue.addBulk(ids.map((jobId) => ({ name: 'text', data: data ?? {}, opts: { jobId } })));
    return jobs.map((job) => job.id);
  },
  pause: async (queue) => queue.pause(),
  resume: async (queue) => queue.resume(),
  repeat: async (queue, { name, repeat, data }) => (await queue.add(name, data, { repeat })).repeatJobKey,
  repeatables: async (queue) => (await queue.getRepeatableJobs()).map((one) => one.key),
  counts: async (queue) => queue.getJobCounts(),
  async work(queue) {
    const worker = new Worker(queue.name, async (job) => job.id, { connection, concurrency: 5 });
    worker.on('completed', (job) => say({ news: 'completed', job: job.id }));
    worker.on('error', (error) => say({ news: 'error', error: error.message }));
    workers.set(queue.name, worker);
    await worker.waitUntilReady();
  },
  async stop(queue) {
    await workers.get(queue.name)?.close();
    workers.delete(queue.name);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { n, op, with: order } = JSON.parse(line);
  try {
    say({ n, ok: (await orders[op](await open(order.queue), order)) ?? null });
  } catch (error) {
    say({ n, error: error.message });
  }
}
// A server that is gone would be asked for ever.
setTimeout(() => process.exit(1), 5_000).unref();
await Promise.all([...workers.values(), ...queues.values()].map((one) => one.close()));
