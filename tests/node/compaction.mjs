// Checks compacted documents against Yjs. Arguments: the first seed and how many.
// For each history a JSON line {seed, first, second}, its updates in two parts; then a line is read, {first, whole}: the
// compacted first part and the compacted whole. Last a line {problems, counts, sizes}.
import { createInterface } from 'node:readline'
import * as Y from 'yjs'
import { canonicalJson, snapshotOf, waitsForMore } from './canonical.mjs'
import { makeHistory, updatesOf } from './history.mjs'

const [firstSeed, count] = process.argv.slice(2).map(Number)
const problems = []
const counts = { histories: 0, ambiguous: 0, torn: 0, gaps: 0 }
const sizes = []

const base64 = bytes => Buffer.from(bytes).toString('base64')
const bytes = text => new Uint8Array(Buffer.from(text, 'base64'))

const documentOf = (updates, options) => {
  const doc = new Y.Doc(options)
  for (const update of updates) Y.applyUpdate(doc, update)
  return doc
}

const stateVector = doc => base64(Y.encodeStateVector(doc))

const differs = (what, expected, actual) => {
  if (expected !== actual) throw new Error(`${what}\n  expected ${expected}\n  received ${actual}`)
}

const check = (history, first, whole) => {
  const updates = updatesOf(history)
  const early = history.first.map(({ update }) => update)
  const second = history.second.map(({ update }) => update)
  const orders = [updates, [...updates].reverse(), [...second, ...early], [...second, Y.mergeUpdates(early)]]
  const models = [...orders, [Y.mergeUpdates(updates)]].map(list => documentOf(list))
  const json = canonicalJson(models[0])
  // Rarely, which formatting marks Yjs deletes depends on how updates are batched, and then so does the text.
  const agreed = models.every(doc => canonicalJson(doc) === json)
  const cases = {
    'the compacted whole': [whole],
    'the compacted first part, then the rest as it came': [first, ...second],
    'the rest as it came, then the compacted first part': [...second, first],
    'the compacted first part, then the compacted whole': [first, whole],
    'all as it came, then the compacted whole': [...updates, whole],
    'the compacted whole, then all as it came': [whole, ...updates]
  }
  for (const [name, list] of Object.entries(cases)) {
    for (const gc of [true, false]) {
      const doc = documentOf(list, { gc })
      const of = `${name}${gc ? '' : ', in a document that keeps what is deleted'}`
      if (waitsForMore(doc)) throw new Error(`${of} lacks something that was there`)
      differs(`the state vector of ${of}`, stateVector(models[0]), stateVector(doc))
      if (agreed) differs(`the content of ${of}`, json, canonicalJson(doc))
      // What such a client would send to another.
      if (agreed) differs(`what is passed on of ${of}`, json, canonicalJson(documentOf([Y.encodeStateAsUpdate(doc)])))
    }
  }
  if (agreed && !models.map(snapshotOf).includes(snapshotOf(documentOf([whole])))) {
    differs('the deletions of the compacted whole', snapshotOf(models[0]), snapshotOf(documentOf([whole])))
  }
  counts.histories += 1
  if (!agreed) counts.ambiguous += 1
  if (json.includes('\ufffd')) counts.torn += 1
  if (history.second.length > 0) counts.gaps += 1
  sizes.push({
    compacted: whole.length,
    yjs: Y.encodeStateAsUpdate(models[0]).length,
    merged: Y.mergeUpdates(updates).length
  })
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
for (let seed = firstSeed; seed < firstSeed + count; seed++) {
  const history = makeHistory(seed)
  const part = name => history[name].map(({ update }) => base64(update))
  console.log(JSON.stringify({ seed, first: part('first'), second: part('second') }))
  const { value } = await lines.next()
  const { first, whole } = JSON.parse(value)
  try {
    check(history, bytes(first), bytes(whole))
  } catch (error) {
    problems.push({ seed, problem: error.message })
  }
}
// process.exit() would cut the line off where the pipe is full.
console.log(JSON.stringify({ problems, counts, sizes }))
process.stdin.destroy()
