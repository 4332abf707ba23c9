// BullMQ for Node as a peer: an order per line on stdin, an answer per line on stdout (see crates/testkit/src/peer.rs).
//   node driver.mjs PORT     Redis listens on 127.0.0.1:PORT
//
// Orders are methods of BullMQ's classes by their public names, `{queue, args}`; those of a job are called `job.<method>` and
// take `{queue, id, args}`. Beside them: `flow`, `work` and `stop` (a worker), `listen` and `heard` (QueueEvents), `release`
// (lets jobs that hang go on), `forget` (closes what belongs to a queue). What a worker does with a job stands in its data.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(process.cwd() + '/');
const { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } = require('bullmq');

const EVENTS = ['added', 'waiting', 'delayed', 'active', 'completed', 'failed', 'retries-exhausted', 'stalled', 'progress',
  'removed', 'duplicated', 'deduplicated', 'drained', 'cleaned', 'paused', 'resumed', 'waiting-children'];
const FIELDS = ['id', 'name', 'data', 'opts', 'progress', 'returnvalue', 'failedReason', 'attemptsMade', 'attemptsStarted',
  'stalledCounter', 'delay', 'priority', 'timestamp', 'processedOn', 'processedBy', 'finishedOn', 'parentKey', 'repeatJobKey',
  'deduplicationId'];
const PATIENCE = 30_000;

const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null };
const queues = new Map(), workers = new Map(), listeners = new Map(), gates = new Map();
let producer;

function queue(name) {
  if (!queues.has(name)) queues.set(name, new Queue(name, { connection }));
  return queues.get(name);
}

/** A gate that jobs of a queue wait at until it is opened. */
function gate(name) {
  if (!gates.has(name)) {
    const made = {};
    made.passed = new Promise((open) => { made.open = open; });
    gates.set(name, made);
  }
  return gates.get(name);
}

async function process_(job) {
  const does = job.data ?? {};
  const attempt = job.attemptsMade + 1;
  for (const line of does.lines ?? []) await job.log(line);
  for (const value of does.progress ?? []) await job.updateProgress(value);
  if (does.hang) await gate(job.queueName).passed;
  if (does.slow) await new Promise((done) => setTimeout(done, does.slow));
  if (does.gone) throw new UnrecoverableError(does.gone);
  if (does.fail >= attempt) throw new Error(does.why ?? `boom ${attempt}`);
  if (does.children) return await job.getChildrenValues();
  return does.value ?? null;
}

/** What JSON can say of an answer: jobs as their fields. */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value?.constructor?.name === 'Job') return Object.fromEntries(FIELDS.map((field) => [field, value[field]]));
  return value ?? null;
}

async function listen(name) {
  const events = new QueueEvents(name, { connection, lastEventId: '0' });
  const listener = { events, heard: [], waiting: () => {} };
  listeners.set(name, listener);
  for (const event of EVENTS) {
    events.on(event, (fields) => {
      listener.heard.push([event, event === 'drained' ? {} : fields]);
      listener.waiting();
    });
  }
  await events.waitUntilReady();
}

/** All that was heard of a queue, when it has `count` events of a name. */
async function heard({ queue: name, event, count }) {
  const listener = listeners.get(name);
  const enough = () => listener.heard.filter(([heard]) => heard === event).length >= count;
  await new Promise((done, fail) => {
    const late = setTimeout(() => fail(new Error(`heard only ${JSON.stringify(listener.heard)}`)), PATIENCE);
    listener.waiting = () => { if (enough()) { clearTimeout(late); done(); } };
    listener.waiting();
  });
  return listener.heard;
}

async function forget(name) {
  gate(name).open();
  await Promise.all([...workers].filter(([, worker]) => worker.name === name).map(([as]) => stop(as)));
  await Promise.all([listeners.get(name)?.events.close(), queues.get(name)?.close()]);
  for (const map of [listeners, queues, gates]) map.delete(name);
}

async function stop(as) {
  const worker = workers.get(as);
  workers.delete(as);
  await worker?.close();
}

const ORDERS = {
  flow: async ({ flow }) => {
    producer ??= new FlowProducer({ connection });
    const ids = ({ job, children }) => [job.id, ...(children ?? []).flatMap(ids)];
    return ids(await producer.add(flow));
  },
  work: async ({ queue: name, as, options }) => {
    const worker = new Worker(name, process_, { connection, name: as, ...options });
    // Without a listener an error ends the process; those of a worker are told by what becomes of its jobs.
    worker.on('error', (error) => console.error(`worker ${as}: ${error.message}`));
    workers.set(as, worker);
    await worker.waitUntilReady();
  },
  stop: ({ as }) => stop(as),
  listen: ({ queue: name }) => listen(name),
  heard,
  release: ({ queue: name }) => gate(name).open(),
  forget: ({ queue: name }) => forget(name),
};

async function obey({ op, with: order }) {
  if (ORDERS[op]) return ORDERS[op](order);
  const args = order.args ?? [];
  if (!op.startsWith('job.')) return queue(order.queue)[op](...args);
  const job = await queue(order.queue).getJob(order.id);
  if (!job) throw new Error(`no job ${order.id}`);
  return job[op.slice(4)](...args);
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const say = (answer) => process.stdout.write(`${JSON.stringify({ n: order.n, ...answer })}\n`);
  obey(order).then((ok) => say({ ok: plain(ok) }), (error) => say({ error: `${error.message}` }));
}
process.exit(0);
