// Checks documents that were rebuilt without some updates against Yjs. Arguments: the first seed and how many.
// For each history a JSON line {seed, updates, without}: all its updates, and the indices of those to leave out.
// Then a line is read, {rebuilt, bare, shown}: the document without them, the same without emptied items, and its
// content. Last {problems, counts}.
import { createInterface } from 'node:readline'
import * as Y from 'yjs'
import { canonicalJson, waitsForMore } from './canonical.mjs'
import { makeHistory, updatesOf } from './history.mjs'
import { editAtRandom } from './random_edits.mjs'
import * as prng from 'lib0/prng'

const [firstSeed, count] = process.argv.slice(2).map(Number)
const problems = []
const counts = { histories: 0, ambiguous: 0, changed: 0, torn: 0 }

const documentOf = (updates, options) => {
  const doc = new Y.Doc(options)
  for (const update of updates) Y.applyUpdate(doc, update)
  return doc
}

const bytes = text => new Uint8Array(Buffer.from(text, 'base64'))

const differs = (what, expected, actual) => {
  if (expected !== actual) throw new Error(`${what}\n  expected ${expected}\n  received ${actual}`)
}

const check = (seed, updates, { rebuilt, bare }) => {
  const now = canonicalJson(documentOf([Y.mergeUpdates(updates)]))
  counts.histories += 1
  if (now !== canonicalJson(documentOf(updates))) {
    counts.ambiguous += 1
    return
  }
  for (const [name, update] of Object.entries({ rebuilt: bytes(rebuilt), bare: bytes(bare) })) {
    const fresh = documentOf([update])
    if (waitsForMore(fresh)) throw new Error(`the ${name} document waits for something`)
    const shown = canonicalJson(fresh)
    if (name === 'rebuilt' && shown !== now) counts.changed += 1
    for (const gc of [true, false]) {
      const returning = documentOf(updates, { gc })
      Y.applyUpdate(returning, update)
      if (waitsForMore(returning)) throw new Error(`a client that comes back to the ${name} document waits for something`)
      const kept = canonicalJson(returning)
      // A character that was split by what is left out stays split where that happened.
      if (kept.includes('\ufffd')) {
        counts.torn += 1
        continue
      }
      // Without emptied items, a client that reconnects still has what others inserted beside them.
      if (name === 'rebuilt') differs(`what a client shows that comes back${gc ? '' : ' and keeps what is deleted'}`, shown, kept)
      // What such a client has is known to the server, or does not change the content.
      const server = documentOf([update, Y.encodeStateAsUpdate(returning)], { gc })
      differs(`what is shown after somebody came back to the ${name} document`, shown, canonicalJson(server))
    }
    // Further edits work.
    const other = documentOf([Y.encodeStateAsUpdate(fresh)])
    const random = prng.create(seed)
    fresh.on('update', edit => Y.applyUpdate(other, edit))
    for (let edits = 0; edits < 10; edits++) editAtRandom(random, fresh, false)
    differs(`after edits of the ${name} document`, canonicalJson(fresh), canonicalJson(other))
  }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
for (let seed = firstSeed; seed < firstSeed + count; seed++) {
  const updates = updatesOf(makeHistory(seed))
  const random = prng.create(seed)
  const without = updates.map((_, place) => place).filter(() => prng.int31(random, 0, 4) === 0)
  const encoded = updates.map(update => Buffer.from(update).toString('base64'))
  console.log(JSON.stringify({ seed, updates: encoded, without }))
  const { value } = await lines.next()
  try {
    check(seed, updates, JSON.parse(value))
  } catch (error) {
    problems.push({ seed, problem: error.message })
  }
}
console.log(JSON.stringify({ problems, counts }))
process.stdin.destroy()
