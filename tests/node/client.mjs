// One named Yjs client on a y-websocket provider, and the events a test can wait for.
import { EventEmitter } from 'node:events'
import * as Y from 'yjs'
import { WebsocketProvider as Provider1 } from 'y-websocket-1'
import { WebsocketProvider as Provider2 } from 'y-websocket-2'
import { WebsocketProvider as Provider3 } from 'y-websocket-3'
import { canonicalContent, canonicalJson, snapshotOf, waitsForMore } from './canonical.mjs'
import { socketClass } from './sockets.mjs'

const PROVIDERS = { 1: Provider1, 2: Provider2, 3: Provider3 }

const base64 = bytes => Buffer.from(bytes).toString('base64')

export class Client extends EventEmitter {
  constructor ({ name, url, room, version, headers = {}, params = {}, gc = true, connect = true }) {
    super()
    this.setMaxListeners(0)
    this.name = name
    this.doc = new Y.Doc({ gc })
    this.closes = []
    this.refusals = []
    this.errors = []
    this.givenUp = null
    this.updatesReceived = 0
    this.provider = new PROVIDERS[version](url, room, this.doc, {
      connect,
      params,
      disableBc: true,
      maxBackoffTime: 200,
      WebSocketPolyfill: socketClass(
        headers,
        (status, body) => this.#note(this.refusals, { status, body }),
        (code, reason) => this.#note(this.closes, { code, reason })
      )
    })
    this.provider.on('connection-error', event => this.#note(this.errors, event.message))
    this.provider.on('closed', ({ code, reason }) => {
      this.givenUp = { code, reason }
      this.#changed()
    })
    for (const event of ['status', 'sync']) this.provider.on(event, () => this.#changed())
    this.doc.on('update', (_update, origin) => {
      if (origin === this.provider) this.updatesReceived += 1
      this.#changed()
    })
    this.provider.awareness.on('update', () => this.#changed())
  }

  #note (list, entry) {
    list.push(entry)
    this.#changed()
  }

  #changed () { this.emit('changed') }

  get synced () { return this.provider.wsconnected && this.provider.synced }

  get json () { return canonicalJson(this.doc) }

  /** Equal for two clients exactly when they hold the same content, edits and deletions, and lack none they know of. */
  get fingerprint () { return waitsForMore(this.doc) ? null : `${snapshotOf(this.doc)} ${this.json}` }

  get awareness () {
    const states = [...this.provider.awareness.getStates()].map(([id, state]) => ({ id, state }))
    return states.sort((a, b) => a.id - b.id)
  }

  report () {
    return {
      clientId: this.doc.clientID,
      connected: this.provider.wsconnected,
      synced: this.synced,
      content: canonicalContent(this.doc),
      stateVector: base64(Y.encodeStateVector(this.doc)),
      snapshot: snapshotOf(this.doc),
      update: base64(Y.encodeStateAsUpdate(this.doc)),
      updatesReceived: this.updatesReceived,
      awareness: this.awareness,
      closes: this.closes,
      refusals: this.refusals,
      errors: this.errors,
      givenUp: this.givenUp
    }
  }

  destroy () {
    this.provider.destroy()
    this.doc.destroy()
  }
}
