// Edits as JSON describes them, made on a document through the Yjs API.
import * as Y from 'yjs'
import { rootType } from './canonical.mjs'

/** A path starts with the name of a shared type; then come the keys and indices that lead into it. */
const typeAt = (doc, [root, ...steps]) =>
  steps.reduce((type, step) => type.get(step), rootType(doc, root))

const textOf = (type, { text, delta }) => {
  if (text !== undefined) type.insert(0, text)
  if (delta !== undefined) type.applyDelta(delta)
  return type
}

const elementOf = ({ name, attributes = {}, children = [] }) => {
  const element = new Y.XmlElement(name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.insert(0, children.map(valueOf))
  return element
}

const SHARED = {
  text: value => textOf(new Y.Text(), value),
  map: ({ entries = {} }) => new Y.Map(Object.entries(entries).map(([key, value]) => [key, valueOf(value)])),
  array: ({ values = [] }) => Y.Array.from(values.map(valueOf)),
  element: elementOf,
  xmltext: value => textOf(new Y.XmlText(), value),
  subdocument: ({ guid, ...options }) => new Y.Doc({ guid, ...options }),
  hook: ({ name }) => new Y.XmlHook(name),
  bigint: ({ digits }) => BigInt(digits),
  bytes: ({ base64 }) => new Uint8Array(Buffer.from(base64, 'base64'))
}

/** Plain JSON stands for itself; {"$": kind, …} for a shared type, a subdocument, bytes or a big integer. */
const valueOf = value => value?.$ === undefined ? value : SHARED[value.$](value)

const EDITS = {
  insertText: (type, { index, text, attributes }) => type.insert(index, text, attributes),
  insertEmbed: (type, { index, embed, attributes = {} }) => type.insertEmbed(index, valueOf(embed), attributes),
  deleteText: (type, { index, length }) => type.delete(index, length),
  formatText: (type, { index, length, attributes }) => type.format(index, length, attributes),
  setKey: (type, { key, value }) => type.set(key, valueOf(value)),
  deleteKey: (type, { key }) => type.delete(key),
  insertValues: (type, { index, values }) => type.insert(index, values.map(valueOf)),
  deleteValues: (type, { index, length }) => type.delete(index, length),
  setAttribute: (type, { key, value }) => type.setAttribute(key, value)
}

export const applyEdits = (doc, edits) => doc.transact(() => {
  for (const { edit, path, ...details } of edits) {
    if (EDITS[edit] === undefined) throw new Error(`no such edit: ${edit}`)
    EDITS[edit](typeAt(doc, path), details)
  }
})
