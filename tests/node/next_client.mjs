// A named client of the next y-websocket, with Yjs 14. Its version that shows which edits have arrived is not published
// yet; this follows them as that does: an edit has arrived when its ids were sent back.
import { EventEmitter } from 'node:events'
import * as Y from '@y/y'
import { WebsocketProvider } from '@y/websocket'
import { socketClass } from './sockets.mjs'

export class NextClient extends EventEmitter {
  constructor ({ name, url, room, headers = {}, connect = true }) {
    super()
    this.setMaxListeners(0)
    this.name = name
    this.doc = new Y.Doc()
    this.closes = []
    this.refusals = []
    this.unconfirmed = []
    this.updatesReceived = 0
    this.changesReceived = 0
    this.sizes = []
    this.changed = () => this.emit('changed')
    this.doc.on('update', (update, origin) => {
      if (origin === this.provider) this.changesReceived += 1
      else this.unconfirmed.push(Y.createContentIdsFromUpdate(update))
      this.changed()
    })
    this.provider = new WebsocketProvider(url, room, this.doc, {
      connect: false,
      disableBc: true,
      maxBackoffTime: 200,
      WebSocketPolyfill: socketClass(headers, status => this.refusals.push({ status }), code => {
        this.closes.push({ code })
        this.changed()
      })
    })
    const { messageHandlers } = this.provider
    const readSync = messageHandlers[0]
    messageHandlers[0] = (encoder, decoder, ...rest) => {
      const { arr, pos } = decoder
      readSync(encoder, decoder, ...rest)
      this.#heard(arr, pos)
    }
    for (const event of ['status', 'sync']) this.provider.on(event, this.changed)
    if (connect) this.provider.connect()
  }

  /** A sync message that begins with its kind at `position`. */
  #heard (bytes, position) {
    const kind = bytes[position++]
    if (kind === 0) return
    while (bytes[position++] > 127);
    const update = bytes.slice(position)
    const ids = Y.createContentIdsFromUpdate(update)
    this.updatesReceived += 1
    this.sizes.push(update.length)
    this.unconfirmed = this.unconfirmed.map(one => Y.excludeContentIds(one, ids))
      .filter(({ inserts, deletes }) => !inserts.isEmpty() || !deletes.isEmpty())
    this.changed()
  }

  get connected () { return this.provider.wsconnected }

  get synced () { return this.connected && this.provider.synced }

  get text () { return this.doc.get('text').toString() }

  get state () {
    return { connected: this.connected, synced: this.synced, text: this.text, unconfirmed: this.unconfirmed.length }
  }

  report () {
    const { closes, refusals, updatesReceived, changesReceived, sizes } = this
    const update = Buffer.from(Y.encodeStateAsUpdate(this.doc)).toString('base64')
    return { clientId: this.doc.clientID, ...this.state, update, closes, refusals, updatesReceived, changesReceived, sizes }
  }

  type (index, text) { this.doc.get('text').insert(index, text) }

  erase (index, length) { this.doc.get('text').delete(index, length) }

  apply (update) { Y.applyUpdate(this.doc, update, this.provider) }

  connect () { this.provider.connect() }

  disconnect () { this.provider.disconnect() }

  drop () { this.provider.ws?.terminate() }

  destroy () {
    this.provider.destroy()
    this.doc.destroy()
  }
}
