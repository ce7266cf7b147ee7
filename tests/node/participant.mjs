// What every kind of client has: a document, how its connections ended, and events that tests can wait for.
import { EventEmitter } from 'node:events'
import * as Y from 'yjs'
import { canonicalContent, canonicalJson, snapshotOf, waitsForMore } from './canonical.mjs'

const base64 = bytes => Buffer.from(bytes).toString('base64')

/** Emits `changed`. A subclass sets `provider`, and has `connected`, `synced`, `connect`, `disconnect` and `drop`. */
export class Participant extends EventEmitter {
  constructor ({ name, gc = true }) {
    super()
    this.setMaxListeners(0)
    this.name = name
    this.doc = new Y.Doc({ gc })
    this.closes = []
    this.refusals = []
    this.errors = []
    this.givenUp = null
    this.updatesReceived = 0
    this.largestMessage = 0
  }

  /** Use a provider for this document, and observe what it changes. */
  use (provider) {
    this.provider = provider
    this.doc.on('update', (_update, origin) => {
      if (origin === provider) this.updatesReceived += 1
      this.changed()
    })
    provider.awareness.on('update', () => this.changed())
  }

  note (list, entry) {
    list.push(entry)
    this.changed()
  }

  changed () { this.emit('changed') }

  get json () { return canonicalJson(this.doc) }

  /** Equal for two clients exactly when they have the same content, structs and deletions, and nothing is pending. */
  get fingerprint () { return waitsForMore(this.doc) ? null : `${snapshotOf(this.doc)} ${this.json}` }

  get awareness () {
    const states = [...this.provider.awareness.getStates()].map(([id, state]) => ({ id, state }))
    return states.sort((a, b) => a.id - b.id)
  }

  /** The state besides the document. */
  get state () {
    return { connected: this.connected, synced: this.synced, people: this.provider.awareness.getStates().size }
  }

  report () {
    return {
      clientId: this.doc.clientID,
      ...this.state,
      content: canonicalContent(this.doc),
      stateVector: base64(Y.encodeStateVector(this.doc)),
      snapshot: snapshotOf(this.doc),
      update: base64(Y.encodeStateAsUpdate(this.doc)),
      updatesReceived: this.updatesReceived,
      largestMessage: this.largestMessage,
      awareness: this.awareness,
      closes: this.closes,
      refusals: this.refusals,
      errors: this.errors,
      givenUp: this.givenUp
    }
  }

  /** Apply an update as if the provider had received it. */
  apply (update) { Y.applyUpdate(this.doc, update, this.provider) }

  destroy () {
    this.provider.destroy()
    this.doc.destroy()
  }
}
