#!/bin/sh
# Installs mcp-remote from the archives of a release: sh install.sh [DIRECTORY]
# DIRECTORY is ~/.local/bin if none is given; root is not needed. Manual pages and completions go to the share beside a bin.
# The archive's checksum is verified.
# MCP_REMOTE_VERSION=1.0.0 takes that version instead of the latest; MCP_REMOTE_BASE_URL names another place with the files.
set -eu

fail() {
  echo "install.sh: $*" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

fetch() { # ADDRESS FILE
  if has curl; then
    curl --fail --silent --show-error --location --retry 2 --output "$2" "$1"
  elif has wget; then
    wget -q -O "$2" "$1"
  else
    fail "curl or wget is needed"
  fi || fail "cannot fetch $1"
}

sum() {
  if has sha256sum; then
    sha256sum "$1"
  elif has shasum; then
    shasum -a 256 "$1"
  else
    fail "sha256sum or shasum is needed to verify the download"
  fi | cut -d ' ' -f 1
}

put() { # FILE TARGET; older archives have no such files
  [ -e "$1" ] || return 0
  mkdir -p "$(dirname "$2")"
  cp "$1" "$2"
}

# In a function, so that a download of this script that breaks off runs nothing.
main() {
  case $(uname -s)/$(uname -m) in
  Linux/x86_64 | Linux/amd64) target=x86_64-unknown-linux-musl ;;
  Linux/aarch64 | Linux/arm64) target=aarch64-unknown-linux-musl ;;
  Darwin/x86_64) target=x86_64-apple-darwin ;;
  Darwin/arm64) target=aarch64-apple-darwin ;;
  *) fail "there is no archive for $(uname -s) on $(uname -m); cargo install mcp-remote builds it" ;;
  esac
  if [ -n "${1:-}" ]; then
    directory=$1
  elif [ -n "${HOME:-}" ]; then
    directory=$HOME/.local/bin
  else
    fail "HOME is not set; name a directory"
  fi
  releases=https://github.com/mcp-remote/mcp-remote/releases
  if [ -n "${MCP_REMOTE_VERSION:-}" ]; then
    base=$releases/download/v${MCP_REMOTE_VERSION#v}
  else
    base=$releases/latest/download
  fi
  base=${MCP_REMOTE_BASE_URL:-$base}
  name=mcp-remote-$target

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  fetch "${base%/}/SHA256SUMS" "$work/SHA256SUMS"
  fetch "${base%/}/$name.tar.gz" "$work/$name.tar.gz"
  wanted=$(awk -v name="$name.tar.gz" '$2 == name || $2 == "*" name { print $1 }' "$work/SHA256SUMS")
  [ -n "$wanted" ] || fail "SHA256SUMS does not name $name.tar.gz"
  found=$(sum "$work/$name.tar.gz")
  [ "$found" = "$wanted" ] || fail "the checksum of $name.tar.gz is $found, not $wanted; nothing was installed"

  tar -xzf "$work/$name.tar.gz" -C "$work"
  mkdir -p "$directory"
  for program in mcp-remote mcp-remote-client; do
    # Moved into place whole: a program that is running is replaced, not written into.
    cp "$work/$name/$program" "$directory/.$program.new"
    chmod 755 "$directory/.$program.new"
    mv -f "$directory/.$program.new" "$directory/$program"
  done
  # ~/.local/share and the like, where man and the shells look if the programs are in the bin beside it.
  case $directory in
  */bin)
    share=${directory%/bin}/share
    for program in mcp-remote mcp-remote-client; do
      put "$work/$name/man/$program.1" "$share/man/man1/$program.1"
      put "$work/$name/completions/$program.bash" "$share/bash-completion/completions/$program"
      put "$work/$name/completions/_$program" "$share/zsh/site-functions/_$program"
      put "$work/$name/completions/$program.fish" "$share/fish/vendor_completions.d/$program.fish"
    done
    ;;
  esac
  echo "installed mcp-remote $("$directory/mcp-remote" --version) in $directory"
  case :$PATH: in
  *":$directory:"*) ;;
  *) echo "$directory is not in PATH: use the full path, or add it" ;;
  esac
}

main "$@"
