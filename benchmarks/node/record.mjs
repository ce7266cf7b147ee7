// Records what people do on a whiteboard, as the updates that Yjs makes of it:
//
//     node record.mjs KIND AUTHORS FRAMES FIRST FILE
//
// The authors have the client ids FIRST, FIRST + 1 and so on. In each frame one after the other makes an edit, and every
// author has what the others did before. FILE is JSON: `base`, the update with the board as it was before; and for each
// author the `updates` in base 64, with the clocks that they end at.
//
// The board is stored as the bindings of Excalidraw do it (y-excalidraw, for example): a Y.Array of the elements, each of
// them a Y.Map with the element as one JSON value, `el`, and its place in the order, `pos`. Excalidraw reports a changed
// element with each movement of the pointer, 60 times a second, and the binding sets `el` anew. So a free-hand stroke is
// sent with all of its points each time, and its updates grow until the pen is lifted.

import { writeFileSync } from 'node:fs'
import * as Y from 'yjs'

const [kind, authorCount, frameCount, firstId, file] = process.argv.slice(2)
const FIRST = Number(firstId)

// The same recording each time: a generator of random numbers (mulberry32).
let state = 0x5eed
const random = () => {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}
const below = limit => Math.floor(random() * limit)
const letters = length => Array.from({ length }, () => 'abcdefghijklmnopqrstuvwxyz0123456789'[below(36)]).join('')

const element = (type, x, y, more = {}) => ({
  id: letters(20),
  type,
  x,
  y,
  width: 40 + below(200),
  height: 40 + below(120),
  angle: 0,
  strokeColor: ['#1e1e1e', '#e03131', '#2f9e44', '#1971c2'][below(4)],
  backgroundColor: 'transparent',
  fillStyle: 'solid',
  strokeWidth: 2,
  strokeStyle: 'solid',
  roughness: 1,
  opacity: 100,
  groupIds: [],
  frameId: null,
  roundness: { type: 3 },
  seed: below(2 ** 31),
  version: 1,
  versionNonce: below(2 ** 31),
  isDeleted: false,
  boundElements: [],
  updated: 1760000000000,
  link: null,
  locked: false,
  ...more
})

const changed = (el, more) => ({
  ...el,
  ...more,
  version: el.version + 1,
  versionNonce: below(2 ** 31),
  updated: el.updated + 16
})

const add = (doc, elements) => {
  doc.transact(() => {
    doc.getArray('elements').push(elements.map(el => new Y.Map(Object.entries({ el, pos: `a${letters(4)}` }))))
  })
}

class Author {
  constructor (number) {
    this.doc = new Y.Doc()
    this.doc.clientID = FIRST + number
    this.number = number
    this.updates = []
    this.doc.on('update', (update, origin) => {
      if (origin !== 'others') this.updates.push(update)
    })
  }

  // The map of the element that this author draws or drags.
  get map () {
    return this.doc.getArray('elements').get(this.index)
  }

  set (el) {
    this.map.set('el', el)
  }
}

const drag = author => {
  const el = author.map.get('el')
  author.set(changed(el, { x: el.x + random() * 8 - 3, y: el.y + random() * 8 - 3 }))
}

const draw = author => {
  if (!author.left) {
    author.left = 45 + below(45)
    add(author.doc, [element('freedraw', below(1900), below(1000), { points: [[0, 0]], pressures: [], simulatePressure: true })])
    author.index = author.doc.getArray('elements').length - 1
    return
  }
  author.left--
  const el = author.map.get('el')
  const [x, y] = el.points[el.points.length - 1]
  author.set(changed(el, { points: [...el.points, [x + random() * 9 - 4, y + random() * 9 - 3]] }))
}

// A note on the board is a Y.Text. One letter in twelve replaces the one before it; deletions alone have no clock by
// which they could be recognized when they arrive.
const type = author => {
  const note = author.doc.getText(`note ${author.number}`)
  author.doc.transact(() => {
    if (note.length > 0 && below(12) === 0) note.delete(note.length - 1, 1)
    note.insert(note.length, below(6) === 0 ? ' ' : letters(1))
  })
}

const paste = author => {
  add(author.doc, Array.from({ length: 500 }, () => element(['rectangle', 'ellipse', 'arrow', 'text'][below(4)], below(1900), below(1000))))
}

const edits = { dragging: drag, strokes: draw, typing: type, pasting: paste }
const edit = edits[kind]
if (!edit) throw new Error(`no kind ${kind}; there are ${Object.keys(edits).join(', ')}`)

const board = new Y.Doc()
board.clientID = 1
const authors = Array.from({ length: Number(authorCount) }, (_, number) => new Author(number))
add(board, Array.from({ length: Math.max(200, authors.length) }, () => element('rectangle', below(1900), below(1000))))
const base = Y.encodeStateAsUpdate(board)
for (const author of authors) {
  Y.applyUpdate(author.doc, base, 'others')
  author.index = author.number
}

const recorded = authors.map(() => [])
for (let frame = 0; frame < Number(frameCount); frame++) {
  for (const author of authors) {
    edit(author)
    if (author.updates.length !== 1) throw new Error(`${author.updates.length} updates of one edit`)
    const [update] = author.updates.splice(0)
    const end = Y.getState(author.doc.store, author.doc.clientID)
    recorded[author.number].push([Buffer.from(update).toString('base64'), end])
    for (const other of authors) {
      if (other !== author) Y.applyUpdate(other.doc, update, 'others')
    }
  }
}
writeFileSync(file, JSON.stringify({ base: Buffer.from(base).toString('base64'), updates: recorded }))
