// Named Hocuspocus providers, and the sockets that several of them may share.
import { EventEmitter } from 'node:events'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import * as v24 from 'hocuspocus-provider-2.4'
import * as v29 from 'hocuspocus-provider-2.9'
import * as v213 from 'hocuspocus-provider-2.13'
import * as v215 from 'hocuspocus-provider-2.15'
import * as v3 from 'hocuspocus-provider-3'
import * as v4 from 'hocuspocus-provider-4'
import { applyEdits } from './edits.mjs'
import { Participant } from './participant.mjs'
import { socketClass } from './sockets.mjs'

const PACKAGES = { '2.4.0': v24, '2.9.0': v29, '2.13.5': v213, '2.15.3': v215, '3.4.4': v3, '4.8.0': v4 }

/** Versions before 3 have no attach, no sendToken, and other names for some options. */
const isOld = version => version.startsWith('2.')

const RETRY = { delay: 100, minDelay: 100, maxDelay: 400 }

/** A HocuspocusProviderWebsocket, and how each of its connections ended. Emits `changed`. */
export class HocuspocusSocket extends EventEmitter {
  constructor ({ url, version, headers = {}, connect = true, socketOptions = {} }) {
    super()
    this.setMaxListeners(0)
    this.version = version
    this.opened = 0
    this.closes = []
    this.refusals = []
    this.largestMessage = 0
    this.options = {
      url,
      ...RETRY,
      ...socketOptions,
      ...(isOld(version) ? { connect } : { autoConnect: connect }),
      WebSocketPolyfill: socketClass(
        headers,
        (status, body) => this.#note(this.refusals, { status, body }),
        (code, reason) => this.#note(this.closes, { code, reason }),
        size => { this.largestMessage = Math.max(this.largestMessage, size) }
      )
    }
  }

  /** For providers that share it; a provider of version 3 or newer can make its own from the options. */
  open () {
    this.follow(new PACKAGES[this.version].HocuspocusProviderWebsocket(this.options))
    return this
  }

  follow (websocket) {
    this.websocket = websocket
    websocket.on('open', () => { this.opened += 1 })
    for (const event of ['status', 'connect', 'close']) websocket.on(event, () => this.emit('changed'))
  }

  #note (list, entry) {
    list.push(entry)
    this.emit('changed')
  }

  get connected () { return this.websocket.status === 'connected' }

  connect () { this.websocket.connect() }

  disconnect () { this.websocket.disconnect() }

  drop () { this.websocket.webSocket?.terminate() }

  destroy () { this.websocket.destroy() }
}

/** A token as pages configure it: a string, or a function that returns it, or a promise of it, or fails. */
const TOKENS = {
  string: client => client.token,
  function: client => () => client.giveToken(),
  promise: client => async () => client.giveToken()
}

const typeOf = bytes => {
  const decoder = decoding.createDecoder(bytes)
  decoding.readVarString(decoder)
  return decoding.readVarUint(decoder)
}

/** The fields of each event that tests may read. */
const EVENTS = {
  open: () => ({}),
  connect: () => ({}),
  disconnect: ({ event }) => ({ code: event.code, reason: String(event.reason) }),
  close: ({ event }) => ({ code: event.code, reason: String(event.reason) }),
  destroy: () => ({}),
  status: ({ status }) => ({ status }),
  authenticated: () => ({}),
  authenticationFailed: ({ reason }) => ({ reason }),
  synced: ({ state }) => ({ state }),
  // Before version 3 it is the number alone.
  unsyncedChanges: change => ({ number: change.number ?? change }),
  stateless: ({ payload }) => ({ payload }),
  awarenessUpdate: ({ states }) => ({ states }),
  awarenessChange: ({ states }) => ({ states }),
  message: ({ event }) => ({ type: typeOf(new Uint8Array(event.data)) }),
  outgoingMessage: ({ message }) => ({
    // Replies are encoded elsewhere.
    type: encoding.hasContent(message.encoder) ? typeOf(encoding.toUint8Array(message.encoder)) : null
  })
}

export class HocuspocusClient extends Participant {
  /** @param {HocuspocusSocket | null} socket a shared one; null for one of its own */
  constructor ({
    room, version, socket = null, url, headers, connect = true, token = null, tokenKind = 'string',
    sessionAwareness = false, editsAtOpen = [], providerOptions = {}, ...options
  }) {
    super(options)
    this.version = version
    this.token = token
    this.tokenKind = tokenKind
    this.tokensGiven = 0
    this.events = []
    this.scope = null
    this.ownsSocket = socket === null
    this.socket = socket ?? new HocuspocusSocket({ url, version, headers, connect })
    const makesOwnSocket = this.ownsSocket && !isOld(version)
    if (this.ownsSocket && isOld(version)) this.socket.open()
    this.closes = this.socket.closes
    this.refusals = this.socket.refusals
    this.whenSocketChanges = () => this.changed()
    this.socket.on('changed', this.whenSocketChanges)
    const provider = new PACKAGES[version].HocuspocusProvider({
      ...providerOptions,
      name: room,
      document: this.doc,
      token: TOKENS[tokenKind](this),
      ...(makesOwnSocket ? this.socket.options : { websocketProvider: this.socket.websocket }),
      ...(isOld(version) ? { broadcast: false } : {}),
      ...(sessionAwareness ? { sessionAwareness } : {})
    })
    this.use(provider)
    if (makesOwnSocket) this.socket.follow(provider.configuration.websocketProvider)
    for (const [event, described] of Object.entries(EVENTS)) {
      provider.on(event, detail => {
        if (event === 'authenticated') this.scope = provider.authorizedScope
        this.note(this.events, { event, ...described(detail), ...(event === 'authenticated' ? { scope: this.scope } : {}) })
      })
    }
    if (editsAtOpen.length > 0) {
      // Once, before any message is sent on the socket.
      const edit = () => {
        provider.off('open', edit)
        applyEdits(this.doc, editsAtOpen)
      }
      provider.on('open', edit)
    }
    if (!this.ownsSocket && !isOld(version)) provider.attach()
  }

  get connected () { return this.socket.connected }

  get largestMessage () { return this.socket.largestMessage }

  set largestMessage (_size) {}

  get synced () { return this.connected && this.provider.isAuthenticated && this.provider.synced }

  get state () {
    return {
      ...super.state,
      authenticated: this.provider.isAuthenticated,
      scope: this.scope,
      unsynced: this.provider.unsyncedChanges,
      hasUnsyncedChanges: this.provider.hasUnsyncedChanges,
      status: this.socket.websocket.status,
      socketsOpened: this.socket.opened,
      tokensGiven: this.tokensGiven
    }
  }

  /** How many events of that name there were with these details. */
  heard (event, details) {
    const wanted = Object.entries(details)
    return this.events.filter(entry =>
      entry.event === event && wanted.every(([key, value]) => JSON.stringify(entry[key]) === JSON.stringify(value))
    ).length
  }

  giveToken () {
    this.tokensGiven += 1
    this.changed()
    if (this.token === null) throw new Error('there is no token')
    return this.token
  }

  setToken (token) {
    this.token = token
    if (this.tokenKind === 'string') this.provider.configuration.token = token
  }

  sendToken () { return this.provider.sendToken() }

  /** Open the document again on the open socket, as a page does that was denied. */
  attach () { return isOld(this.version) ? void this.provider.connect() : this.provider.attach() }

  detach () { return isOld(this.version) ? this.provider.disconnect() : this.provider.detach() }

  connect () { this.socket.connect() }

  disconnect () { this.socket.disconnect() }

  drop () { this.socket.drop() }

  destroy () {
    super.destroy()
    this.socket.off('changed', this.whenSocketChanges)
    if (this.ownsSocket) this.socket.destroy()
  }
}
