// A connection that sends and receives messages of the y-websocket protocol as bytes, without a document.
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import WebSocket from 'ws'

const SYNC = 0
const KINDS = { step1: 0, step2: 1, update: 2 }
const NOTHING = new Uint8Array([0])

const within = (seconds, what, work) => new Promise((resolve, reject) => {
  const deadline = setTimeout(() => reject(new Error(`${what()}: not within ${seconds} s`)), seconds * 1000)
  work(value => { clearTimeout(deadline); resolve(value) }, error => { clearTimeout(deadline); reject(error) })
})

export class RawClient {
  static async open (url, headers, seconds) {
    const client = new RawClient(new WebSocket(url, { headers, perMessageDeflate: false }), seconds)
    await within(seconds, () => 'opening a connection', (resolve, reject) => {
      client.socket.once('open', resolve)
      client.socket.once('error', reject)
    })
    return client
  }

  constructor (socket, seconds) {
    this.socket = socket
    this.seconds = seconds
    this.onUpdate = () => {}
    this.answers = []
    this.watchers = new Set()
    this.failed = null
    socket.binaryType = 'nodebuffer'
    socket.on('message', message => this.#received(message))
    socket.on('close', (code, reason) => {
      this.failed = new Error(`the server closed the connection with ${code} ${reason}`)
      for (const { reject } of this.answers.splice(0)) reject(this.failed)
    })
  }

  sendSync (kind, content) {
    const encoder = encoding.createEncoder()
    encoding.writeVarUint(encoder, SYNC)
    encoding.writeVarUint(encoder, KINDS[kind])
    encoding.writeVarUint8Array(encoder, content)
    this.socket.send(encoding.toUint8Array(encoder))
  }

  /** The server's step 2. Messages are handled in order, so everything that was sent before has been handled then. */
  sync (stateVector = NOTHING) {
    return within(this.seconds, () => 'the answer to a sync step 1', (resolve, reject) => {
      if (this.failed !== null) reject(this.failed)
      this.answers.push({ resolve, reject })
      this.sendSync('step1', stateVector)
    })
  }

  /** Resolves when a received message makes the condition true. */
  async until (isTrue, describe) {
    let watcher = null
    try {
      await within(this.seconds, describe, resolve => {
        watcher = () => { if (isTrue()) resolve() }
        this.watchers.add(watcher)
        watcher()
      })
    } finally {
      this.watchers.delete(watcher)
    }
  }

  close () {
    return within(this.seconds, () => 'closing a connection', resolve => {
      if (this.socket.readyState === WebSocket.CLOSED) resolve()
      this.socket.once('close', resolve)
      this.socket.close()
    })
  }

  #received (message) {
    const decoder = decoding.createDecoder(message)
    if (decoding.readVarUint(decoder) !== SYNC) return
    const kind = decoding.readVarUint(decoder)
    const content = decoding.readVarUint8Array(decoder)
    if (kind === KINDS.step1) return
    this.onUpdate(content)
    if (kind === KINDS.step2) this.answers.shift()?.resolve(content)
    for (const watcher of this.watchers) watcher()
  }
}
