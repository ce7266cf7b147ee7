// Edits described in JSON, made through the API of Yjs.
import * as Y from 'yjs'
import { rootType } from './canonical.mjs'

/** A path is the name of a shared type, followed by keys and indices. */
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

/** {"$": kind, …} is a shared type, a subdocument, bytes or a big integer; everything else is itself. */
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
