// Preloaded into a server that would listen on every interface: keeps it on loopback and tells the port it was given,
// so that no port has to be guessed beforehand.
import net from 'node:net'

const { listen } = net.Server.prototype
net.Server.prototype.listen = function (port, ...rest) {
  this.once('listening', () => console.error(`listening on port ${this.address().port}`))
  return listen.call(this, { host: '127.0.0.1', port: Number(port) }, ...rest.filter((each) => typeof each === 'function'))
}
