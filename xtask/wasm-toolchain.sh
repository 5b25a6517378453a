#!/usr/bin/env bash
# Finds, or sets up, a rustc that builds WebAssembly components, and prints its path on standard output.
#
#   wasm-toolchain.sh DIR
#
# First choice is this machine's own rustc with rustup's wasm32-wasip2. Where rustup cannot fetch it, Debian's packages
# of rustc and its wasm standard library are unpacked into DIR and run through their own dynamic loader: nothing is
# installed on the system, its apt sources stay as they are, and apt checks each package against the signed index of
# its suite.
#
#   WASM_RUST_SOURCE   auto (default: rustup's if it can be had, else Debian's) | rustup | debian
#   WASM_RUST_SUITES   Debian suites to try, in this order (default: "forky testing sid")
#   WASM_RUST_MIRROR   Debian mirror (default: the one in this machine's apt sources)
set -euo pipefail

target=wasm32-wasip2
cache=${1:?usage: $0 DIR}
source=${WASM_RUST_SOURCE:-auto}
suites=${WASM_RUST_SUITES:-"forky testing sid"}

main() {
  case $source in auto | rustup | debian) ;; *) fail "WASM_RUST_SOURCE is '$source'; set it to auto, rustup or debian" ;; esac
  mkdir -p "$cache"
  cache=$(cd "$cache" && pwd)
  exec 9>"$cache/.lock"
  flock 9 # two builds on one machine set it up once

  local own
  own=$(command -v rustc || true)
  if [ "$source" != debian ] && has_std "$own"; then echo "$own" && return; fi
  if [ "$source" != rustup ] && is_ready; then echo "$cache/bin/rustc" && return; fi
  if [ "$source" != debian ]; then
    say "adding $target with rustup"
    if timeout 120 rustup target add "$target" >&2 && has_std "$own"; then echo "$own" && return; fi
    [ "$source" = auto ] || fail "rustup cannot add $target; try WASM_RUST_SOURCE=debian"
    say "rustup cannot add it; falling back to Debian's packages"
  fi
  unpack_debian
  echo "$cache/bin/rustc"
}

say() { echo "wasm-toolchain: $*" >&2; }
fail() { say "$*" && exit 1; }

# Whether the rustc $1 has a standard library for the target.
has_std() {
  [ -x "$1" ] && compgen -G "$("$1" --print sysroot)/lib/rustlib/$target/lib/libstd*.rlib" >/dev/null
}

# The marker tells how DIR was made; a set-up by other settings is made anew.
recipe() { echo "2 $suites $target"; }
is_ready() { [ -f "$cache/ready" ] && [ "$(cat "$cache/ready")" = "$(recipe)" ] && has_std "$cache/bin/rustc"; }

unpack_debian() {
  local tool version linkers
  for tool in apt-get dpkg-deb cc; do command -v $tool >/dev/null || fail "$tool is missing, so Debian's packages are no way out here; install rustup's $target"; done
  rm -rf "$cache/apt" "$cache/root" "$cache/bin" "$cache/ready"
  write_apt_configuration
  version=$(choose_suite)
  # rustup's toolchains bring the component linker; without one it is built from crates.io and lends Debian's lld.
  linkers=$(rustc --print sysroot 2>/dev/null || true)/lib/rustlib/$(rustc -vV 2>/dev/null | sed -n 's/^host: //p')/bin
  say "fetching rustc $version for $target (about 200 MB, once)"
  apt_private --download-only -y install libstd-rust-dev libstd-rust-dev-wasm32 $([ -x "$linkers/wasm-component-ld" ] || echo lld) >&2
  # Without its dependencies: gcc and binutils are this machine's.
  (cd "$cache/apt/cache/archives" && apt_private download rustc >&2)
  say "unpacking"
  unpack_archives
  write_wrapper
  link_linkers "$linkers"
  prove
  rm -rf "$cache/apt"
  recipe >"$cache/ready"
  say "ready: $("$cache/bin/rustc" -V), $(du -sm "$cache" | cut -f1) MB in $cache"
}

apt_private() { apt-get -qq -c "$cache/apt/apt.conf" "$@"; }

# A private apt: state, cache, sources and an empty list of installed packages of its own.
write_apt_configuration() {
  mkdir -p "$cache/apt/parts" "$cache/apt/state/lists/partial" "$cache/apt/cache/archives/partial"
  : >"$cache/apt/status"
  cat >"$cache/apt/apt.conf" <<CONF
Dir::State "$cache/apt/state";
Dir::State::status "$cache/apt/status";
Dir::Cache "$cache/apt/cache";
Dir::Etc::sourcelist "$cache/apt/debian.sources";
Dir::Etc::sourceparts "$cache/apt/parts";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$cache/apt/parts";
Dir::Log "$cache/apt";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "$(id -un)";
APT::Update::Post-Invoke "";
APT::Update::Post-Invoke-Success "";
DPkg::Post-Invoke "";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Debug::NoLocking "true";
CONF
}

# Prints the version of the first suite in which compiler and standard library match.
choose_suite() {
  local mirror keyring suite compiler std
  mirror=${WASM_RUST_MIRROR:-$(find_mirror)}
  [ -n "$mirror" ] || fail "this machine's apt sources name no Debian mirror; set WASM_RUST_MIRROR"
  keyring=$(ls /usr/share/keyrings/debian-archive-keyring.{pgp,gpg} 2>/dev/null | head -1)
  [ -n "$keyring" ] || fail "Debian's archive keyring is missing; install debian-archive-keyring"
  for suite in $suites; do
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$mirror" "$suite" "$keyring" >"$cache/apt/debian.sources"
    rm -rf "$cache/apt/state/lists" && mkdir -p "$cache/apt/state/lists/partial"
    apt_private update >&2 || { say "suite $suite: no index" && continue; }
    compiler=$(version_of rustc)
    std=$(version_of libstd-rust-dev-wasm32)
    if [ -n "$compiler" ] && [ "$compiler" = "$std" ] && [ "$compiler" = "$(version_of libstd-rust-dev)" ]; then echo "$compiler" && return; fi
    say "suite $suite: rustc '$compiler' and its wasm library '$std' do not match"
  done
  fail "none of the suites '$suites' has a matching pair; set WASM_RUST_SUITES"
}

version_of() { apt-cache -c "$cache/apt/apt.conf" show "$1" 2>/dev/null | sed -n 's/^Version: //p' | head -1; }

find_mirror() {
  local uri
  uri=$(apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | awk -F'|' '$1 == "Debian" { print $2; exit }')
  if [ -z "$uri" ]; then # before the first apt-get update only the sources themselves tell
    uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
      sed -n -E 's/^URIs:[[:space:]]*([^[:space:]]+).*/\1/p; s/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+).*/\2/p' |
      grep -v -E 'security|ports' | head -1)
  fi
  echo "$uri"
}

unpack_archives() {
  local deb
  mkdir -p "$cache/root" "$cache/bin"
  for deb in "$cache"/apt/cache/archives/*.deb; do
    case ${deb##*/} in
      libstd-rust-dev-wasm32_*) dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$cache/root" "./usr/lib/rustlib/$target" ;;
      *) dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$cache/root" --exclude=./usr/share --exclude=./etc ;;
    esac
  done
}

write_wrapper() {
  local root=$cache/root/usr loader
  loader=$(find "$root/lib" -name 'ld-linux*.so.*' -type f | head -1)
  [ -x "$loader" ] || fail "Debian's packages have an unexpected layout: no dynamic loader below $root/lib"
  cat >"$cache/bin/rustc" <<WRAPPER
#!/bin/sh
exec "$loader" --argv0 "$root/bin/rustc" --library-path "${loader%/*}" "$root/bin/rustc" --sysroot "$root" "\$@"
WRAPPER
  chmod +x "$cache/bin/rustc"
}

# rustc looks for its linkers in rustlib/HOST/bin.
link_linkers() {
  local root=$cache/root/usr host loader lld
  host=$("$cache/bin/rustc" -vV | sed -n 's/^host: //p')
  if [ -x "$1/wasm-component-ld" ]; then
    ln -sfn "$1" "$root/lib/rustlib/$host/bin"
    return
  fi
  say "this machine's rustc has no wasm-component-ld; building it from crates.io"
  RUSTC="$cache/bin/rustc" CARGO_TARGET_DIR="$cache/component-ld/target" cargo install -q --locked --root "$cache/component-ld" wasm-component-ld >&2
  rm -rf "$cache/component-ld/target"
  mkdir -p "$root/lib/rustlib/$host/bin"
  ln -sfn "$cache/component-ld/bin/wasm-component-ld" "$root/lib/rustlib/$host/bin/wasm-component-ld"
  loader=$(find "$root/lib" -name 'ld-linux*.so.*' -type f | head -1)
  lld=$(find "$root/lib" -path '*llvm*/bin/lld' | head -1)
  for name in wasm-ld rust-lld; do
    printf '#!/bin/sh\nexec %q --argv0 wasm-ld --library-path %q %q -flavor wasm "$@"\n' "$loader" "${loader%/*}" "$lld" >"$root/lib/rustlib/$host/bin/$name"
    chmod +x "$root/lib/rustlib/$host/bin/$name"
  done
}

# A set-up counts as ready only after it has linked something.
prove() {
  local scratch
  scratch=$(mktemp -d)
  echo '#[unsafe(no_mangle)] pub extern "C" fn arguments() -> usize { std::env::args().count() }' >"$scratch/proof.rs"
  "$cache/bin/rustc" --edition 2024 --target "$target" --crate-type cdylib -O -o "$scratch/proof.wasm" "$scratch/proof.rs" >&2 ||
    fail "the unpacked rustc cannot build for $target"
  rm -rf "$scratch"
}

main
