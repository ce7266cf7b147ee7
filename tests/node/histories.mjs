// Sends random histories through a server, and compares the documents with what Yjs makes of the same updates.
// One JSON argument: {url, headers, seeds, roomPrefix, send: ["first", "second"], check, concurrency, seconds}.
// A JSON line for each seed that failed, then one with the counts.
import * as Y from 'yjs'
import { canonicalJson, snapshotOf, waitsForMore } from './canonical.mjs'
import { WRITERS, makeHistory, updatesOf } from './history.mjs'
import { RawClient } from './raw_client.mjs'

const options = JSON.parse(process.argv[2])
const counts = { histories: 0, messages: 0, torn: 0, withoutGc: 0, ambiguous: 0, heldBack: 0 }

const documentOf = updates => {
  const doc = new Y.Doc()
  for (const update of updates) Y.applyUpdate(doc, update)
  return doc
}

const stateVector = doc => Buffer.from(Y.encodeStateVector(doc)).toString('base64')

const differs = (what, expected, actual) => {
  if (expected !== actual) throw new Error(`${what}\n  expected ${expected}\n  received ${actual}`)
}

const open = room => RawClient.open(`${options.url}/${room}`, options.headers, options.seconds)

/** All writers at once, each in its own order; returns when the server has handled every message. */
const send = async (room, messages) => {
  const connections = await Promise.all(Array.from({ length: WRITERS }, () => open(room)))
  for (const { writer, kind, update } of messages) connections[writer].sendSync(kind, update)
  await Promise.all(connections.map(connection => connection.sync()))
  await Promise.all(connections.map(connection => connection.close()))
}

/** A document to which everything that the server sends on a connection is applied. */
const join = async (room, doc = new Y.Doc()) => {
  const connection = await open(room)
  connection.onUpdate = update => Y.applyUpdate(doc, update)
  await connection.sync(Y.encodeStateVector(doc))
  return { connection, doc }
}

/** What Yjs makes of the updates one by one, in two orders, and of all of them merged. */
const models = updates => [updates, [...updates].reverse(), [Y.mergeUpdates(updates)]].map(documentOf)

/** The content that every client must have in the end; null if for Yjs it depends on the order. */
const check = async (room, history) => {
  const updates = updatesOf(history)
  const expected = models(updates)
  const json = canonicalJson(expected[0])
  // Rarely, which formatting marks Yjs deletes depends on how updates are batched, and then so does the text.
  const isAgreed = expected.every(doc => canonicalJson(doc) === json)
  const snapshots = expected.map(snapshotOf)
  const fresh = await join(room)
  const partly = await join(room, documentOf(updates.filter((_update, index) => index % 3 === 0)))
  for (const [client, { connection, doc }] of [['a fresh client', fresh], ['a client that had a part', partly]]) {
    if (waitsForMore(doc)) throw new Error(`${client} lacks something that was sent`)
    if (isAgreed) differs(`the content of ${client}`, json, canonicalJson(doc))
    differs(`the state vector of ${client}`, stateVector(expected[0]), stateVector(doc))
    await connection.close()
  }
  if (isAgreed && !snapshots.includes(snapshotOf(fresh.doc))) {
    differs('the deletions of a fresh client', snapshots[0], snapshotOf(fresh.doc))
  }
  return isAgreed ? json : null
}

const run = async seed => {
  const history = makeHistory(seed)
  const room = options.roomPrefix + seed
  // It receives nothing but the first sync and what is broadcast.
  const follower = options.send.length > 0 ? await join(room) : null
  for (const part of options.send) {
    await send(room, history[part])
    counts.messages += history[part].length
  }
  if (options.check) {
    const json = await check(room, history)
    if (follower !== null && json !== null) {
      await follower.connection.until(
        () => !waitsForMore(follower.doc) && canonicalJson(follower.doc) === json,
        () => `the content of a client that listened\n  expected ${json}\n  received ${canonicalJson(follower.doc)}`
      )
    }
    if (json === null) counts.ambiguous += 1
    else if (json.includes('\ufffd')) counts.torn += 1
  }
  await follower?.connection.close()
  counts.histories += 1
  if (!history.gc) counts.withoutGc += 1
  if (history.second.length > 0) counts.heldBack += 1
}

const seeds = [...options.seeds]
const worker = async () => {
  while (seeds.length > 0) {
    const seed = seeds.shift()
    try {
      await run(seed)
    } catch (error) {
      console.log(JSON.stringify({ seed, problem: error.message }))
    }
  }
}

await Promise.all(Array.from({ length: options.concurrency }, worker))
console.log(JSON.stringify({ counts }))
process.exit(0)
