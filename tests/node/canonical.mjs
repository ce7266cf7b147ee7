// The content of a Yjs document as one JSON text, which is equal for equal documents, however they were made.
import * as Y from 'yjs'

/** The name of a shared type begins with its kind, so that clients that only received updates know it. */
const KINDS = [
  ['text', (doc, name) => doc.getText(name)],
  ['map', (doc, name) => doc.getMap(name)],
  ['array', (doc, name) => doc.getArray(name)],
  ['xml', (doc, name) => doc.getXmlFragment(name)]
]

export const rootType = (doc, name) => {
  const kind = KINDS.find(([prefix]) => name.startsWith(prefix))
  if (kind === undefined) {
    throw new Error(`a shared type's name starts with text, map, array or xml, and this one is ${name}`)
  }
  return kind[1](doc, name)
}

const sorted = entries => Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))

const isEmpty = value => Array.isArray(value) ? value.length === 0 : Object.keys(value).length === 0

/** Formatting marks without an effect split runs; which of them remain is not part of the content. */
const runs = delta => {
  const joined = []
  for (const { insert, attributes } of delta) {
    const run = { insert: typeof insert === 'string' ? insert : { embed: canonicalValue(insert) } }
    const marks = Object.entries(attributes ?? {})
    if (marks.length > 0) run.attributes = sorted(marks.map(([key, mark]) => [key, canonicalValue(mark)]))
    const last = joined.at(-1)
    if (
      typeof run.insert === 'string' && typeof last?.insert === 'string' &&
      JSON.stringify(last.attributes) === JSON.stringify(run.attributes)
    ) {
      last.insert += run.insert
    } else {
      joined.push(run)
    }
  }
  return joined
}

const canonicalText = text => {
  const content = { [text instanceof Y.XmlText ? 'xmltext' : 'text']: runs(text.toDelta()) }
  const attributes = sorted(Object.entries(text.getAttributes()).map(([key, value]) => [key, canonicalValue(value)]))
  return isEmpty(attributes) ? content : { ...content, attributes }
}

const canonicalElement = element => ({
  element: element.nodeName,
  attributes: sorted(Object.entries(element.getAttributes()).map(([key, value]) => [key, canonicalValue(value)])),
  children: element.toArray().map(canonicalValue)
})

const canonicalSubdocument = ({ guid, meta, autoLoad, gc }) => ({
  subdocument: guid,
  ...(meta === null ? {} : { meta: canonicalValue(meta) }),
  ...(autoLoad ? { autoLoad } : {}),
  ...(gc ? {} : { gc })
})

/** In the order of the keys, which Yjs keeps. */
const canonicalObject = value => Object.fromEntries(Object.entries(value).map(([key, item]) => [key, canonicalValue(item)]))

/** Values that JSON does not have (undefined, bytes, big integers, infinities) are objects with a key of their own. */
export const canonicalValue = value => {
  if (value instanceof Y.Text) return canonicalText(value)
  if (value instanceof Y.Map) {
    return { [value instanceof Y.XmlHook ? 'hook' : 'map']: sorted([...value].map(([key, item]) => [key, canonicalValue(item)])) }
  }
  if (value instanceof Y.Array) return { array: value.toArray().map(canonicalValue) }
  if (value instanceof Y.XmlElement) return canonicalElement(value)
  if (value instanceof Y.XmlFragment) return { fragment: value.toArray().map(canonicalValue) }
  if (value instanceof Y.Doc) return canonicalSubdocument(value)
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('base64') }
  if (value === undefined) return { undefined: true }
  if (typeof value === 'bigint') return { bigint: value.toString() }
  if (typeof value === 'number' && !Number.isFinite(value)) return { number: String(value) }
  if (Array.isArray(value)) return value.map(canonicalValue)
  if (typeof value === 'object' && value !== null) return canonicalObject(value)
  return value
}

const CONTENT = [['text', type => type.text], ['map', type => type.map], ['array', type => type.array], ['xml', type => type.fragment]]

/** Every shared type that is not empty, by name. */
export const canonicalContent = doc => {
  const entries = []
  for (const name of doc.share.keys()) {
    const whole = canonicalValue(rootType(doc, name))
    const content = CONTENT.find(([prefix]) => name.startsWith(prefix))[1](whole)
    if (isEmpty(content) && whole.attributes === undefined) continue
    entries.push([name, whole.attributes === undefined ? content : { runs: content, attributes: whole.attributes }])
  }
  return sorted(entries)
}

export const canonicalJson = doc => JSON.stringify(canonicalContent(doc))

/** State vector and delete set, as Yjs encodes them. */
export const snapshotOf = doc => Buffer.from(Y.encodeSnapshot(Y.snapshot(doc))).toString('base64')

export const waitsForMore = doc => doc.store.pendingStructs !== null || doc.store.pendingDs !== null
