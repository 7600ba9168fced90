#!/usr/bin/env bash
# docker compose for real: up, query from the host, restart, kill the database and see the service recover, down and up on
# the same volume. Needs a Docker engine; everything it makes is named sensedict-test and removed at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
docker info >/dev/null 2>&1 || { echo "make test-compose needs a running Docker engine (docker info fails)" >&2; exit 1; }

free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
export COMPOSE_PROJECT_NAME=sensedict-test SENSEDICT_PORT=$(free_port) SENSEDICT_DATABASE_PORT=$(free_port)
url=http://127.0.0.1:$SENSEDICT_PORT
scratch=$(mktemp -d)
passed=0
finish() { docker compose down --volumes --timeout 5 >/dev/null 2>&1 || true; rm -rf "$scratch"; }
trap 'docker compose logs --tail 30 >&2; finish' ERR
trap finish EXIT

ok() { passed=$((passed + 1)); echo "ok  $*"; }
status() { curl --silent --output "$scratch/body" --dump-header "$scratch/head" --write-out '%{http_code}' --max-time 20 "$@"; }
expect() {  # expect CODE WHAT CURL-ARGS…
  local code=$1 what=$2 got; shift 2
  got=$(status "$@") || true
  [ "$got" = "$code" ] || { echo "FAILED  $what: $got instead of $code: $(cat "$scratch/body")" >&2; return 1; }
  ok "$what ($code)"
}
until_status() {  # until_status CODE WHAT URL: within 60 s
  for _ in $(seq 120); do [ "$(status "$3" || true)" = "$1" ] && { ok "$2 ($1)"; return; }; sleep 0.5; done
  echo "FAILED  $2: never $1: $(cat "$scratch/body")" >&2; return 1
}
up() { docker compose up --detach --wait --wait-timeout 180 api >"$scratch/up.log" 2>&1 || { cat "$scratch/up.log" >&2; return 1; }; }

docker compose build --quiet
up
docker compose ps --all
expect 200 "ready" "$url/readyz"
expect 200 "no dictionary yet" "$url/v1/dictionaries"
[ "$(docker compose exec -T api id -u)" != 0 ] && ok "the API does not run as root"
if docker compose exec -T api python -c 'import torch' 2>/dev/null; then echo "FAILED  torch is in the image" >&2; exit 1; fi
ok "no torch in the image"

SENSEDICT_HOME=$scratch/home \
SENSEDICT_DATABASE_URL=postgresql://sensedict:sensedict@127.0.0.1:$SENSEDICT_DATABASE_PORT/sensedict \
  python tests/compose/publish_tiny.py
expect 200 "senses of a word" "$url/v1/dictionaries/tiny@1/senses?word=hot"
# The container has another disk than the publisher: its file set is rebuilt from the database and checked by hash.
expect 200 "bulk from the rebuilt file set" --json '{"tokens": [1, 2, 3]}' "$url/v1/dictionaries/tiny@1:candidateSets"
expect 404 "an unknown word" "$url/v1/dictionaries/tiny@1/senses?word=nosuchword"
sensedict query --server "$url" --dictionary tiny@1 relations hot >/dev/null && ok "sensedict query from the host"

docker compose restart --timeout 5 api >/dev/null 2>&1
until_status 200 "ready after a restart" "$url/readyz"
expect 200 "senses after a restart" "$url/v1/dictionaries/tiny@1/senses?word=hot"

docker compose kill database >/dev/null 2>&1
expect 503 "database killed" "$url/v1/dictionaries/tiny@1/senses?word=hot"
grep -qi '^retry-after:' "$scratch/head" && ok "Retry-After is set"
expect 503 "not ready without a database" "$url/readyz"
expect 200 "alive without a database" "$url/livez"
docker compose start database >/dev/null 2>&1
until_status 200 "recovers by itself" "$url/v1/dictionaries/tiny@1/senses?word=hot"

docker compose down --timeout 5 >/dev/null 2>&1
up
expect 200 "the volume kept the dictionary" "$url/v1/dictionaries/tiny@1/senses?word=hot"
docker compose ps --all
echo "compose: $passed passed, 0 failed"
