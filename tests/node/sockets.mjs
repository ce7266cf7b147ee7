// The WebSocket class of the providers: ws, with request headers, reporting the status of refused handshakes.
import WebSocket from 'ws'

/**
 * @param {Record<string, string>} headers sent with the handshake
 * @param {(status: number, body: string) => void} onRefused
 * @param {(code: number, reason: string) => void} onClosed
 * @param {(size: number) => void} onMessage
 */
export const socketClass = (headers, onRefused, onClosed, onMessage = () => {}) => class extends WebSocket {
  constructor (url, protocols) {
    super(url, protocols, { headers, perMessageDeflate: false })
    // As in a browser, an unhandled error ends nothing: providers close sockets that are still connecting.
    this.on('error', () => {})
    this.on('message', message => onMessage(message.byteLength))
    this.on('close', (code, reason) => onClosed(code, reason.toString()))
    this.on('unexpected-response', (_request, response) => {
      const chunks = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('end', () => {
        onRefused(response.statusCode, Buffer.concat(chunks).toString())
        this.terminate()
      })
    })
  }
}
