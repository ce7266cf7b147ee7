// A random edit of a Yjs document: any shared type, at any depth, formatting, embeds, subdocuments, split emoji.
import * as prng from 'lib0/prng'
import * as Y from 'yjs'

const WORDS = ['a', 'Canvas', ' ', 'naïve ', '漢字', '😀', '👩‍🎨', '🏳️‍🌈x', 'e\u0301', '\n', 'x'.repeat(300)]
const KEYS = ['a', 'b', 'color', 'ключ', '😀', '']
const MARKS = [
  { bold: true }, { bold: null }, { italic: {} }, { color: '#f00' }, { color: null }, { link: { href: 'https://example.org/?q=ü' } }
]
const MAX_DEPTH = 3

const length = (random, max) => prng.int31(random, 0, max)

const plainValue = random => prng.oneOf(random, [
  () => prng.int31(random, -100, 100),
  () => prng.int53(random, -(2 ** 52), 2 ** 52),
  () => prng.real53(random),
  () => prng.oneOf(random, WORDS),
  () => prng.bool(random),
  () => null,
  () => undefined,
  () => BigInt(prng.int31(random, -9, 9)) * 10n ** 17n,
  () => prng.oneOf(random, [Infinity, -Infinity, NaN, -0.5]),
  () => ({ x: prng.int31(random, 0, 9), nested: { list: [1, '😀', null, [true]] } }),
  () => prng.uint8Array(random, length(random, 8))
])()

const sharedType = (random, depth) => prng.oneOf(random, [
  () => new Y.Text(prng.oneOf(random, WORDS)),
  () => new Y.Map([[prng.oneOf(random, KEYS), value(random, depth + 1)]]),
  () => Y.Array.from([listed(random, depth + 1), listed(random, depth + 1)]),
  () => xmlNode(random, depth),
  () => new Y.XmlFragment()
])()

const subdocument = random => new Y.Doc({
  guid: prng.word(random, 8, 8),
  ...prng.oneOf(random, [{}, { meta: { title: 'Page 2', order: [2] } }, { autoLoad: true }, { gc: false }])
})

const value = (random, depth) => {
  const choice = prng.int31(random, 0, 9)
  if (choice < 3 && depth < MAX_DEPTH) return sharedType(random, depth)
  if (choice === 3) return subdocument(random)
  return plainValue(random)
}

/** Yjs accepts undefined and big integers in a map, but in an array only within a plain array. */
const listed = (random, depth) => {
  const item = value(random, depth)
  return item === undefined || typeof item === 'bigint' ? [item] : item
}

const xmlNode = (random, depth) => prng.oneOf(random, [
  () => {
    const element = new Y.XmlElement(prng.oneOf(random, ['p', 'rect', 'g']))
    element.setAttribute('id', prng.word(random))
    if (depth < MAX_DEPTH && prng.bool(random)) element.insert(0, [xmlNode(random, depth + 1)])
    return element
  },
  () => new Y.XmlText(prng.oneOf(random, WORDS)),
  () => prng.int31(random, 0, 9) === 0 ? new Y.XmlHook('hook') : new Y.XmlText()
])()

/** Indices count UTF-16 code units; where emoji must not be split, an index within a pair moves to its start. */
const aligned = (text, index, mayTear) => {
  if (mayTear) return index
  let start = 0
  for (const { insert } of text.toDelta()) {
    const size = typeof insert === 'string' ? insert.length : 1
    if (index < start + size) {
      const code = typeof insert === 'string' ? insert.charCodeAt(index - start) : 0
      return code >= 0xdc00 && code <= 0xdfff ? index - 1 : index
    }
    start += size
  }
  return index
}

const position = (random, text, mayTear) => aligned(text, length(random, text.length), mayTear)

const span = (random, text, mayTear) => {
  const start = position(random, text, mayTear)
  const end = aligned(text, Math.min(text.length, start + length(random, 20)), mayTear)
  return [start, Math.max(0, end - start)]
}

const editText = (random, text, mayTear) => prng.oneOf(random, [
  () => text.insert(position(random, text, mayTear), prng.oneOf(random, WORDS)),
  () => text.insert(position(random, text, mayTear), prng.oneOf(random, WORDS), prng.oneOf(random, MARKS)),
  () => text.insertEmbed(position(random, text, mayTear), { image: prng.word(random) }),
  () => text.insertEmbed(position(random, text, mayTear), sharedType(random, MAX_DEPTH)),
  () => text.delete(...span(random, text, mayTear)),
  () => text.format(...span(random, text, mayTear), prng.oneOf(random, MARKS)),
  () => text.setAttribute(prng.oneOf(random, KEYS), plainValue(random))
])()

const editList = (random, list, depth, make) => {
  if (prng.int31(random, 0, 2) > 0 || list.length === 0) {
    const count = prng.int31(random, 1, 3)
    list.insert(length(random, list.length), Array.from({ length: count }, () => make(random, depth + 1)))
  } else {
    const start = length(random, list.length - 1)
    list.delete(start, prng.int31(random, 1, Math.min(3, list.length - start)))
  }
}

const editMap = (random, map, depth) => {
  const key = prng.oneOf(random, KEYS)
  if (prng.int31(random, 0, 3) > 0) map.set(key, value(random, depth + 1))
  else map.delete(key)
}

const editElement = (random, element, depth) => {
  if (prng.bool(random)) return editList(random, element, depth, xmlNode)
  const key = prng.oneOf(random, ['id', 'x', 'style'])
  if (prng.bool(random)) element.setAttribute(key, prng.word(random))
  else element.removeAttribute(key)
}

const edit = (random, type, depth, mayTear) => {
  if (type instanceof Y.Text) editText(random, type, mayTear)
  else if (type instanceof Y.Map) editMap(random, type, depth)
  else if (type instanceof Y.Array) editList(random, type, depth, listed)
  else if (type instanceof Y.XmlElement) editElement(random, type, depth)
  else editList(random, type, depth, xmlNode)
}

const childrenOf = type => {
  if (type instanceof Y.Text) return type.toDelta().map(({ insert }) => insert)
  if (type instanceof Y.Map) return [...type.values()]
  return type.toArray()
}

/** A random shared type, usually not far below a root. */
const target = (random, doc) => {
  let type = prng.oneOf(random, [
    () => doc.getText('text'), () => doc.getMap('map'), () => doc.getArray('array'), () => doc.getXmlFragment('xml')
  ])()
  let depth = 0
  while (prng.int31(random, 0, 2) > 0) {
    const children = childrenOf(type).filter(child => child instanceof Y.AbstractType)
    if (children.length === 0) break
    type = prng.oneOf(random, children)
    depth += 1
  }
  return [type, depth]
}

export const editAtRandom = (random, doc, mayTear) => doc.transact(() => {
  const edits = prng.int31(random, 1, 3)
  for (let made = 0; made < edits; made++) edit(random, ...target(random, doc), mayTear)
})
