// What the test of malformed input needs of Yjs. A JSON command a line on stdin, a JSON answer a line on stdout, in turn.
// corpus: messages of clients. judge: what Yjs makes of updates, each by itself. follow: sync a document with a room.
// settle: the state of that document once it has everything that was sent so far.
import { createInterface } from 'node:readline'
import * as Y from 'yjs'
import * as encoding from 'lib0/encoding'
import * as awarenessProtocol from 'y-protocols/awareness'
import * as syncProtocol from 'y-protocols/sync'
import { makeHistory, updatesOf } from './history.mjs'
import { RawClient } from './raw_client.mjs'

const base64 = bytes => Buffer.from(bytes).toString('base64')
const bytesOf = text => new Uint8Array(Buffer.from(text, 'base64'))

/** The same seed makes the same messages, except for random numbers of Yjs itself. */
const docOf = clientID => {
  const doc = new Y.Doc()
  doc.clientID = clientID
  return doc
}

const rootsOf = doc => [doc.getText('text'), doc.getMap('map'), doc.getArray('array'), doc.getXmlFragment('xml')]

const message = write => {
  const encoder = encoding.createEncoder()
  write(encoder)
  return encoding.toUint8Array(encoder)
}

const syncMessage = write => message(encoder => {
  encoding.writeVarUint(encoder, 0)
  write(encoder)
})

const updateMessage = update => syncMessage(encoder => syncProtocol.writeUpdate(encoder, update))

const documentOf = updates => {
  const doc = new Y.Doc()
  for (const update of updates) Y.applyUpdate(doc, update)
  return doc
}

/** Values as Yjs encoded them before version 13, which clients still read and relay. */
const legacyValues = () => {
  const doc = docOf(13)
  const array = doc.getArray('array')
  doc.transact(transaction => {
    const content = new Y.ContentJSON([1, 'two', null, undefined, { three: [3] }])
    new Y.Item(Y.createID(doc.clientID, 0), null, null, null, null, array, null, content).integrate(transaction, 0)
  })
  return Y.encodeStateAsUpdate(doc)
}

const awarenessMessages = seed => {
  const awareness = new awarenessProtocol.Awareness(docOf(seed * 1000003))
  const other = new awarenessProtocol.Awareness(docOf(seed))
  const messages = []
  const states = [{}, { user: { name: 'Zoë 😀', color: '#30bced' } }, { cursor: { x: 1.5, y: -2, on: [true, null] } }, null]
  for (const state of states) {
    awareness.setLocalState(state)
    const update = awarenessProtocol.encodeAwarenessUpdate(awareness, [awareness.clientID])
    awarenessProtocol.applyAwarenessUpdate(other, update, null)
    messages.push(update, awarenessProtocol.encodeAwarenessUpdate(other, [...other.meta.keys()]))
  }
  awareness.destroy()
  other.destroy()
  return messages.map(update => message(encoder => {
    encoding.writeVarUint(encoder, 1)
    encoding.writeVarUint8Array(encoder, update)
  }))
}

const historyMessages = seed => {
  const updates = updatesOf(makeHistory(seed))
  const doc = documentOf(updates)
  // With some left out there are gaps, for which the merged update has skips.
  const gaps = Y.mergeUpdates(updates.filter((_update, index) => index % 3 !== 1))
  return [
    ...updates.map(updateMessage),
    updateMessage(gaps),
    syncMessage(encoder => syncProtocol.writeSyncStep1(encoder, doc)),
    syncMessage(encoder => syncProtocol.writeSyncStep2(encoder, doc))
  ]
}

const corpus = ({ seeds }) => [
  ...seeds.flatMap(seed => [...historyMessages(seed), ...awarenessMessages(seed)]),
  updateMessage(legacyValues()),
  syncMessage(encoder => syncProtocol.writeSyncStep1(encoder, new Y.Doc())),
  message(encoder => encoding.writeVarUint(encoder, 3))
].map(base64)

/** A client that shows a document has its shared types, and observes them. */
const shown = () => {
  const doc = new Y.Doc()
  for (const type of rootsOf(doc)) type.observeDeep(events => events.forEach(event => event.delta ?? event.changes))
  return doc
}

/** An update is good if it can be applied, and the document can be encoded. */
const judgeOne = (doc, update) => {
  const started = performance.now()
  let error = null
  try {
    Y.applyUpdate(doc, update)
    Y.encodeStateAsUpdate(doc)
  } catch (thrown) {
    error = thrown.stack ?? String(thrown)
  }
  return { error, milliseconds: performance.now() - started }
}

const judge = ({ updates, before }) => updates.map(update => {
  const doc = shown()
  Y.applyUpdate(doc, bytesOf(before))
  return judgeOne(doc, bytesOf(update))
})

const followers = new Map()

const follow = async ({ name, url, headers }) => {
  const connection = await RawClient.open(url, headers, 30)
  const follower = { connection, doc: shown(), failures: [] }
  connection.onUpdate = update => {
    const { error } = judgeOne(follower.doc, update)
    if (error !== null) follower.failures.push(`${Buffer.from(update).toString('hex')}: ${error}`)
  }
  followers.set(name, follower)
  return name
}

const settle = async ({ name }) => {
  const { connection, doc, failures } = followers.get(name)
  await connection.sync(Y.encodeStateVector(doc))
  return { failures, stateVector: base64(Y.encodeStateVector(doc)), size: Y.encodeStateAsUpdate(doc).length }
}

const COMMANDS = { corpus, judge, follow, settle }

console.log = console.info = console.error
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...details } = JSON.parse(line)
  let answer
  try {
    answer = { result: await COMMANDS[command](details) }
  } catch (error) {
    answer = { error: error.stack ?? String(error) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
process.exit(0)
