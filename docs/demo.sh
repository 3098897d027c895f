#!/usr/bin/env bash
# Starts a throw-away server, uploads the examples to it, and shows what was stored and what was refused.
# Needs `engagement` on the PATH; `make demo` sees to that.
set -euo pipefail

examples="$(cd "$(dirname "$0")/examples" && pwd)"
folder="$(mktemp -d)"
server=""

clean_up() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n== %s\n' "$*"; }

say "Starting a server on a free port, with its data in a temporary folder"
engagement serve --listen 127.0.0.1:0 --data "$folder/data" >"$folder/listening" 2>"$folder/log" &
server=$!
for ((tenths = 0; tenths < 300; tenths++)); do
    [ -s "$folder/listening" ] && break
    if ! kill -0 "$server" 2>/dev/null; then break; fi
    sleep 0.1
done
if [ ! -s "$folder/listening" ]; then
    echo "the server did not start:" >&2
    cat "$folder/log" >&2
    exit 1
fi
ENGAGEMENT_SERVER="$(sed 's/^listening on //' "$folder/listening")"
export ENGAGEMENT_SERVER ENGAGEMENT_ACCOUNT=demo
echo "listening on $ENGAGEMENT_SERVER"

# Copies, because the report of refused events is written beside each file.
mkdir "$folder/files"
cp "$examples"/* "$folder/files"
cd "$folder/files"
rm -f ./*.rejected.ndjson
names=(*)

upload() {
    local status=0
    engagement upload "${names[@]}" || status=$?
    # 1 says that something was refused, which one of the examples is meant to be.
    [ "$status" -le 1 ] || exit "$status"
}

say "Uploading ${names[*]}"
upload

say "Uploading them again adds nothing"
upload

say "What is stored"
engagement list

say "What was refused, and why"
cat ./*.rejected.ndjson
