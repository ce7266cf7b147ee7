// A random Yjs history, the same for the same seed: the messages of three concurrent writers, in an order in which they
// might arrive, and what Yjs makes of them.
import * as prng from 'lib0/prng'
import * as Y from 'yjs'
import { editAtRandom } from './random_edits.mjs'

export const WRITERS = 3
const REMOTE = Symbol('remote')

const take = (random, list) => list.splice(prng.int31(random, 0, list.length - 1), 1)[0]

const shuffled = (random, list) => {
  const left = [...list]
  return list.map(() => take(random, left))
}

class Writer {
  constructor (index, clientID, gc) {
    this.index = index
    this.doc = new Y.Doc({ gc })
    this.doc.clientID = clientID
    this.inbox = []
    this.sent = []
    // A provider sends all changes of its own document, including formatting marks that Yjs deletes after remote edits.
    this.doc.on('update', (update, origin) => {
      if (origin !== REMOTE) this.sent.push({ writer: index, kind: 'update', update })
    })
  }

  /** Some of what the others sent, not always in order: Yjs keeps updates that it cannot integrate yet. */
  receive (random) {
    const count = prng.int31(random, 0, this.inbox.length)
    for (let taken = 0; taken < count; taken++) {
      const update = prng.int31(random, 0, 3) > 0 ? this.inbox.shift() : take(random, this.inbox)
      Y.applyUpdate(this.doc, update, REMOTE)
    }
  }
}

const write = (random, writers, mayTear) => {
  const messages = []
  const steps = prng.int31(random, 15, 45)
  for (let step = 0; step < steps; step++) {
    const writer = prng.oneOf(random, writers)
    if (prng.int31(random, 0, 3) === 0) writer.receive(random)
    else editAtRandom(random, writer.doc, mayTear)
    for (const message of writer.sent.splice(0)) {
      messages.push(message)
      for (const other of writers) if (other !== writer) other.inbox.push(message.update)
    }
    // A split surrogate pair is encoded differently by the document that split it than in the update it sent, and the
    // result would depend on which arrives first; so only histories without such splits have re-encoded documents.
    if (!mayTear && prng.int31(random, 0, 9) === 0) messages.push(resync(random, writer, prng.oneOf(random, writers)))
  }
  return messages
}

/** The step 2 of a client that reconnects: all it has beyond some state, much of it known already. */
const resync = (random, writer, other) => {
  const stateVector = prng.bool(random) ? Y.encodeStateVector(other.doc) : undefined
  return { writer: writer.index, kind: 'step2', update: Y.encodeStateAsUpdate(writer.doc, stateVector) }
}

/** Further messages with nothing new: several updates merged, or an update twice. */
const overlapping = (random, messages) => {
  const start = prng.int31(random, 0, messages.length - 1)
  const run = messages.slice(start, start + prng.int31(random, 1, 8))
  return {
    writer: prng.int31(random, 0, WRITERS - 1),
    kind: prng.oneOf(random, ['update', 'step2']),
    update: Y.mergeUpdates(run.map(({ update }) => update))
  }
}

const ORDERS = {
  asWritten: (_random, messages) => messages,
  shuffled,
  backwards: (_random, messages) => [...messages].reverse()
}

export const makeHistory = seed => {
  const random = prng.create(seed)
  const gc = prng.int31(random, 0, 3) > 0
  const mayTear = prng.int31(random, 0, 2) > 0
  const writers = Array.from({ length: WRITERS }, (_, index) => new Writer(index, prng.uint32(random, 1, 2 ** 32 - 1), gc))
  const written = write(random, writers, mayTear)
  const extra = Array.from({ length: prng.int31(random, 0, 4) }, () => overlapping(random, written))
  const order = prng.oneOf(random, Object.keys(ORDERS))
  const messages = ORDERS[order](random, [...written, ...extra])
  // Updates that are held back leave gaps in the first part, and fill them in the second.
  const first = []
  const second = []
  const cut = prng.int31(random, 0, messages.length)
  messages.forEach((message, index) => {
    const isHeldBack = prng.int31(random, 0, 4) === 0
    ;(index < cut && !isHeldBack ? first : second).push(message)
  })
  return { seed, gc, mayTear, order, first, second }
}

export const updatesOf = history => [...history.first, ...history.second].map(({ update }) => update)
