#!/usr/bin/env bash
# docker compose for real: up, query from the host, restart, kill the database and see the service recover, down and up on
# the same volume. Needs a Docker engine; everything it makes is named sensedict-test and removed at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."
docker info >/dev/null 2>&1 || { echo "make test-compose needs a running Docker engine (docker info fails)" >&2; exit 1; }

free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
export COMPOSE_PROJECT_NAME=sensedict-test SENSEDICT_PORT=$(free_port) SENSEDICT_DATABASE_PORT=$(free_port)
export SENSEDICT_DATABASE_PASSWORD='s/e@c:r#t?%20 $x'  # what a URL would need escapes for
url=http://127.0.0.1:$SENSEDICT_PORT
scratch=$(mktemp -d)
passed=0
finish() { docker compose down --volumes --timeout 5 >/dev/null 2>&1 || true; rm -rf "$scratch"; }
trap 'docker compose logs --tail 30 >&2; finish' ERR
trap finish EXIT

ok() { passed=$((passed + 1)); echo "ok  $*"; }
check() {  # check WHAT COMMAND…: the command must succeed
  local what=$1; shift
  "$@" || { echo "FAILED  $what: $*" >&2; return 1; }
  ok "$what"
}
in_api() { docker compose exec -T api "$@"; }
not_root() { local user; user=$(in_api id -u) && [[ $user =~ ^[0-9]+$ ]] && [ "$user" -ne 0 ]; }
query_finds() {  # query_finds TEXT ARGS…: `sensedict query` succeeds and prints TEXT
  local text=$1; shift
  sensedict query --server "$url" --dictionary tiny@1 "$@" >"$scratch/query" && grep -q -- "$text" "$scratch/query"
}
status() { curl --silent --header "Authorization: Bearer ${SENSEDICT_KEY:-}" --output "$scratch/body" --dump-header "$scratch/head" --write-out '%{http_code}' --max-time 20 "$@"; }
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

check "the workers' file is one that compose takes" \
  docker compose --file docker-compose.yml --file docker-compose.build.yml config --quiet
docker compose build --quiet
up
docker compose ps --all
expect 200 "ready" "$url/readyz"
expect 401 "no dictionaries without a key" "$url/v1/dictionaries"
SENSEDICT_KEY=$(docker compose exec -T api cat /var/lib/sensedict/admin-key)
export SENSEDICT_KEY
expect 200 "no dictionary yet" "$url/v1/dictionaries"
check "a command runs in the API's container" in_api true
check "the API does not run as root" not_root
check "no torch in the image" in_api python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is not None)'

SENSEDICT_HOME=$scratch/home \
PGPASSWORD=$SENSEDICT_DATABASE_PASSWORD \
SENSEDICT_DATABASE_URL=postgresql://sensedict@127.0.0.1:$SENSEDICT_DATABASE_PORT/sensedict \
  python tests/compose/publish_tiny.py
expect 200 "senses of a word" "$url/v1/dictionaries/tiny@1/senses?word=hot"
# The container has another disk than the publisher: its file set is rebuilt from the database and checked by hash.
expect 200 "bulk from the rebuilt file set" --json '{"tokens": [1, 2, 3]}' "$url/v1/dictionaries/tiny@1:candidateSets"
expect 404 "an unknown word" "$url/v1/dictionaries/tiny@1/senses?word=nosuchword"
check "sensedict query from the host" query_finds cold relations hot

docker compose restart --timeout 5 api >/dev/null 2>&1
until_status 200 "ready after a restart" "$url/readyz"
expect 200 "senses after a restart" "$url/v1/dictionaries/tiny@1/senses?word=hot"

docker compose kill database >/dev/null 2>&1
expect 503 "database killed" "$url/v1/dictionaries/tiny@1/senses?word=hot"
check "Retry-After is set" grep -qi '^retry-after:' "$scratch/head"
expect 503 "not ready without a database" "$url/readyz"
expect 200 "alive without a database" "$url/livez"
docker compose start database >/dev/null 2>&1
until_status 200 "recovers by itself" "$url/v1/dictionaries/tiny@1/senses?word=hot"

docker compose down --timeout 5 >/dev/null 2>&1
up
expect 200 "the volume kept the dictionary" "$url/v1/dictionaries/tiny@1/senses?word=hot"
docker compose ps --all
echo "compose: $passed passed, 0 failed"
