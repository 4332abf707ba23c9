// The Node fleet of docs/from-bullmq.md, which shows what follows its line. The packages lie in the working directory.
import { createRequire } from 'node:module';
const { Queue, Worker } = createRequire(process.cwd() + '/')('bullmq');

// --- docs/from-bullmq.md ---
const connection = { url: process.env.REDIS_URL, maxRetriesPerRequest: null };

export const letters = new Queue('letters', {
  connection,
  defaultJobOptions: { attempts: 3, backoff: { type: 'fixed', delay: 100 }, removeOnFail: 1000 },
});

export const send = (id, words, options) => letters.add('letter', { words }, { jobId: id, ...options });

export const work = (name) =>
  new Worker(
    'letters',
    async (job) => {
      if (job.data.words.includes('later') && job.attemptsMade === 0) throw new Error('not at the first try');
      if (job.data.words.includes('never')) throw new Error('not at any try');
      return job.data.words.length;
    },
    { connection, name, concurrency: 5 },
  );
