// PM2: pm2 start deploy/ecosystem.config.cjs && pm2 save
//
// The settings, secrets included, are in a file that only the user of PM2 may read (chmod 600). A shell reads it and then
// becomes the daemon, so that PM2 never has the secrets: `pm2 save` writes what it has to ~/.pm2/dump.pm2.
const environmentFile = process.env.CANVAS_COLLAB_ENV_FILE ?? '/etc/canvas-collab/pm2.env'
const twistd = process.env.CANVAS_COLLAB_TWISTD ?? '/opt/canvas-collab/venv/bin/twistd'

module.exports = {
  apps: [
    {
      name: 'canvas-collab',
      script: '/bin/sh',
      args: ['-c', `set -a; . '${environmentFile}'; set +a; exec '${twistd}' --nodaemon --pidfile= canvas-collab`],
      interpreter: 'none',
      // One process: all clients of a document should be connected to the same one.
      exec_mode: 'fork',
      instances: 1,
      // Of PM2's own environment the daemon gets nothing but this.
      filter_env: true,
      env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
      // Stopping takes five seconds at most: clients are closed, updates committed, snapshots written.
      kill_timeout: 10000,
      // Also after an orderly exit: the daemon exits by itself only when something is wrong.
      autorestart: true,
      // At once after a crash; if it cannot start, after more and more milliseconds, up to 15 seconds.
      exp_backoff_restart_delay: 100,
      // Restart when it takes more memory than this. Choose it well above what the daemon takes under load.
      max_memory_restart: '2G',
      // The event log is JSON lines with times. Rotate it: see docs/operating.md.
      merge_logs: true,
      time: false
    }
  ]
}
