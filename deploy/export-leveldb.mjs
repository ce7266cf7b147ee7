// Writes every document of y-websocket's LevelDB (YPERSISTENCE) into a directory, one file with a Yjs update each:
//
//   npm install y-leveldb
//   node export-leveldb.mjs ./dbDir ./documents
//   canvas-collab import-all --directory ./documents
//
// Stop y-websocket's server first: LevelDB is open in one process at a time.
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [source, target] = process.argv.slice(2)
if (!source || !target) {
  console.error('usage: node export-leveldb.mjs DIRECTORY_OF_LEVELDB NEW_DIRECTORY')
  process.exit(2)
}
// From the directory in which the command is run: this file may lie elsewhere.
const require = createRequire(join(process.cwd(), 'package.json'))
const { LeveldbPersistence } = require('y-leveldb')
const Y = await import(pathToFileURL(require.resolve('yjs')).href).then(module => module.default ?? module)

mkdirSync(target, { recursive: true })
const store = new LeveldbPersistence(source)
let count = 0
for (const name of await store.getAllDocNames()) {
  const document = await store.getYDoc(name)
  writeFileSync(join(target, encodeURIComponent(name) + '.update'), Y.encodeStateAsUpdate(document))
  count++
}
await store.destroy()
console.log(`${count} documents written to ${target}`)
