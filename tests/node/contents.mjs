// The content that Yjs has after random histories. Arguments: the first seed and how many. A JSON line for each history
// whose content does not depend on the order of its updates: {seed, updates, content}.
import * as Y from 'yjs'
import { canonicalContent, canonicalJson } from './canonical.mjs'
import { makeHistory, updatesOf } from './history.mjs'

const [firstSeed, count] = process.argv.slice(2).map(Number)

const documentOf = updates => {
  const doc = new Y.Doc()
  for (const update of updates) Y.applyUpdate(doc, update)
  return doc
}

for (let seed = firstSeed; seed < firstSeed + count; seed++) {
  const updates = updatesOf(makeHistory(seed))
  const doc = documentOf([Y.mergeUpdates(updates)])
  if (canonicalJson(doc) !== canonicalJson(documentOf(updates))) continue
  const encoded = updates.map(update => Buffer.from(update).toString('base64'))
  console.log(JSON.stringify({ seed, updates: encoded, content: canonicalContent(doc) }))
}
