// Draws a large document with Yjs: `node document.mjs SHAPES FILE` writes its update to FILE and its state vector to
// FILE.vector. One shape in twenty has been moved, so that the document has deletions as well.

import { writeFileSync } from 'node:fs'
import * as Y from 'yjs'

const [shapes, file] = process.argv.slice(2)
const doc = new Y.Doc()
doc.clientID = 1
const drawing = doc.getMap('shapes')
const kinds = ['rectangle', 'ellipse', 'arrow', 'text']
const colours = ['#1971c2', '#2f9e44', '#e03131', '#f08c00']

const chosen = (from, index) => from[index % from.length]

for (let first = 0; first < shapes; first += 1000) {
  doc.transact(() => {
    for (let index = first; index < Math.min(first + 1000, shapes); index++) {
      const shape = new Y.Map()
      shape.set('kind', chosen(kinds, index))
      shape.set('x', index * 1.25)
      shape.set('y', index / 3)
      shape.set('width', 80 + index % 120)
      shape.set('height', 40 + index % 70)
      shape.set('colour', chosen(colours, index))
      drawing.set(`shape-${index}`, shape)
    }
  })
}
for (let index = 0; index < shapes; index += 20) {
  doc.transact(() => drawing.get(`shape-${index}`).set('x', index * 2.5))
}
writeFileSync(file, Y.encodeStateAsUpdate(doc))
writeFileSync(`${file}.vector`, Y.encodeStateVector(doc))
