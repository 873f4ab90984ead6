#!/usr/bin/env bash
# Installs the real terminal servers that `tests/real_servers.rs` runs: tmux and GNU screen from Debian's packages (which needs
# root), VibeTunnel from npm. The last goes below the target directory, or where TERMLEASH_REAL_SERVERS says. Does nothing
# for what is there already.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
where="${TERMLEASH_REAL_SERVERS:-${CARGO_TARGET_DIR:-target}/real-servers}"
vibetunnel=1.0.0-beta.15.1

# Node.js trusts the authorities that it came with, and not those that this machine has added.
system_authorities=/etc/ssl/certs/ca-certificates.crt
if [[ -z ${NODE_EXTRA_CA_CERTS:-} && -e $system_authorities ]]; then
  export NODE_EXTRA_CA_CERTS="$system_authorities"
fi

missing=()
for entry in tmux:tmux screen:screen node:nodejs npm:npm; do
  command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
done
if (( ${#missing[@]} > 0 )); then
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
fi

if [[ ! -e $where/vibetunnel-$vibetunnel ]]; then
  mkdir -p "$where"
  # Beside its place and moved there when it is whole: an install that was interrupted is none.
  half="$(mktemp -d -p "$where" half.XXXXXX)"
  trap 'rm -rf "$half"' EXIT
  timeout 5m npm install --fetch-timeout=60000 --prefix "$half" --ignore-scripts --no-audit --no-fund --no-package-lock "vibetunnel@$vibetunnel"
  # Its own install script needs a compiler, and the natives are in the package: for this Node and processor.
  modules="$half/node_modules"
  abi="$(node -p process.versions.modules)"
  arch="$(node -p process.arch)"
  tar -xzf "$modules/vibetunnel/prebuilds/node-pty-v1.0.0-node-v$abi-linux-$arch.tar.gz" -C "$modules/vibetunnel/node-pty"
  tar -xzf "$modules/vibetunnel/prebuilds/authenticate-pam-v1.0.5-node-v$abi-linux-$arch.tar.gz" \
    -C "$modules/authenticate-pam"
  mv "$half" "$where/vibetunnel-$vibetunnel"
fi

tmux -V
# GNU screen answers to this with status 1.
screen --version || true
echo "VibeTunnel $vibetunnel, Node.js $(node --version)"
