// BullMQ for Node as `make bench-redis` measures it: follows orders, one line each (crates/testkit/benches/redis/client.rs).

import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const { Queue, Worker } = createRequire(process.cwd() + '/')('bullmq')

const KIND = 'SUMMARIZE'
const OPTIONS = {
  attempts: 3,
  backoff: { type: 'exponential', delay: 2000 },
  removeOnComplete: { age: 3600, count: 1000 },
}

let connection
let queue
let worker
let entries = []
let added = new Map()

const text = number => ({
  jobId: 'cmwu8ddpw00005rwc' + String(number).padStart(8, '0'),
  orgId: 'cmwu8ddpw00005rwco3q3as3r',
  type: KIND,
  input: { text: 'x'.repeat(60) },
})

const sleep = ms => new Promise(done => setTimeout(done, ms))

const orders = {
  async open({ url, queue: name }) {
    const { hostname, port } = new URL(url)
    connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null }
    queue = new Queue(name, { connection, defaultJobOptions: OPTIONS })
    await queue.waitUntilReady()
  },

  async add({ first, jobs, tasks }) {
    const task = async begin => {
      for (let number = begin; number < first + jobs; number += tasks) await queue.add(KIND, text(number))
    }
    await Promise.all(Array.from({ length: tasks }, (_, n) => task(first + n)))
  },

  async add_bulk({ first, jobs, size }) {
    for (let begin = first; begin < first + jobs; begin += size) {
      const length = Math.min(size, first + jobs - begin)
      await queue.addBulk(Array.from({ length }, (_, n) => ({ name: KIND, data: text(begin + n) })))
    }
  },

  async ready({ slots, handler }) {
    entries = []
    const handle = async job => {
      entries.push([Number(job.data.jobId.slice(17)), performance.now()])
      if (handler > 0) await sleep(handler)
      return null
    }
    worker = new Worker(queue.name, handle, { connection, concurrency: slots, autorun: false })
    worker.on('error', why => console.error(`worker: ${why}`))
    worker.on('failed', (job, why) => console.error(`job ${job?.id}: ${why}`))
    await worker.waitUntilReady()
  },

  async go() {
    worker.run().catch(why => console.error(`worker: ${why}`))
  },

  async offer({ rate, jobs }) {
    added = new Map()
    const begun = performance.now()
    const adding = []
    const add = async number => {
      const called = performance.now()
      await queue.add(KIND, text(number))
      added.set(number, [called, performance.now()])
    }
    for (let number = 0; number < jobs; number++) {
      const ahead = begun + (number * 1000) / rate - performance.now()
      if (ahead > 0) await sleep(ahead)
      adding.push(add(number))
    }
    await Promise.all(adding)
  },

  async stop() {
    await worker.close()
    const offered = entries.filter(([number]) => added.has(number))
    const micros = (number, entered, which) => Math.max(0, Math.round((entered - added.get(number)[which]) * 1000))
    const saw = {
      ids: entries.map(([number]) => number),
      fromCall: offered.map(([number, entered]) => micros(number, entered, 0)),
      fromAnswer: offered.map(([number, entered]) => micros(number, entered, 1)),
    }
    entries = []
    added = new Map()
    return saw
  },

  async close() {
    await queue.close()
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { n, op, with: options } = JSON.parse(line)
  let answer
  try {
    answer = { n, ok: (await orders[op](options ?? {})) ?? null }
  } catch (why) {
    answer = { n, error: String(why?.stack ?? why) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
