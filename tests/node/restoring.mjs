// Checks restored documents against Yjs. Arguments: the first seed and how many.
// For each history a JSON line {seed, updates, cut}: all its updates, the first `cut` of which make the document as it
// was. Then a line is read, {back, forth}: the updates that restore that, and that undo it again. Last {problems, counts}.
import { createInterface } from 'node:readline'
import * as Y from 'yjs'
import { canonicalJson } from './canonical.mjs'
import { makeHistory, updatesOf } from './history.mjs'

const [firstSeed, count] = process.argv.slice(2).map(Number)
const problems = []
const counts = { histories: 0, ambiguous: 0, changed: 0 }

const documentOf = (updates, options) => {
  const doc = new Y.Doc(options)
  for (const update of updates) Y.applyUpdate(doc, update)
  return doc
}

const bytes = text => new Uint8Array(Buffer.from(text, 'base64'))

const check = (updates, cut, back, forth) => {
  const before = updates.slice(0, cut)
  const then = canonicalJson(documentOf([Y.mergeUpdates(before)]))
  const now = canonicalJson(documentOf([Y.mergeUpdates(updates)]))
  const agreed = then === canonicalJson(documentOf(before)) && now === canonicalJson(documentOf(updates))
  counts.histories += 1
  if (!agreed) {
    counts.ambiguous += 1
    return
  }
  if (then !== now) counts.changed += 1
  const clients = {
    'a fresh client': [Y.mergeUpdates([...updates, back])],
    'a client that had it open': [...updates, back],
    'a client that comes back from then': [...before, ...updates.slice(cut), back]
  }
  for (const [name, list] of Object.entries(clients)) {
    for (const gc of [true, false]) {
      const doc = documentOf(list, { gc })
      const shown = canonicalJson(doc)
      if (shown !== then) throw new Error(`${name} should show\n  ${then}\nand shows\n  ${shown}\nwhere there was\n  ${now}`)
      Y.applyUpdate(doc, forth)
      const again = canonicalJson(doc)
      if (again !== now) throw new Error(`${name} should show again\n  ${now}\nand shows\n  ${again}`)
    }
  }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
for (let seed = firstSeed; seed < firstSeed + count; seed++) {
  const updates = updatesOf(makeHistory(seed))
  const cut = 1 + seed * 7919 % updates.length
  const encoded = updates.map(update => Buffer.from(update).toString('base64'))
  console.log(JSON.stringify({ seed, updates: encoded, cut }))
  const { value } = await lines.next()
  const { back, forth } = JSON.parse(value)
  try {
    check(updates, cut, bytes(back), bytes(forth))
  } catch (error) {
    problems.push({ seed, problem: error.message })
  }
}
console.log(JSON.stringify({ problems, counts }))
process.stdin.destroy()
