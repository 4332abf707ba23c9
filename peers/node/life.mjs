// Lives a queue's life with Node BullMQ, step by step, at the times that it is told. What the steps mean stands in
// crates/queue/tests/dumps/life.json; crates/queue/tests/dumps/ours.rs lives the same life with ours.
//
//   node life.mjs <port of a Redis server>      (working directory: target/peers/node)
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(process.cwd() + '/');

// BullMQ goes by the time of its client: it stands where the last step put it.
let now = 0;
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...given) {
    super(...(given.length ? given : [now]));
  }
  static now() {
    return now;
  }
};

const { FlowProducer, Queue, UnrecoverableError, Worker } = require('bullmq');

const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null };
const places = new Map(); // queue -> its queue and its worker
const flows = new FlowProducer({ connection });
let tokens = 0;

async function open(name) {
  if (!places.has(name)) {
    const queue = new Queue(name, { connection });
    const metrics = { maxDataPoints: 20160 };
    const worker = new Worker(name, null, { connection, autorun: false, name: 'worker-1', metrics });
    await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
    places.set(name, { queue, worker, held: new Map() });
  }
  return places.get(name);
}

const node = ({ queue, name, data, opts, children }) => ({
  name: name ?? 'text',
  queueName: queue,
  data: data ?? { n: 1 },
  opts,
  children: children?.map(node),
});

const steps = {
  async add({ queue }, { name, data, opts }) {
    return (await queue.add(name ?? 'text', data ?? { n: 1 }, opts)).id;
  },
  async bulk({ queue }, { jobs }) {
    const all = jobs.map(({ name, data, opts }) => ({ name: name ?? 'text', data: data ?? { n: 1 }, opts }));
    return (await queue.addBulk(all)).map((job) => job.id);
  },
  async flow(_, { tree }) {
    await flows.add(node(tree));
  },
  async take({ worker, held }) {
    const token = `life:${tokens++}`;
    const job = await worker.getNextJob(token, { block: false });
    if (!job) return null;
    held.set(job.id, { job, token });
    return job.id;
  },
  async done({ held }, { job, value }) {
    const { job: mine, token } = held.get(job);
    await mine.moveToCompleted(value ?? null, token, false);
  },
  async fail({ held }, { job, error, final }) {
    const { job: mine, token } = held.get(job);
    await mine.moveToFailed(final ? new UnrecoverableError(error) : new Error(error), token, false);
  },
  async later({ held }, { job, wait }) {
    const { job: mine, token } = held.get(job);
    await mine.moveToDelayed(now + wait, token);
  },
  async back({ held }, { job }) {
    const { job: mine, token } = held.get(job);
    await mine.moveToWait(token);
  },
  async slow({ worker, held }, { job, wait }) {
    const { job: mine, token } = held.get(job);
    await worker.rateLimit(wait);
    await mine.moveToWait(token);
  },
  async children({ held }, { job }) {
    const { job: mine, token } = held.get(job);
    await mine.moveToWaitingChildren(token);
  },
  async extend({ held }, { job }) {
    const { job: mine, token } = held.get(job);
    await mine.extendLock(token, 30000);
  },
  progress: async ({ queue }, { job, value }) => (await queue.getJob(job)).updateProgress(value),
  data: async ({ queue }, { job, value }) => (await queue.getJob(job)).updateData(value),
  log: async ({ queue }, { job, line }) => void (await (await queue.getJob(job)).log(line)),
  promote: async ({ queue }, { job }) => (await queue.getJob(job)).promote(),
  retry: async ({ queue }, { job, from, reset }) =>
    (await queue.getJob(job)).retry(from ?? 'failed', { resetAttemptsMade: !!reset, resetAttemptsStarted: !!reset }),
  remove: async ({ queue }, { job, children }) => void (await queue.remove(job, { removeChildren: !!children })),
  detach: async ({ queue }, { job }) => void (await (await queue.getJob(job)).removeChildDependency()),
  free: async ({ queue }, { id }) => void (await queue.removeDeduplicationKey(id)),
  pause: async ({ queue }) => queue.pause(),
  resume: async ({ queue }) => queue.resume(),
  retryAll: async ({ queue }) => queue.retryJobs(),
  promoteAll: async ({ queue }) => queue.promoteJobs(),
  clean: async ({ queue }, { state, grace, most }) => (await queue.clean(grace, most ?? 1000, state)).length,
  drain: async ({ queue }, { delayed }) => queue.drain(!!delayed),
  slots: async ({ queue }, { most }) =>
    void (most ? await queue.setGlobalConcurrency(most) : await queue.removeGlobalConcurrency()),
  rate: async ({ queue }, { max, duration }) =>
    void (max ? await queue.setGlobalRateLimit(max, duration) : await queue.removeGlobalRateLimit()),
  hold: async ({ queue }, { wait }) => void (await queue.rateLimit(wait)),
  clear: async ({ queue }) => void (await queue.removeRateLimitKey()),
  schedule: async ({ queue }, { id, repeat, template }) => void (await queue.upsertJobScheduler(id, repeat, template)),
  unschedule: async ({ queue }, { id }) => queue.removeJobScheduler(id),
  // One look of the stalled check: a worker looks when its timer starts, and ends with its close.
  async look({ queue }) {
    const options = { connection, autorun: false, stalledInterval: 1000, maxStalledCount: 1 };
    const worker = new Worker(queue.name, null, options);
    await worker.waitUntilReady();
    await worker.startStalledCheckTimer();
    await worker.close();
  },
  async nothing() {},
};

for await (const line of createInterface({ input: process.stdin })) {
  const { n, op, with: step } = JSON.parse(line);
  let answer;
  try {
    now = step.now;
    const place = await open(step.queue);
    answer = { n, ok: (await steps[op](place, step)) ?? null };
  } catch (error) {
    answer = { n, error: error.message };
  }
  console.log(JSON.stringify(answer));
}
// A server that is gone would be asked for ever.
setTimeout(() => process.exit(1), 5_000).unref();
for (const { queue, worker } of places.values()) {
  await Promise.all([queue.close(), worker.close()]);
}
await flows.close();
