// Writes documents into a LevelDB as y-websocket's server does: one JSON argument, {directory, documents: {NAME: TEXT}}.
import { LeveldbPersistence } from 'y-leveldb'
import * as Y from 'yjs'

const { directory, documents } = JSON.parse(process.argv[2])
const store = new LeveldbPersistence(directory)
for (const [name, text] of Object.entries(documents)) {
  const document = new Y.Doc()
  const updates = []
  document.on('update', update => updates.push(update))
  for (const character of text) document.getText('text').insert(document.getText('text').length, character)
  for (const update of updates) await store.storeUpdate(name, update)
}
await store.destroy()
