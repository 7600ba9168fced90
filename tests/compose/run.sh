#!/usr/bin/env bash
# docker compose for real: up from nothing with a snapshot and a plan, ask from the host, kill each container in turn,
# stop, up again; then an older release's volume. Needs a Docker engine; everything it makes is named sensedict-test and
# removed at the end, but for the two images. The torch of the worker's image is the one that this machine's pip gets, or
# what TORCH_ARGS says, as for `docker compose build`.
set -euo pipefail
cd "$(dirname "$0")/../.."
docker info >/dev/null 2>&1 || { echo "make test-compose needs a running Docker engine (docker info fails)" >&2; exit 1; }

free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
scratch=$(mktemp -d)
export COMPOSE_PROJECT_NAME=sensedict-test COMPOSE_FILE=docker-compose.yml:docker-compose.build.yml
export SENSEDICT_PORT=$(free_port) SENSEDICT_DATABASE_PORT=$(free_port)
export SENSEDICT_SNAPSHOTS=$scratch/snapshots SENSEDICT_PLANS_FOLDER=$scratch/plans
mkdir "$scratch/snapshots" "$scratch/plans"
url=http://127.0.0.1:$SENSEDICT_PORT tiny=http://127.0.0.1:$SENSEDICT_PORT/v1/dictionaries/tiny@1
passed=0
finish() {
  docker rm --force --volumes sensedict-test-old >/dev/null 2>&1 || true
  docker compose down --volumes --timeout 5 >/dev/null 2>&1 || true
  [ -z "${served:-}" ] || kill "$served" 2>/dev/null || true
  rm -rf "$scratch"
}
trap 'docker compose logs --tail 30 >&2; finish' ERR
trap finish EXIT

ok() { passed=$((passed + 1)); echo "ok  $*"; }
check() {  # check WHAT COMMAND…: the command must succeed
  local what=$1; shift
  "$@" || { echo "FAILED  $what: $*" >&2; return 1; }
  ok "$what"
}
refused() {  # refused WHAT TEXT COMMAND…: the command must fail and say TEXT
  local what=$1 text=$2; shift 2
  if "$@" >"$scratch/refused" 2>&1 || ! grep -q -- "$text" "$scratch/refused"; then
    echo "FAILED  $what: not refused with $text: $(cat "$scratch/refused")" >&2; return 1
  fi
  ok "$what"
}
within() {  # within WHAT COMMAND…: the command succeeds within a minute
  local what=$1; shift
  for _ in $(seq 120); do "$@" >/dev/null 2>&1 && { ok "$what"; return; }; sleep 0.5; done
  echo "FAILED  $what: not within a minute: $*: $(cat "$scratch/body")" >&2; return 1
}
status() { curl --silent --header "Authorization: Bearer ${SENSEDICT_KEY:-}" --output "$scratch/body" --dump-header "$scratch/head" --write-out '%{http_code}' --max-time 20 "$@"; }
is() { local code=$1; shift; [ "$(status "$@")" = "$code" ]; }
expect() {  # expect CODE WHAT CURL-ARGS…
  local code=$1 what=$2 got; shift 2
  got=$(status "$@") || true
  [ "$got" = "$code" ] || { echo "FAILED  $what: $got instead of $code: $(cat "$scratch/body")" >&2; return 1; }
  ok "$what ($code)"
}
up() { docker compose up --detach --wait --wait-timeout 180 >"$scratch/up.log" 2>&1 || { cat "$scratch/up.log" >&2; return 1; }; }
in_api() { docker compose exec -T api "$@"; }
doctor() { in_api sensedict doctor >"$scratch/doctor" || { cat "$scratch/doctor" >&2; return 1; }; }
contained() {  # contained SERVICE: it is not root, may write nowhere but where it should, and can get no rights
  docker compose exec -T "$1" sh -c '[ "$(id -u)" != 0 ] && ! touch /x 2>/dev/null && grep -q "^CapEff:.0*$" /proc/1/status \
    && grep -q "^NoNewPrivs:.1$" /proc/1/status'
}
limited() {  # limited SERVICE: of memory and processes, and of what its log may take
  docker inspect --format '{{and .HostConfig.Memory .HostConfig.PidsLimit .HostConfig.LogConfig.Config}}' "$(docker compose ps --quiet "$1")" \
    | grep -q max-size
}
query_finds() {  # query_finds TEXT ARGS…: `sensedict query` succeeds and prints TEXT
  local text=$1; shift
  sensedict query --server "$url" --dictionary tiny@1 "$@" >"$scratch/query" && grep -q -- "$text" "$scratch/query"
}
shared_memory() {  # shared_memory KIBIBYTES: what the database's container has, by the engine and from within
  [ "$(docker inspect --format '{{.HostConfig.ShmSize}}' "$(docker compose ps --quiet database)")" = "$(($1 * 1024))" ] &&
    [ "$(docker compose exec -T database df --output=size /dev/shm | tail -n 1 | tr -d ' ')" = "$1" ]
}
data_in() {  # data_in FOLDER: PostgreSQL has its data there, and the volume holds it
  [ "$(docker compose exec -T database psql --username sensedict --tuples-only --no-align --command 'SHOW data_directory' sensedict)" = "$1" ] &&
    docker compose exec -T database sh -c '[ "$PGDATA" = "$1" ] && [ -s "$1/PG_VERSION" ]' sh "$1" &&
    docker inspect --format '{{range .Mounts}}{{.Name}} {{.Destination}}{{println}}{{end}}' "$(docker compose ps --quiet database)" \
      | grep -q '^sensedict-test_database /var/lib/postgresql$'
}
logs_in() {  # logs_in USER PASSWORD: to the database, from the host
  PGPASSWORD=$2 python -c "import psycopg; psycopg.connect('host=127.0.0.1 port=$SENSEDICT_DATABASE_PORT dbname=sensedict user=$1')"
}
die_inside() { docker compose exec -T "$1" sh -c 'kill -9 -1' >/dev/null 2>&1 || true; }  # as where memory is short
restarted() { [ "$(docker inspect --format '{{.RestartCount}} {{.State.Running}}' "$(docker compose ps --quiet "$1")")" = "1 true" ]; }
ended_well() { [ "$(docker inspect --format '{{.State.ExitCode}}' "$(docker compose ps --all --quiet "$1")")" = 0 ]; }
built() { sleep 1; is 200 "$url/v1/jobs" && grep -q '"state":"published"' "$scratch/body"; }

check "monitoring is a profile that compose takes" docker compose --profile monitoring config --quiet
if [ -z "${TORCH_ARGS+set}" ]; then
  python -m pip download --quiet --no-deps --constraint constraints.txt --dest "$scratch/torch" torch
  host=$(docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}') port=$(free_port)
  python -m http.server --directory "$scratch/torch" --bind "$host" "$port" >/dev/null 2>&1 &
  served=$!
  export TORCH_ARGS="--find-links http://$host:$port/ --trusted-host $host"
fi
# Twice at most: the first may fail where a package index does; a fault of ours fails both times, and is shown.
for attempt in first second; do
  docker compose --progress plain build >"$scratch/build.log" 2>&1 && break
  echo "docker compose build failed, $attempt time:" >&2; tail -30 "$scratch/build.log" >&2
  [ "$attempt" = first ] || exit 1
done

given=$scratch/given
mkdir -p "$given"/{owner,service,monitoring}
for file in owner/database-password service/api-password service/admin-key monitoring/grafana-password; do openssl rand -hex 32 >"$given/$file"; done
make_secrets() { SENSEDICT_SECRETS=$given docker compose run --rm -T secrets; }
check "secrets of one's own" make_secrets
echo sensedict >"$given/owner/database-password"
refused "a default password" "database-password is short, and so it can be guessed" make_secrets
true >"$given/owner/database-password"
refused "an empty password" "database-password is empty" make_secrets

echo "from nothing"
cp tests/data/snapshot-0.1.0.tar "$scratch/snapshots/"
python tests/compose/make_plan.py "$scratch/plans"
chmod -R a+rX "$scratch/plans"  # weights are written for their owner alone
up
docker compose ps --all
expect 200 "ready" "$url/readyz"
expect 401 "no dictionaries without a key" "$tiny/senses?word=hot"
SENSEDICT_KEY=$(in_api cat /run/secrets/admin-key)
export SENSEDICT_KEY
expect 200 "the snapshot is imported: senses of a word" "$tiny/senses?word=hot"
expect 200 "bulk" --json '{"tokens": [1, 2, 3]}' "$tiny:candidateSets"
expect 404 "an unknown word" "$tiny/senses?word=nosuchword"
check "sensedict query from the host" query_finds cold relations hot
check "doctor finds nothing in the container" doctor
for service in database api worker; do
  check "$service is contained" contained "$service"
  check "$service is limited" limited "$service"
done
check "the database has the shared memory that docker-compose.yml gives it" shared_memory 262144
check "its data is where docker-compose.yml says, on the volume" data_in /var/lib/postgresql/18/docker
check "no torch where requests are answered" in_api python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is not None)'
refused "the database's former password" "password authentication failed" logs_in sensedict sensedict
check "the owner's password opens the database" logs_in sensedict "$(docker compose exec -T database cat /run/secrets/database-password)"
refused "the API has not the owner's password" "No such file" in_api cat /run/secrets/database-password

echo "killed"
die_inside api
within "the API is started again" is 200 "$url/readyz"
check "by the engine" restarted api
die_inside worker
within "the worker is started again" restarted worker
expect 202 "a plan is begun" --json '{"plan": "tiny"}' "$url/v1/jobs"
within "the worker builds it" built
expect 200 "and the API answers from it" "$url/v1/dictionaries/built@1/tokens/300/senses"
docker compose kill database >/dev/null 2>&1
expect 503 "database killed" "$tiny/senses?word=hot"
check "Retry-After is set" grep -qi '^retry-after:' "$scratch/head"
expect 503 "not ready without a database" "$url/readyz"
expect 200 "alive without a database" "$url/livez"
docker compose start database >/dev/null 2>&1
within "recovers by itself" is 200 "$tiny/senses?word=hot"

echo "stopped"
docker compose stop >/dev/null 2>&1
for service in api worker database; do check "$service ended well, in time" ended_well "$service"; done
docker compose down >/dev/null 2>&1
up
expect 200 "the volumes kept dictionary and key" "$tiny/senses?word=hot"
docker compose down --volumes >/dev/null 2>&1

echo "an older release's volume"
rm "$scratch/snapshots/"*
docker volume create --label com.docker.compose.project=sensedict-test --label com.docker.compose.volume=database sensedict-test_database >/dev/null
docker run --detach --name sensedict-test-old --volume sensedict-test_database:/var/lib/postgresql --shm-size 256m \
  --env POSTGRES_USER=sensedict --env POSTGRES_DB=sensedict --env POSTGRES_PASSWORD=sensedict pgvector/pgvector:pg18 >/dev/null
within "the older release's database" docker exec sensedict-test-old pg_isready -h 127.0.0.1 -U sensedict -d sensedict
gunzip --stdout tests/data/database-0005.sql.gz | docker exec --interactive sensedict-test-old psql --quiet --output /dev/null --set ON_ERROR_STOP=1 --username sensedict sensedict
docker stop sensedict-test-old >/dev/null
refused "its password" "docs/deploy.md" sh -c 'docker compose up --detach --wait; docker compose logs migrate; exit 1'
# As docs/deploy.md has it.
echo "ALTER ROLE sensedict PASSWORD :'new'" |
  docker compose exec -T database sh -c 'psql --quiet -U sensedict -v new="$(cat /run/secrets/database-password)" sensedict'
up
SENSEDICT_KEY=$(in_api cat /run/secrets/admin-key)
expect 200 "its dictionary" "$tiny/senses?word=hot"
expect 200 "its file set, written from the database" --json '{"tokens": [1, 2, 3]}' "$tiny:candidateSets"
check "doctor finds nothing" doctor
docker compose ps --all
echo "compose: $passed passed, 0 failed"
