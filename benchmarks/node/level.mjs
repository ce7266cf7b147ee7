// Puts a document into the store of @y/websocket-server: `node level.mjs DIRECTORY NAME FILE`.

import { readFileSync } from 'node:fs'
import { LeveldbPersistence } from 'y-leveldb'

const [directory, name, file] = process.argv.slice(2)
const store = new LeveldbPersistence(directory)
await store.storeUpdate(name, readFileSync(file))
await store.destroy()
