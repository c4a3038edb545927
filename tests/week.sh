#!/usr/bin/env bash
# Runs the commands of README's "Monday to Friday" in a new folder: make week. Its servers end with it.
set -euo pipefail
readme="$(cd "$(dirname "$0")/.." && pwd)/README.md"
folder="${1:?usage: tests/week.sh FOLDER}"
[ ! -e "$folder" ] || { echo "$folder exists already: remove it, or name another folder" >&2; exit 1; }
mkdir -p "$folder" && cd "$folder"
trap 'jobs -p | xargs -r kill 2>/dev/null; wait' EXIT
awk '/^## Monday to Friday/ {found = 1} found && /^```/ {inside = !inside; if (!inside) exit; next} inside' "$readme" > week.txt
while IFS= read -r line; do
    command="${line%%  #*}"
    printf '\n$ %s\n' "$command"
    eval "$command" < /dev/null
done < week.txt
