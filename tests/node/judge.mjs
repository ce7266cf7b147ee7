// The test oracle of updates: Yjs as it runs in clients. A JSON command a line on stdin, a JSON answer a line on stdout.
// judge: the failures of each history. histories: the updates of random edits, from seeds. nesting: how Yjs copes with
// types that are nested deeply. parts: what Yjs makes of updates that arrive in parts.
import { createInterface } from 'node:readline'
import * as prng from 'lib0/prng'
import * as Y from 'yjs'
import { makeHistory, updatesOf } from './history.mjs'
import { Judgement } from './judgement.mjs'
import { applyParts } from './parts.mjs'
import { editAtRandom } from './random_edits.mjs'

const base64 = bytes => Buffer.from(bytes).toString('base64')
const bytesOf = text => new Uint8Array(Buffer.from(text, 'base64'))

/** A history: the document before, what was relayed to connected clients, and what a new client is sent. */
const judge = ({ histories }) => histories.map(({ before, relayed, whole }) =>
  new Judgement(bytesOf(before), relayed.map(bytesOf), bytesOf(whole)).failures()
)

/** A client that undoes and redoes its edits, and overwrites keys again and again, with and without gc. */
const undoing = seed => {
  const random = prng.create(seed)
  const doc = new Y.Doc({ gc: prng.bool(random) })
  doc.clientID = prng.uint32(random, 1, 2 ** 32 - 1)
  const updates = []
  doc.on('update', update => updates.push(update))
  const roots = [doc.getText('text'), doc.getMap('map'), doc.getArray('array'), doc.getXmlFragment('xml')]
  const undoManager = new Y.UndoManager(roots, { captureTimeout: 0 })
  for (let step = 0; step < 40; step++) {
    const choice = prng.int31(random, 0, 9)
    if (choice < 2) undoManager.undo()
    else if (choice === 2) undoManager.redo()
    else if (choice < 6) {
      doc.transact(() => {
        for (let times = prng.int31(random, 1, 4); times > 0; times--) doc.getMap('map').set('again', times)
      })
    } else editAtRandom(random, doc, true)
    if (prng.int31(random, 0, 9) === 0) updates.push(Y.encodeStateAsUpdate(doc))
  }
  return updates
}

const histories = ({ seeds }) => seeds.map(seed =>
  (seed % 4 === 0 ? undoing(seed) : updatesOf(makeHistory(seed))).map(base64)
)

/** Documents with nested types. */
const INTO = {
  array: ['getArray', type => {
    type.insert(0, [new Y.Array()])
    return type.get(0)
  }],
  map: ['getMap', type => type.set('k', new Y.Map())],
  xml: ['getXmlFragment', type => {
    type.insert(0, [new Y.XmlElement('p')])
    return type.get(0)
  }]
}

const nestedDocument = (kind, depth, gc) => {
  const [name, into] = INTO[kind]
  const doc = new Y.Doc({ gc })
  let type = doc[name](kind)
  doc.transact(() => {
    for (let level = 0; level < depth; level++) type = into(type)
  })
  return doc
}

const NESTED_STEPS = {
  delete: doc => doc.transact(() => {
    for (const name of doc.share.keys()) {
      if (name === 'array') doc.getArray(name).delete(0, 1)
      if (name === 'map') doc.getMap(name).delete('k')
      if (name === 'xml') doc.getXmlFragment(name).delete(0, 1)
    }
  }),
  'to JSON': doc => doc.toJSON(),
  encode: doc => Y.encodeStateAsUpdate(doc),
  apply: doc => Y.applyUpdate(new Y.Doc(), Y.encodeStateAsUpdate(doc))
}

/** Whether each step succeeds, for each kind of nesting and each depth. */
const nesting = ({ depths }) => Object.keys(INTO).flatMap(kind => depths.flatMap(depth =>
  Object.entries(NESTED_STEPS).flatMap(([step, take]) => [true, false].map(gc => {
    const doc = nestedDocument(kind, depth, gc)
    try {
      take(doc)
      return { kind, depth, step, gc, error: null }
    } catch (error) {
      return { kind, depth, step, gc, error: error.message }
    }
  }))
))

/** What clients with and without gc make of updates in parts. */
const parts = ({ cases }) => cases.map(({ before, parts, whole }) => [true, false].map(gc =>
  applyParts(before.map(bytesOf), parts.map(bytesOf), bytesOf(whole), gc)
))

const COMMANDS = { judge, histories, nesting, parts }

console.log = console.info = console.warn = console.error = () => {}
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...details } = JSON.parse(line)
  let answer
  try {
    answer = { result: COMMANDS[command](details) }
  } catch (error) {
    answer = { error: error.stack ?? String(error) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
process.exit(0)
