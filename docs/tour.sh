#!/usr/bin/env bash
# Starts a temporary server, follows it while the examples are uploaded, and shows the stored events, the rejected ones,
# and a profile as it grows. Needs `engagement` on the PATH, as `make tour` provides.
set -euo pipefail

examples="$(cd "$(dirname "$0")/examples" && pwd)"
folder="$(mktemp -d)"
server=""
follower=""

clean_up() {
    for process in $follower $server; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
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
ENGAGEMENT_SERVER="$(sed -n 's/^listening on //p' "$folder/listening")"
export ENGAGEMENT_SERVER ENGAGEMENT_ACCOUNT=demo
echo "listening on $ENGAGEMENT_SERVER"

# Copies, because the report of rejected events is written beside each file.
mkdir "$folder/files"
cp "$examples"/* "$folder/files"
cd "$folder/files"
rm -f ./*.rejected.ndjson
names=(*)

upload() {
    local status=0
    engagement upload "${names[@]}" || status=$?
    # 1 means that something was rejected, as one of the examples should be.
    [ "$status" -le 1 ] || exit "$status"
}

say "Following the account in the background"
engagement tail --from-start >"$folder/tail" 2>&1 &
follower=$!

say "Uploading ${names[*]}"
upload

say "What the follower saw meanwhile, as it came"
for ((tenths = 0; tenths < 100; tenths++)); do
    [ "$(wc -l <"$folder/tail")" -ge "$(engagement list | wc -l)" ] && break
    sleep 0.1
done
cut -f 1-7 "$folder/tail"

say "Uploading them again adds nothing"
# The repeat reports the same events.
rm -f ./*.rejected.ndjson
upload

say "What is stored"
engagement list

say "One customer, from everything that was uploaded"
engagement profile --customer NW-20418

say "The customer pays: one more event"
cat >"$folder/payment.ndjson" <<'END'
{"eventId": "payment-1", "consumerId": "7f3a1c9e-0b52-4d87-a6e1-c45d2f80b913", "authenticated": true, "customerInfo": {"customerId": "NW-20418", "balance": "0.00", "customerStatus": "paid up"}}
END
engagement upload "$folder/payment.ndjson"

say "The last line that the follower sees, and the profile: two values are new, the others stay"
for ((tenths = 0; tenths < 100; tenths++)); do
    grep -q 'paid up' "$folder/tail" && break
    sleep 0.1
done
tail -n 1 "$folder/tail" | cut -f 1-7
engagement profile --customer NW-20418

say "What was refused, and why"
cat ./*.rejected.ndjson
