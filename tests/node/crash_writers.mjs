// Providers that edit without pause until this process is killed, and report what they made and what was acknowledged.
// One JSON argument: {url, token, rooms, writers, seed}. Every writer has a socket for all rooms. Without writers the
// rooms are only read. A JSON line each:
//
//   ["read", ROOM, CONTENT]                 what a new client reads, before any edit
//   ["made", ROOM, WRITER, COUNT]           the writer has made so many edits
//   ["acknowledged", ROOM, WRITER, COUNT]   so many of them were acknowledged
import { HocuspocusProvider, HocuspocusProviderWebsocket } from 'hocuspocus-provider-4'
import WebSocket from 'ws'
import * as Y from 'yjs'

const { url, token, rooms, writers, seed } = JSON.parse(process.argv[2])

const say = (...line) => process.stdout.write(JSON.stringify(line) + '\n')

// A linear congruential generator, so that a seed gives the same edits everywhere.
let state = seed
const random = bound => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor(state / 2 ** 32 * bound)
}

const synced = provider => new Promise(resolve => {
  const look = () => { if (provider.synced && !provider.hasUnsyncedChanges) resolve() }
  for (const event of ['synced', 'unsyncedChanges']) provider.on(event, look)
})

/** The edit with a number; tests/support/crash_writers.py knows the content after so many. */
const edit = (mine, number) => {
  const [list, keys, text] = ['list', 'keys', 'text'].map(name => mine.get(name))
  mine.set('last', number)
  if (number % 4 === 0) text.insert(number % 8 === 0 ? 0 : text.length, `${number},`)
  if (number % 4 === 1) list.push([number])
  if (number % 4 === 2) keys.set(`${number}`, number)
  if (number % 4 === 3) {
    if (list.length > 1) list.delete(0, 1)
    if (number % 8 === 3) keys.delete(`${number - 1}`)
  }
}

const draw = (provider, doc, room, writer) => {
  const all = doc.getMap('writers')
  let made = 0
  let told = 0
  let lost = false
  // Once a provider has lost its socket, its count is no longer what the server has acknowledged.
  provider.on('disconnect', () => { lost = true })
  provider.on('unsyncedChanges', ({ number }) => {
    // The provider counts the edit that is being made before this does.
    if (!lost && made - number > told) say('acknowledged', room, writer, told = made - number)
  })
  const go = () => {
    for (let count = 1 + random(4); count > 0; count--) {
      made += 1
      doc.transact(() => {
        if (made === 1) {
          const parts = { list: new Y.Array(), keys: new Y.Map(), text: new Y.Text() }
          all.set(writer, new Y.Map(Object.entries(parts)))
        }
        edit(all.get(writer), made)
      })
      say('made', room, writer, made)
    }
    setTimeout(go, 2 + random(50))
  }
  go()
}

const join = writer => {
  const websocketProvider = new HocuspocusProviderWebsocket({ url, delay: 100, minDelay: 100, WebSocketPolyfill: WebSocket })
  return rooms.map(room => {
    const doc = new Y.Doc()
    const provider = new HocuspocusProvider({ name: room, document: doc, token, websocketProvider })
    const ready = synced(provider)
    provider.attach()
    return { provider, doc, room, writer, ready }
  })
}

const present = (writers.length > 0 ? writers : [null]).flatMap(join)
await Promise.all(present.map(({ ready }) => ready))
for (const { room, doc, writer } of present) {
  if (writer === present[0].writer) say('read', room, doc.getMap('writers').toJSON())
}
for (const { provider, doc, room, writer } of present) {
  if (writer !== null) draw(provider, doc, room, writer)
}
