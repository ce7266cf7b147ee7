// What Yjs makes of an update that arrives in parts, compared with the update as a whole.
import * as Y from 'yjs'
import { canonicalJson, snapshotOf } from './canonical.mjs'

const documentOf = (updates, gc) => {
  const doc = new Y.Doc({ gc })
  for (const update of updates) Y.applyUpdate(doc, update)
  return doc
}

/** Which parts left something pending, and whether the document is in the end the same as from the whole update. */
export const applyParts = (before, parts, whole, gc) => {
  const doc = documentOf(before, gc)
  const pending = []
  parts.forEach((part, index) => {
    Y.applyUpdate(doc, part)
    if (doc.store.pendingStructs !== null) pending.push(index)
  })
  const expected = documentOf([...before, whole], gc)
  return {
    pending,
    waits: expected.store.pendingStructs !== null,
    same: snapshotOf(doc) === snapshotOf(expected) && canonicalJson(doc) === canonicalJson(expected)
  }
}
