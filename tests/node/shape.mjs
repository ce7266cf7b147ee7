// The content of a document, read from its items, so that items in unexpected places are included.
import * as Y from 'yjs'

const plain = value => {
  if (value === undefined) return { undefined: true }
  if (typeof value === 'bigint') return { bigint: value.toString() }
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) {
    return { number: Object.is(value, -0) ? '-0' : String(value) }
  }
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('base64') }
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null) {
    const prototype = Object.getPrototypeOf(value)
    const entries = Object.keys(value).map(key => [key, plain(value[key])])
    return prototype === Object.prototype ? { object: entries } : { object: entries, prototype: plain(prototype) }
  }
  return value
}

/** Values that are JSON in updates, where numbers are finite. */
const json = value => value === undefined ? undefined : plain(JSON.parse(JSON.stringify(value)))

const contentOf = content => {
  if (content instanceof Y.ContentType) return [{ type: content.type.constructor.name, name: content.type.nodeName ?? content.type.hookName, ...typeShape(content.type) }]
  if (content instanceof Y.ContentFormat) return [{ format: content.key, value: json(content.value) }]
  if (content instanceof Y.ContentDoc) return [{ doc: plain(content.doc.guid), options: plain(content.opts) }]
  if (content instanceof Y.ContentEmbed) return [{ embed: json(content.embed) }]
  if (content instanceof Y.ContentString) return [...content.str]
  return content.getContent().map(content instanceof Y.ContentJSON ? json : plain)
}

const typeShape = type => {
  const list = []
  for (let item = type._start; item !== null; item = item.right) {
    if (!item.deleted) for (const value of contentOf(item.content)) list.push(value)
  }
  const map = [...type._map].filter(([, item]) => !item.deleted).map(([key, item]) => [key, contentOf(item.content).at(-1)])
  map.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0))
  return { list, map, length: type._length }
}

/** Every shared type that is not empty, by name, whichever class it was defined with. */
export const shapeOf = doc => {
  const names = [...doc.share.keys()].sort()
  const shapes = names.map(name => [name, typeShape(doc.share.get(name))])
  return JSON.stringify(shapes.filter(([, { list, map }]) => list.length > 0 || map.length > 0))
}
